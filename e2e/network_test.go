package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/overlane/overlane/agent/local"
	"github.com/overlane/overlane/client"
	"github.com/overlane/overlane/lab"
	"github.com/overlane/overlane/lab/labtest"
	"github.com/overlane/overlane/model"
)

// network is a lab whose hosts have joined a server on host1. Its methods fail the test.
type network struct {
	*lab.Lab
	t testing.TB
}

// article is the intent that most tests start from: two tenants with the same addresses.
const article = `
{kind: VPC, name: blue}
---
{kind: VPC, name: red}
---
{kind: Subnet, name: blue/web, spec: {cidr: 172.17.42.0/24, gateway: 172.17.42.1, vni: 100}}
---
{kind: Subnet, name: red/web, spec: {cidr: 172.17.42.0/24, gateway: 172.17.42.1, vni: 200}}
`

// hosts brings up host1 ... hostN, a server on host1, and the article's intent.
func hosts(t testing.TB, n int) *network {
	t.Helper()
	var f lab.File
	for i := range n {
		f.Hosts = append(f.Hosts, lab.HostSpec{Name: fmt.Sprintf("host%d", i+1)})
	}
	f.Server = "host1"
	net := up(t, f)
	net.apply(article)
	return net
}

func up(t testing.TB, f lab.File, options ...func(*lab.Options)) *network {
	t.Helper()
	net := &network{labtest.UpFile(t, f, options...), t}
	for _, h := range net.Hosts() {
		net.eventually(h.Name+" is ready", func() error { return ready(net.status(h.Name)) })
	}
	return net
}

// patience bounds every wait. What is waited for takes some seconds at most, but a busy machine is slow.
const patience = 45 * time.Second

// run is a subtest on the same network.
func (n *network) run(name string, f func(n *network)) {
	n.t.(*testing.T).Run(name, func(t *testing.T) { f(&network{n.Lab, t}) })
}

// on runs a command on a host.
func (n *network) on(host string, argv ...string) string {
	n.t.Helper()
	labtest.TookPart(n.t, n.Lab, host)
	return labtest.Exec(n.t, n.Host(host), argv...)
}

// try runs a command on a host that may fail.
func (n *network) try(host string, argv ...string) (string, error) {
	labtest.TookPart(n.t, n.Lab, host)
	ctx, cancel := context.WithTimeout(n.t.Context(), time.Minute)
	defer cancel()
	return n.Host(host).Exec(ctx, argv...)
}

// refused runs a command on a host that must fail, and whose complaint must contain words.
func (n *network) refused(host string, argv []string, words ...string) {
	n.t.Helper()
	out, err := n.try(host, argv...)
	if err == nil {
		n.t.Errorf("%s: %v is not refused:\n%s", host, argv, out)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			n.t.Errorf("the refusal does not say %q: %v", w, err)
		}
	}
}

func argv(line string) []string { return strings.Fields(line) }

// apply applies intent, given as YAML.
func (n *network) apply(yaml string) string {
	n.t.Helper()
	return n.give("apply", yaml)
}

// give gives YAML to a command.
func (n *network) give(command, yaml string) string {
	n.t.Helper()
	h := n.Host(n.File.Server)
	cmd := h.Command(n.t.Context(), "overlane", command, "-f", "-")
	cmd.Stdin = strings.NewReader(yaml)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := errors.Join(h.Start(cmd), cmd.Wait()); err != nil {
		n.t.Fatalf("%s: %v\n%s", command, err, &out)
	}
	return out.String()
}

// endpoint makes a network namespace on a host and attaches it. "host1 a blue/web" is the namespace a, and words behind
// that are flags of attach.
func (n *network) endpoint(line string) local.AttachReply {
	n.t.Helper()
	f := strings.Fields(line)
	n.Log().Info("attach", "what", line)
	n.on(f[0], "ip", "netns", "add", f[1])
	return n.attach(f[0], append([]string{"--netns", f[1], "--subnet", f[2]}, f[3:]...)...)
}

// attach attaches with flags of the command.
func (n *network) attach(host string, flags ...string) (r local.AttachReply) {
	n.t.Helper()
	out := n.on(host, append([]string{"overlane", "attach", "-o", "json"}, flags...)...)
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		n.t.Fatalf("attach -o json: %v\n%s", err, out)
	}
	return r
}

// in runs a command in a network namespace of a host.
func (n *network) in(host, netns string, argv ...string) (string, error) {
	return n.try(host, append([]string{"ip", "netns", "exec", netns}, argv...)...)
}

// ping wants an answer: from a namespace of a host to an address. It asks again, for the userspace datapath drops
// packets until ARP has found the other host.
func (n *network) ping(host, netns, to string) {
	n.t.Helper()
	if out, err := n.in(host, netns, "ping", "-c1", "-w10", "-i0.2", to); err != nil {
		n.t.Errorf("ping from %s on %s to %s: %v\n%s", netns, host, to, err, out)
	}
}

// noPing wants none, however often is asked.
func (n *network) noPing(host, netns, to string) {
	n.t.Helper()
	if out, err := n.in(host, netns, "ping", "-c3", "-i0.2", "-W1", to); err == nil {
		n.t.Errorf("%s on %s reaches %s:\n%s", netns, host, to, out)
	}
}

// eventually asks until there is no error.
func (n *network) eventually(what string, check func() error) {
	n.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			n.t.Fatalf("%s: still not after %s: %v", what, patience, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// measured is what a host's agent knows now.
func (n *network) measured(host string) local.Status {
	n.t.Helper()
	s, err := n.tryMeasured(host)
	if err != nil {
		n.t.Fatal(err)
	}
	return s
}

func (n *network) tryMeasured(host string) (local.Status, error) {
	labtest.TookPart(n.t, n.Lab, host)
	return n.status(host)
}

// status is what a host's agent says.
func (n *network) status(host string) (local.Status, error) {
	ctx, cancel := context.WithTimeout(n.t.Context(), patience)
	defer cancel()
	return local.Client{Socket: n.Host(host).Root() + lab.AgentSocket}.Status(ctx)
}

// drops reads one drop counter of a host.
func (n *network) drops(host, reason string) uint64 {
	n.t.Helper()
	return n.measured(host).Host.Drops[reason]
}

// api calls the server as a local user does.
func (n *network) api() *client.Client {
	n.t.Helper()
	c, err := client.New(client.Config{Address: "unix://" + n.Host(n.File.Server).Root() + lab.ServerSocket})
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(c.Close)
	return c
}

// known are the names of all endpoints that the server has.
func (n *network) known() []string {
	n.t.Helper()
	list, err := n.api().List(n.t.Context(), "Endpoint", "")
	if err != nil {
		n.t.Fatal(err)
	}
	names := []string{}
	for _, o := range list.Items {
		names = append(names, o.Name)
	}
	slices.Sort(names)
	return names
}

// state is an endpoint's, as the server was told.
func (n *network) state(endpoint string) *model.EndpointStatus {
	n.t.Helper()
	o, err := n.api().Get(n.t.Context(), model.Key{Kind: "Endpoint", Name: endpoint})
	if err != nil {
		n.t.Fatal(err)
	}
	s, _ := o.Status.(*model.EndpointStatus)
	if s == nil {
		return &model.EndpointStatus{State: model.Pending}
	}
	return s
}

// awaitState waits until the server was told of a state.
func (n *network) awaitState(endpoint string, want model.EndpointState) {
	n.t.Helper()
	n.eventually(fmt.Sprintf("%s is %s", endpoint, want), func() error {
		if s := n.state(endpoint); s.State != want {
			return fmt.Errorf("it is %s: %s", s.State, s.Reason)
		}
		return nil
	})
}

// awaitHostReady waits until a host says that its switch holds what it must.
func (n *network) awaitHostReady(host string) {
	n.t.Helper()
	n.eventually(host+" is ready", func() error { return ready(n.tryMeasured(host)) })
}

func ready(s local.Status, err error) error {
	if err == nil && !s.Host.Ready {
		err = errors.New(s.Host.Reason)
	}
	return err
}

// awaitTunnel waits until a host finds the way to another one in a state.
func (n *network) awaitTunnel(host, peer string, want model.TunnelState) {
	n.t.Helper()
	n.eventually(fmt.Sprintf("the tunnel from %s to %s is %s", host, peer, want), func() error {
		for _, tunnel := range n.measured(host).Host.Tunnels {
			if tunnel.Peer == peer && tunnel.State == want {
				return nil
			}
		}
		return fmt.Errorf("tunnels are %+v", n.measured(host).Host.Tunnels)
	})
}

// serverAnswers waits until the server does.
func (n *network) serverAnswers() {
	n.t.Helper()
	n.eventually("the server answers", func() error {
		_, err := n.api().Version(n.t.Context())
		return err
	})
}

// ports are those of the integration bridge, without the tunnel's.
func (n *network) ports(host string) []string {
	n.t.Helper()
	all := strings.Fields(n.on(host, "ovs-vsctl", "list-ports", "br-overlane"))
	all = slices.DeleteFunc(all, func(p string) bool { return p == "ovl-vxlan" })
	slices.Sort(all)
	return all
}

// interfaces are ours on a host.
func (n *network) interfaces(host string) []string {
	n.t.Helper()
	var ours []string
	for line := range strings.Lines(n.on(host, "ip", "-br", "link")) {
		if name, _, _ := strings.Cut(strings.Fields(line)[0], "@"); strings.HasPrefix(name, "ovl") {
			ours = append(ours, name)
		}
	}
	slices.Sort(ours)
	return ours
}

// flows dumps those of the integration bridge.
func (n *network) flows(host string) string {
	n.t.Helper()
	return n.on(host, "ovs-ofctl", "-O", "OpenFlow15", "--no-stats", "dump-flows", "br-overlane")
}
