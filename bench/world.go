package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/overlane/overlane/agent/local"
	"github.com/overlane/overlane/client"
	"github.com/overlane/overlane/lab"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/server/api"
)

// labFile is two hosts as in the article, and a server outside. The underlay has addresses for the simulated hosts.
const labFile = `
underlay: {cidr: 10.77.0.0/16, mtu: 1500}
hosts: [{name: host1}, {name: host2}]
server: host1
outside: {machines: [{name: server}]}
`

// world is the lab in which figures are measured: two hosts with a server and agents, and intent that grows from figure
// to figure.
type world struct {
	reporter
	lab          *lab.Lab
	host1, host2 *lab.Host
	server       *client.Client
	dir          string // of this run's own files
	crowd        *crowd // of simulated hosts
	overlane     string // the binary
	border       string // the only border host of the internet figures; empty: two for each design
}

func newWorld(ctx context.Context, binary string, r reporter) (*world, error) {
	binary, err := filepath.Abs(binary)
	if err == nil {
		_, err = os.Stat(binary)
	}
	if err != nil {
		return nil, fmt.Errorf("%w; build it with: make build", err)
	}
	w := &world{reporter: r, overlane: binary}
	// On a disk, so that the store's fsync has its real cost.
	if w.lab, err = upLab(ctx, "bench", labFile, lab.Options{Tied: true, Binary: binary, Disk: "/var/tmp"}); err != nil {
		return nil, err
	}
	w.host1, w.host2 = w.lab.Host("host1"), w.lab.Host("host2")
	if w.dir, err = os.MkdirTemp("", "overlane-bench"); err == nil {
		w.server, err = client.New(client.Config{Address: "unix://" + w.host1.Root() + lab.ServerSocket})
	}
	if err == nil {
		err = apply(ctx, w.server, firstIntent())
	}
	if err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

// upLab brings up a lab that is named after this process, since several may run, and ends labs whose process was
// killed.
func upLab(ctx context.Context, prefix, file string, o lab.Options) (*lab.Lab, error) {
	f, err := lab.Parse([]byte(file))
	if err != nil {
		return nil, err
	}
	if err := endAbandoned(ctx, prefix); err != nil {
		return nil, err
	}
	f.Name = fmt.Sprintf("%s-%d", prefix, os.Getpid())
	return lab.Up(ctx, f, o)
}

func endAbandoned(ctx context.Context, prefix string) error {
	names, err := lab.List(lab.DefaultDir)
	if err != nil {
		return err
	}
	for _, name := range names {
		pid, ours := strings.CutPrefix(name, prefix+"-")
		if _, err := os.Stat("/proc/" + pid); !ours || err == nil {
			continue
		}
		if left, err := lab.Open(name, lab.Options{}); err == nil {
			if err := left.Down(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *world) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	w.crowd.close()
	return errors.Join(w.lab.Down(ctx), os.RemoveAll(w.dir))
}

// The subnets of the bench: single is in use while the network is otherwise empty, the many are those of the scale
// figures.
const (
	vpc         = "bench"
	single      = vpc + "/single"
	manySubnets = 50
)

func many(i int) string { return fmt.Sprintf("%s/s%02d", vpc, i) }

// manyCIDR has room for all endpoints of a subnet.
func manyCIDR(i int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 100, byte(i), 0}), 24)
}

func firstIntent() []model.Object {
	objects := []model.Object{
		{Kind: "VPC", Name: vpc, Spec: &model.VPCSpec{}},
		{Kind: "Subnet", Name: single, Spec: &model.SubnetSpec{CIDR: netip.MustParsePrefix("10.99.0.0/16"), VNI: 4000}},
	}
	for i := range manySubnets {
		objects = append(objects, model.Object{Kind: "Subnet", Name: many(i), Spec: &model.SubnetSpec{CIDR: manyCIDR(i), VNI: model.VNI(5000 + i)}})
	}
	return objects
}

func apply(ctx context.Context, c *client.Client, objects []model.Object) error {
	_, err := c.Apply(ctx, api.Apply{Objects: client.Objects(objects...)})
	return err
}

func agentOf(h *lab.Host) local.Client { return local.Client{Socket: h.Root() + lab.AgentSocket} }

// pids of the server and both agents.
func (w *world) pids() []int {
	return []int{w.lab.Server.PID(), w.host1.Agent().PID(), w.host2.Agent().PID()}
}

// addNetns makes network namespaces on a host.
func addNetns(ctx context.Context, h *lab.Host, names ...string) error {
	const script = `for n in "$@"; do [ -e /run/netns/$n ] || ip netns add $n; done`
	_, err := h.Exec(ctx, append([]string{"sh", "-ec", script, "sh"}, names...)...)
	return err
}

// attach plugs a namespace of a host in, by the agent's socket.
func attach(ctx context.Context, h *lab.Host, netns, subnet string) (local.AttachReply, error) {
	return agentOf(h).Attach(ctx, local.AttachRequest{Netns: netns, Subnet: subnet, Name: h.Name + "-" + netns})
}

func detach(ctx context.Context, h *lab.Host, netns string) error {
	_, err := agentOf(h).Detach(ctx, local.DetachRequest{Netns: netns})
	return err
}

// shares is CPU time by process: the server, the agent of host1, the agent of host2.
type shares [3]time.Duration

func (w *world) cpuEach() (s shares) {
	for i, pid := range w.pids() {
		s[i] = cpu(pid)
	}
	return s
}

func (s shares) since(before shares) shares {
	for i := range s {
		s[i] -= before[i]
	}
	return s
}

func (s shares) sum() time.Duration { return s[0] + s[1] + s[2] }

func (s shares) String() string {
	part := func(d time.Duration) float64 { return 100 * float64(d) / float64(s.sum()) }
	return fmt.Sprintf("server %.0f%%, agent %.0f%%, other agent %.0f%%", part(s[0]), part(s[1]), part(s[2]))
}
