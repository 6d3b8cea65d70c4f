package e2e

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/overlane/overlane/agent/local"
	"github.com/overlane/overlane/lab"
)

// one is a single host, with Docker.
func one(t *testing.T) *network {
	t.Helper()
	n := up(t, lab.File{Hosts: []lab.HostSpec{{Name: "host1", Docker: true}}, Server: "host1"})
	n.apply(article)
	return n
}

// traces is all that attach makes.
func (n *network) traces() string {
	n.t.Helper()
	return fmt.Sprintln(n.ports("host1"), n.interfaces("host1"), n.known())
}

// eventuallyTraces waits until there are no others than these.
func (n *network) eventuallyTraces(want string) {
	n.t.Helper()
	n.eventually("only what was there is there", func() error {
		if diff := cmp.Diff(want, n.traces()); diff != "" {
			return errors.New(diff)
		}
		return nil
	})
}

func TestAttach(t *testing.T) {
	t.Parallel()
	n := one(t)
	n.endpoint("host1 peer blue/web --ip 172.17.42.100")
	nothing := n.traces()
	n.run("namespace by name, by path, and again", func(n *network) {
		first := n.endpoint("host1 a blue/web")
		n.ping("host1", "a", "172.17.42.100")
		was := n.traces()
		for _, name := range []string{"a", "/var/run/netns/a"} {
			again := n.attach("host1", "--netns", name, "--subnet", "blue/web")
			if !again.Unchanged {
				n.t.Errorf("%s: attaching again is a change", name)
			}
			again.Unchanged = false
			if diff := cmp.Diff(first, again, cmp.Comparer(func(x, y netip.Prefix) bool { return x == y }), cmp.Comparer(func(x, y netip.Addr) bool { return x == y })); diff != "" {
				n.t.Errorf("%s (-first +again):\n%s", name, diff)
			}
		}
		if diff := cmp.Diff(was, n.traces()); diff != "" {
			n.t.Error(diff)
		}
		n.on("host1", "overlane", "detach", "--netns", "a")
		if diff := cmp.Diff(nothing, n.traces()); diff != "" {
			n.t.Errorf("detach leaves (-before +after):\n%s", diff)
		}
		n.on("host1", "overlane", "detach", "--netns", "a") // it is detached
	})
	n.run("container", func(n *network) {
		n.container("c1")
		r := n.attach("host1", "c1", "--subnet", "blue/web", "--ip", "172.17.42.7")
		if r.Endpoint != "blue/web/c1" || r.Address.String() != "172.17.42.7/24" || r.MTU != 1450 {
			n.t.Errorf("got %+v", r)
		}
		n.pingFrom("host1", "c1", "172.17.42.100")
		n.ping("host1", "peer", "172.17.42.7")
		if again := n.attach("host1", "c1", "--subnet", "blue/web"); !again.Unchanged {
			n.t.Error("attaching again is a change")
		}
		n.on("host1", "overlane", "detach", "c1")
		n.on("host1", "overlane", "detach", "c1")
		n.eventuallyTraces(nothing)
	})
	for _, how := range []string{"kill", "stop -t 0", "rm -f"} {
		n.run("cleaned up after docker "+how, func(n *network) {
			name := "c-" + strings.Fields(how)[0]
			n.container(name)
			n.attach("host1", name, "--subnet", "blue/web")
			n.pingFrom("host1", name, "172.17.42.100")
			n.on("host1", append(append([]string{"docker"}, strings.Fields(how)...), name)...)
			n.eventuallyTraces(nothing)
		})
	}
	n.run("cleaned up after the namespace is deleted", func(n *network) {
		n.endpoint("host1 gone blue/web")
		n.on("host1", "ip", "netns", "del", "gone")
		n.eventuallyTraces(nothing)
	})
	n.run("cleaned up after the interface is removed inside", func(n *network) {
		n.endpoint("host1 cut blue/web")
		if out, err := n.in("host1", "cut", "ip", "link", "del", "eth0"); err != nil {
			n.t.Fatal(err, out)
		}
		n.eventuallyTraces(nothing)
	})
	n.run("concurrently, the same", func(n *network) {
		n.on("host1", "ip", "netns", "add", "twice")
		var all sync.WaitGroup
		errs := make([]error, 2)
		for i := range errs {
			all.Go(func() { _, errs[i] = n.try("host1", argv("overlane attach --netns twice --subnet blue/web")...) })
		}
		all.Wait()
		if err := errors.Join(errs...); err != nil {
			n.t.Error(err)
		}
		n.ping("host1", "twice", "172.17.42.100")
		n.on("host1", "overlane", "detach", "--netns", "twice")
		n.eventuallyTraces(nothing)
	})
	n.run("refusals leave nothing", refusals)
}

// container starts one that sleeps.
func (n *network) container(name string) {
	n.t.Helper()
	if err := n.Host("host1").RunContainer(n.t.Context(), name); err != nil {
		n.t.Fatal(err)
	}
}

// refusals: each says why, and takes back whatever it had made.
func refusals(n *network) {
	n.container("stopped")
	n.on("host1", "docker", "stop", "-t0", "stopped")
	n.on("host1", "docker", "run", "-d", "--net=host", "--name", "nosy", lab.Image, "sleep", "1000")
	n.endpoint("host1 n1 blue/web --ip 172.17.42.5")
	n.on("host1", "ip", "netns", "add", "n2")
	n.on("host1", "ip", "netns", "add", "taken")
	n.on("host1", "ip", "-n", "taken", "link", "add", "eth0", "type", "veth", "peer", "name", "other")
	n.apply("{kind: Subnet, name: blue/tiny, spec: {cidr: 10.8.0.0/30}}")
	n.endpoint("host1 n3 blue/tiny")
	before := n.traces()
	for _, tt := range []struct{ command, words string }{
		{"--netns taken --subnet blue/web", "an interface eth0 exists that Overlane has not made"},
		{"--netns n2 --subnet blue/web --ip 172.17.42.5", "172.17.42.5|blue/web/n1"},
		{"--netns n2 --subnet blue/web --ip 172.17.42.1", "172.17.42.1|gateway"},
		{"--netns n2 --subnet blue/web --ip 10.1.1.1", "10.1.1.1|172.17.42.0/24"},
		{"--netns n2 --subnet blue/web --mac 01:00:00:00:00:01", "multicast"},
		{"--netns n2 --subnet blue/tiny", "blue/tiny|10.8.0.0/30"},
		{"--netns n2 --subnet blue/none", "blue/none"},
		{"--netns n2 --subnet blue", "blue"},
		{"--netns n2 --subnet blue/web --name n1", "blue/web/n1|attached to netns /var/run/netns/n1"},
		{"--netns n1 --subnet blue/web --ip 172.17.42.6", "172.17.42.5|detach it first"},
		{"--netns n1 --subnet red/web --interface eth1", "another default route"},
		{"--netns nowhere --subnet blue/web", "nowhere|not found"},
		{"nobody --subnet blue/web", "container nobody|not found"},
		{"stopped --subnet blue/web", "container stopped|not running|start it first"},
		{"nosy --subnet blue/web", "container nosy|host's network"},
		{"--netns n2 --subnet blue/web --interface waytoolongforlinux", "waytoolongforlinux"},
	} {
		n.run(tt.command, func(n *network) {
			n.refused("host1", append([]string{"overlane", "attach"}, strings.Fields(tt.command)...), strings.Split(tt.words, "|")...)
			n.eventuallyTraces(before)
			if out, err := n.in("host1", "n2", "ip", "-br", "link"); err != nil || strings.Contains(out, "eth0") {
				n.t.Errorf("left inside: %v, %s", err, out)
			}
		})
	}
	n.run("Open vSwitch is down", func(n *network) {
		h := n.Host("host1")
		if err := h.StopOVS(n.t.Context()); err != nil {
			n.t.Fatal(err)
		}
		interfaces := n.interfaces("host1")
		n.refused("host1", argv("overlane attach --netns n2 --subnet blue/web"), "attach netns n2 to blue/web")
		if got := n.interfaces("host1"); !slices.Equal(got, interfaces) {
			n.t.Errorf("interfaces were %v, are %v", interfaces, got)
		}
		if err := h.RestartOVS(n.t.Context()); err != nil {
			n.t.Fatal(err)
		}
		n.eventuallyTraces(before)
	})
}

// Fifty at once get fifty addresses.
func TestConcurrentAttaches(t *testing.T) {
	t.Parallel()
	n := hosts(t, 2)
	const each = 25
	var (
		all     sync.WaitGroup
		mu      sync.Mutex
		replies []local.AttachReply
	)
	for _, host := range []string{"host1", "host2"} {
		for i := range each {
			all.Go(func() {
				r := n.endpoint(fmt.Sprintf("%s x%s%d blue/web", host, host, i))
				mu.Lock()
				defer mu.Unlock()
				replies = append(replies, r)
			})
		}
	}
	all.Wait()
	addresses, macs := map[string]string{}, map[string]string{}
	for _, r := range replies {
		addresses[r.Address.String()], macs[r.MAC.String()] = r.Endpoint, r.Endpoint
	}
	if len(addresses) != 2*each || len(macs) != 2*each {
		t.Errorf("%d endpoints have %d addresses and %d MACs", len(replies), len(addresses), len(macs))
	}
	last := replies[len(replies)-1]
	for _, r := range replies[:5] {
		host, netns := "host1", strings.TrimPrefix(r.Endpoint, "blue/web/")
		if strings.HasPrefix(netns, "xhost2") {
			host = "host2"
		}
		n.ping(host, netns, last.Address.Addr().String())
	}
}
