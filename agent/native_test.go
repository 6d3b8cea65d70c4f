package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	namespaces "github.com/vishvananda/netns"

	"github.com/overlane/overlane/firewall"
	"github.com/overlane/overlane/internal/roottest"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/outside"
)

// nativeScene is a host, two edges and the network between them, as namespaces. One of two others plays the host's switch and its endpoints, the other the
// edges' switches and the internet behind them.
type nativeScene struct {
	t *testing.T
}

const nativeLines = `netns add nat-lan
netns add nat-host
netns add nat-edge1
netns add nat-edge2
netns add nat-switch
netns add nat-world
netns add nat-box
-n nat-lan link add br0 type bridge
-n nat-lan link set br0 up
-n nat-lan addr add 192.168.5.9/24 dev br0
-n nat-host link add eth0 type veth peer name host netns nat-lan
-n nat-edge1 link add eth0 type veth peer name edge1 netns nat-lan
-n nat-edge2 link add eth0 type veth peer name edge2 netns nat-lan
-n nat-host addr add 192.168.5.11/24 dev eth0
-n nat-edge1 addr add 192.168.5.21/24 dev eth0
-n nat-edge1 addr add 10.9.9.1/32 dev eth0
-n nat-edge2 addr add 192.168.5.22/24 dev eth0
-n nat-host link add ovl-outside address 02:4f:56:00:00:04 type veth peer name out netns nat-switch address 02:4f:56:00:00:01
-n nat-host link add ovl-e-1 address 02:4f:56:00:00:04 type veth peer name e1 netns nat-switch
-n nat-host link add ovl-e-2 address 02:4f:56:00:00:04 type veth peer name e2 netns nat-switch
-n nat-host link add docker0 type veth peer name docker netns nat-box
-n nat-host link set docker0 up
-n nat-host addr add 172.17.0.1/24 dev docker0
-n nat-edge1 link add ovl-underlay address 02:4f:56:00:00:04 type veth peer name u1 netns nat-world address 02:4f:56:00:00:01
-n nat-edge2 link add ovl-underlay address 02:4f:56:00:00:04 type veth peer name u2 netns nat-world address 02:4f:56:00:00:01
-n nat-edge1 link add docker0 type veth peer name edge netns nat-box
-n nat-edge1 link set docker0 up
-n nat-edge1 addr add 172.18.0.1/24 dev docker0
-n nat-box link set docker up
-n nat-box link set edge up
-n nat-box addr add 172.17.0.2/24 dev docker
-n nat-box addr add 172.18.0.2/24 dev edge
-n nat-box addr add 1.22.4.5/32 dev docker
-n nat-box link set lo up
-n nat-box route add default via 172.17.0.1
-n nat-switch link set out up
-n nat-switch link set e1 up
-n nat-switch link set e2 up
-n nat-switch link set lo up
-n nat-switch addr add 1.22.4.5/32 dev lo
-n nat-switch addr add 10.200.1.7/32 dev lo
-n nat-switch addr add 1.22.4.9/32 dev lo
-n nat-switch neigh add 100.64.0.9 lladdr 02:4f:56:00:00:04 nud permanent dev e1
-n nat-switch neigh add 100.64.0.9 lladdr 02:4f:56:00:00:04 nud permanent dev e2
-n nat-switch route add default via 100.64.0.9 dev e1 onlink
-n nat-world link set u1 up
-n nat-world link set u2 up
-n nat-world link set lo up
-n nat-world addr add 9.9.9.9/32 dev lo
-n nat-world neigh add 100.64.0.9 lladdr 02:4f:56:00:00:04 nud permanent dev u1
-n nat-world neigh add 100.64.0.9 lladdr 02:4f:56:00:00:04 nud permanent dev u2
-n nat-world route add default via 100.64.0.9 dev u1 onlink
`

func newNativeScene(t *testing.T) *nativeScene {
	roottest.Need(t)
	s := &nativeScene{t}
	s.ip(nativeLines)
	for _, ns := range []string{"nat-host", "nat-edge1", "nat-edge2", "nat-lan", "nat-box", "nat-switch", "nat-world"} {
		s.run(ns, "sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0")
	}
	for _, ns := range []string{"nat-host", "nat-edge1", "nat-edge2"} {
		s.ip(strings.ReplaceAll("-n NS link set lo up\n-n NS link set eth0 up\n-n NS route add default via 192.168.5.9\n", "NS", ns))
		s.run(ns, "sysctl", "-qw", "net.ipv4.conf.all.rp_filter=1", "net.ipv4.conf.eth0.rp_filter=1")
	}
	for _, port := range []string{"host", "edge1", "edge2"} {
		s.ip("-n nat-lan link set " + port + " master br0 up\n")
	}
	for _, ns := range []string{"nat-host", "nat-edge1", "nat-switch", "nat-world", "nat-box"} {
		s.listen(ns)
	}
	return s
}

// named is a namespace that no other run of the tests has.
func named(name string) string { return fmt.Sprintf("%s-%d", name, os.Getpid()) }

func (s *nativeScene) ip(lines string) {
	s.t.Helper()
	for line := range strings.Lines(lines) {
		args := strings.Fields(line)
		for i, a := range args {
			if strings.HasPrefix(a, "nat-") {
				args[i] = named(a)
			}
		}
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			s.t.Fatalf("ip %v: %v: %s", args, err, out)
		}
		if args[0] == "netns" {
			s.t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", args[2]).Run() })
		}
	}
}

func (s *nativeScene) run(ns string, command ...string) string {
	s.t.Helper()
	out, err := exec.Command("ip", append([]string{"netns", "exec", named(ns)}, command...)...).CombinedOutput()
	if err != nil {
		s.t.Fatalf("%v: %v: %s", command, err, out)
	}
	return string(out)
}

func (s *nativeScene) in(ns string, do func() error) {
	s.t.Helper()
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends
		h, err := namespaces.GetFromName(named(ns))
		if err == nil {
			defer h.Close()
			err = namespaces.Set(h)
		}
		if err == nil {
			err = do()
		}
		result <- err
	}()
	if err := <-result; err != nil {
		s.t.Fatalf("in %s: %v", ns, err)
	}
}

// listen answers with who has asked.
func (s *nativeScene) listen(ns string) {
	s.in(ns, func() error {
		tcp, err := net.Listen("tcp4", ":5000")
		if err != nil {
			return err
		}
		s.t.Cleanup(func() { _ = tcp.Close() })
		go func() {
			for {
				c, err := tcp.Accept()
				if err != nil {
					return
				}
				_, _ = fmt.Fprint(c, c.RemoteAddr())
				_ = c.Close()
			}
		}()
		return nil
	})
}

// ask gives who the other side takes us for; "" if it does not answer.
func (s *nativeScene) ask(ns, from, to string) (seen string) {
	s.t.Helper()
	s.in(ns, func() error {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 300 * time.Millisecond}
		c, err := d.Dial("tcp4", to+":5000")
		if err != nil {
			return nil
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(time.Second))
		b := make([]byte, 100)
		n, _ := c.Read(b)
		seen, _, _ = strings.Cut(string(b[:n]), ":")
		return nil
	})
	return seen
}

func (s *nativeScene) dropped(ns string) (counted map[string]uint64) {
	s.t.Helper()
	s.in(ns, func() (err error) {
		counted, err = firewall.Dropped()
		return err
	})
	return counted
}

var known = []netip.Addr{netip.MustParseAddr("1.22.4.5"), netip.MustParseAddr("10.200.1.7")}

// carry makes host and edges do their part; with docker, Docker's rules let them.
func (s *nativeScene) carry(docker bool) {
	s.t.Helper()
	vteps := []netip.Addr{netip.MustParseAddr("192.168.5.11"), netip.MustParseAddr("192.168.5.21"), netip.MustParseAddr("192.168.5.22")}
	way := outside.Way{Port: outsidePort, Range: netip.MustParsePrefix("100.64.0.0/10"), MAC: model.GatewayMAC}
	host := outside.Native{Host: "host1", VTEP: vteps[0], Range: way.Range, MAC: way.MAC, Outside: outsidePort, Hosted: known,
		Edges: []outside.Edge{{Host: "edge1", Port: "ovl-e-1", VTEP: vteps[1]}, {Host: "edge2", Port: "ovl-e-2", VTEP: vteps[2]}}}
	s.in("nat-host", func() error {
		g := firewall.Guard{Port: 4789, Outside: &firewall.Outside{Port: outsidePort, Range: way.Range}}
		g.Native = &firewall.Native{Underlay: "eth0", Edges: "ovl-e-", Hosted: known, Reserved: vteps}
		_, err := outside.Ensure(way)
		return errors.Join(err, s.ensure(host, g, way, docker))
	})
	for i, ns := range []string{"nat-edge1", "nat-edge2"} {
		edge := outside.Native{Host: ns, VTEP: vteps[1+i], Range: way.Range, MAC: way.MAC, Passage: "ovl-underlay", Mark: 0x4f000000, Mask: 0xff000000}
		for _, a := range known {
			edge.Passed = append(edge.Passed, outside.Passed{Address: a, Host: "host1", VTEP: vteps[0]})
		}
		g := firewall.Guard{Port: 4789}
		g.Native = &firewall.Native{Underlay: "eth0", Edges: "ovl-e-", Passage: "ovl-underlay", Passed: known, Mark: edge.Mark, Mask: edge.Mask}
		s.in(ns, func() error { return s.ensure(edge, g, way, docker) })
	}
}

func (s *nativeScene) ensure(n outside.Native, g firewall.Guard, way outside.Way, docker bool) error {
	c, err := outside.EnsureNative(n)
	g.Native.Closed = c.Closed
	err = errors.Join(err, firewall.Set(g))
	if docker {
		_, failed := outside.LetDocker(context.Background(), way, nil, &n)
		err = errors.Join(err, failed)
	}
	return err
}

func TestPublicTrafficOverTheUnderlay(t *testing.T) {
	s := newNativeScene(t)
	s.carry(false)
	both := func(when string) {
		t.Helper()
		for _, a := range known {
			if got := s.ask("nat-world", "9.9.9.9", a.String()); got != "9.9.9.9" {
				t.Errorf("%s, to %s: got %q", when, a, got)
			}
			if got := s.ask("nat-switch", a.String(), "9.9.9.9"); got != a.String() {
				t.Errorf("%s, from %s: got %q", when, a, got)
			}
		}
	}
	both("by one edge")
	s.ip("-n nat-switch route replace default via 100.64.0.9 dev e2 onlink\n")
	both("in by one edge and out by the other")
	s.ip("-n nat-switch route replace default via 100.64.0.9 dev e1 onlink\n-n nat-world route replace default via 100.64.0.9 dev u2 onlink\n")
	both("the other way about")
	for _, ns := range []string{"nat-host", "nat-edge1", "nat-edge2"} {
		if got := s.dropped(ns); got[firewall.GuardedHost]+got[firewall.Unsolicited]+got[firewall.NoExit] != 0 {
			t.Errorf("%s has dropped %v", ns, got)
		}
		s.run(ns, "iptables", "-P", "FORWARD", "DROP")
		s.run(ns, "iptables", "-N", "DOCKER-USER")
		s.run(ns, "iptables", "-A", "FORWARD", "-j", "DOCKER-USER")
	}
	if got := s.ask("nat-world", "9.9.9.9", "1.22.4.5"); got != "" {
		t.Error("Docker drops nothing")
	}
	s.carry(true)
	both("with Docker")
	s.carry(true)
	both("once more")
}

func TestPublicEndpointsReachNoHost(t *testing.T) {
	s := newNativeScene(t)
	s.carry(false)
	s.ip("-n nat-switch addr add 192.168.5.99/32 dev lo\n")
	for _, c := range []struct{ ns, from, to, dropper, counter string }{
		{"nat-switch", "1.22.4.9", "9.9.9.9", "nat-host", firewall.GuardedHost}, // which it has not
		{"nat-switch", "192.168.5.99", "9.9.9.9", "nat-host", firewall.GuardedHost},
		{"nat-switch", "1.22.4.5", "192.168.5.11", "nat-host", firewall.GuardedHost},
		{"nat-switch", "1.22.4.5", "172.17.0.1", "nat-host", firewall.GuardedHost},
		{"nat-switch", "1.22.4.5", "169.254.169.254", "nat-host", firewall.GuardedHost},
		{"nat-switch", "1.22.4.5", "192.168.5.21", "nat-host", firewall.GuardedHost}, // reserved
		{"nat-switch", "1.22.4.5", "10.9.9.1", "nat-edge1", firewall.GuardedHost},    // which the edge has
		{"nat-world", "9.9.9.9", "192.168.5.11", "nat-edge1", firewall.GuardedHost},  // not public
		{"nat-world", "9.9.9.9", "10.9.9.1", "nat-edge1", firewall.GuardedHost},
		{"nat-box", "1.22.4.5", "192.168.5.9", "nat-host", firewall.GuardedHost}, // in an endpoint's name
		{"nat-box", "172.17.0.2", "1.22.4.5", "nat-host", firewall.Unsolicited},
	} {
		if c.ns == "nat-box" {
			s.run("nat-host", "sysctl", "-qw", "net.ipv4.conf.docker0.forwarding=1", "net.ipv4.conf.docker0.rp_filter=2")
			s.ip("-n nat-box addr del 1.22.4.5/32 dev docker\n")
			if c.from == "1.22.4.5" {
				s.ip("-n nat-box addr add 1.22.4.5/32 dev docker\n")
			}
		}
		before := s.dropped(c.dropper)[c.counter]
		if got := s.ask(c.ns, c.from, c.to); got != "" {
			t.Errorf("from %s to %s: got %q", c.from, c.to, got)
		}
		if now := s.dropped(c.dropper)[c.counter]; now == before {
			t.Errorf("from %s to %s: %s has not dropped it as %s: %v", c.from, c.to, c.dropper, c.counter, s.dropped(c.dropper))
		}
	}
}

// Only what other hosts send in an endpoint's name goes to an edge's switch.
func TestPassageTakesNothingElse(t *testing.T) {
	s := newNativeScene(t)
	s.carry(false)
	s.run("nat-world", "nft", "add", "table", "ip", "watch")
	s.run("nat-world", "nft", "add", "chain", "ip", "watch", "in", "{ type filter hook prerouting priority raw ; }")
	s.run("nat-world", "nft", "add", "rule", "ip", "watch", "in", "counter")
	s.run("nat-edge1", "sysctl", "-qw", "net.ipv4.conf.docker0.forwarding=1", "net.ipv4.conf.docker0.rp_filter=2")
	s.ip("-n nat-box route replace default via 172.18.0.1\n-n nat-lan addr add 1.22.4.9/32 dev br0\n-n nat-lan route add default via 192.168.5.21\n")
	s.ask("nat-box", "1.22.4.5", "9.9.9.9")
	s.ask("nat-lan", "1.22.4.9", "9.9.9.9")
	s.ask("nat-lan", "192.168.5.9", "9.9.9.9")
	if got := s.run("nat-world", "nft", "list", "table", "ip", "watch"); !strings.Contains(got, "counter packets 0 bytes") {
		t.Errorf("the edge's switch has got %s", got)
	}
	if got := s.ask("nat-lan", "192.168.5.9", "172.18.0.2"); got != "" || s.dropped("nat-edge1")[firewall.Unsolicited] == 0 {
		t.Errorf("the edge forwards for others: %q, dropped %v", got, s.dropped("nat-edge1"))
	}
}
