package hostnet

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/overlane/overlane/internal/roottest"
)

// directScene is a host, two edges and the network between them, as netns. One of two others plays the host's switch
// and its endpoints, the other the edges' switches and the internet behind them.
type directScene struct {
	t *testing.T
}

const directLines = `netns add net-lan
netns add net-host
netns add net-edge1
netns add net-edge2
netns add net-switch
netns add net-world
netns add net-box
-n net-lan link add br0 type bridge
-n net-lan link set br0 up
-n net-lan addr add 192.168.5.9/24 dev br0
-n net-host link add eth0 type veth peer name host netns net-lan
-n net-edge1 link add eth0 type veth peer name edge1 netns net-lan
-n net-edge2 link add eth0 type veth peer name edge2 netns net-lan
-n net-host addr add 192.168.5.11/24 dev eth0
-n net-edge1 addr add 192.168.5.21/24 dev eth0
-n net-edge1 addr add 10.9.9.1/32 dev eth0
-n net-edge2 addr add 192.168.5.22/24 dev eth0
-n net-host link add ovl-outside address 02:4f:56:00:00:04 type veth peer name out netns net-switch address 02:4f:56:00:00:01
-n net-host link add ovl-e-1 address 02:4f:56:00:00:04 type veth peer name e1 netns net-switch
-n net-host link add ovl-e-2 address 02:4f:56:00:00:04 type veth peer name e2 netns net-switch
-n net-host link add docker0 type veth peer name docker netns net-box
-n net-host link set docker0 up
-n net-host addr add 172.17.0.1/24 dev docker0
-n net-edge1 link add ovl-underlay address 02:4f:56:00:00:04 type veth peer name u1 netns net-world address 02:4f:56:00:00:01
-n net-edge2 link add ovl-underlay address 02:4f:56:00:00:04 type veth peer name u2 netns net-world address 02:4f:56:00:00:01
-n net-edge1 link add docker0 type veth peer name edge netns net-box
-n net-edge1 link set docker0 up
-n net-edge1 addr add 172.18.0.1/24 dev docker0
-n net-box link set docker up
-n net-box link set edge up
-n net-box addr add 172.17.0.2/24 dev docker
-n net-box addr add 172.18.0.2/24 dev edge
-n net-box addr add 1.22.4.5/32 dev docker
-n net-box link set lo up
-n net-box route add default via 172.17.0.1
-n net-switch link set out up
-n net-switch link set e1 up
-n net-switch link set e2 up
-n net-switch link set lo up
-n net-switch addr add 1.22.4.5/32 dev lo
-n net-switch addr add 10.200.1.7/32 dev lo
-n net-switch addr add 1.22.4.9/32 dev lo
-n net-switch neigh add 100.64.0.9 lladdr 02:4f:56:00:00:04 nud permanent dev e1
-n net-switch neigh add 100.64.0.9 lladdr 02:4f:56:00:00:04 nud permanent dev e2
-n net-switch route add default via 100.64.0.9 dev e1 onlink
-n net-world link set u1 up
-n net-world link set u2 up
-n net-world link set lo up
-n net-world addr add 9.9.9.9/32 dev lo
-n net-world neigh add 100.64.0.9 lladdr 02:4f:56:00:00:04 nud permanent dev u1
-n net-world neigh add 100.64.0.9 lladdr 02:4f:56:00:00:04 nud permanent dev u2
-n net-world route add default via 100.64.0.9 dev u1 onlink
`

func newDirectScene(t *testing.T) *directScene {
	roottest.Need(t)
	s := &directScene{t}
	s.ip(directLines)
	for _, ns := range []string{"net-host", "net-edge1", "net-edge2", "net-lan", "net-box", "net-switch", "net-world"} {
		s.run(ns, "sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0")
	}
	for _, ns := range []string{"net-host", "net-edge1", "net-edge2"} {
		s.ip(strings.ReplaceAll("-n NS link set lo up\n-n NS link set eth0 up\n-n NS route add default via 192.168.5.9\n", "NS", ns))
		s.run(ns, "sysctl", "-qw", "net.ipv4.conf.all.rp_filter=1", "net.ipv4.conf.eth0.rp_filter=1")
	}
	for _, port := range []string{"host", "edge1", "edge2"} {
		s.ip("-n net-lan link set " + port + " master br0 up\n")
	}
	for _, ns := range []string{"net-host", "net-edge1", "net-switch", "net-world", "net-box"} {
		s.listen(ns)
	}
	return s
}

func (s *directScene) ip(lines string) {
	s.t.Helper()
	for line := range strings.Lines(lines) {
		args := strings.Fields(line)
		for i, a := range args {
			if strings.HasPrefix(a, "net-") {
				args[i] = own(a)
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

func (s *directScene) run(ns string, command ...string) string {
	s.t.Helper()
	out, err := exec.Command("ip", append([]string{"netns", "exec", own(ns)}, command...)...).CombinedOutput()
	if err != nil {
		s.t.Fatalf("%v: %v: %s", command, err, out)
	}
	return string(out)
}

func (s *directScene) in(ns string, do func() error) {
	s.t.Helper()
	inNetns(s.t, own(ns), do)
}

// listen answers with who has asked.
func (s *directScene) listen(ns string) {
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
func (s *directScene) ask(ns, from, to string) (seen string) {
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

func (s *directScene) dropped(ns string) (counted map[string]uint64) {
	s.t.Helper()
	s.in(ns, func() (err error) {
		counted, err = readCounters()
		return err
	})
	return counted
}

// carry makes host and edges do their part.
func (s *directScene) carry() {
	s.t.Helper()
	host := directConfig()
	host.Peers, host.SNAT.Reserved = nil, []netip.Addr{ip("192.168.5.11"), ip("192.168.5.21"), ip("192.168.5.22")}
	host.Direct.VTEP = ip("192.168.5.11")
	s.set("net-host", host)
	for ns, vtep := range map[string]string{"net-edge1": "192.168.5.21", "net-edge2": "192.168.5.22"} {
		edge := edgeConfig()
		edge.Peers, edge.Direct.Host, edge.Direct.VTEP, edge.Direct.Remote = nil, ns, ip(vtep), nil
		for _, a := range host.Direct.Hosted {
			edge.Direct.Remote = append(edge.Direct.Remote, Remote{Address: a, Host: "host1", VTEP: host.Direct.VTEP})
		}
		s.set(ns, edge)
	}
}

// set finds the facts itself.
func (s *directScene) set(ns string, c Config) {
	s.t.Helper()
	s.in(ns, func() error {
		facts, err := Look(c)
		if err != nil {
			return err
		}
		state, err := New(nil).Set(s.t.Context(), c.With(facts))
		return errors.Join(err, state.Err(TunnelGuard), state.Err(Exit), state.Err(Direct))
	})
}

func TestPublicTrafficOverTheUnderlay(t *testing.T) {
	s := newDirectScene(t)
	s.carry()
	both := func(when string) {
		t.Helper()
		for _, a := range directConfig().Direct.Hosted {
			if got := s.ask("net-world", "9.9.9.9", a.String()); got != "9.9.9.9" {
				t.Errorf("%s, to %s: got %q", when, a, got)
			}
			if got := s.ask("net-switch", a.String(), "9.9.9.9"); got != a.String() {
				t.Errorf("%s, from %s: got %q", when, a, got)
			}
		}
	}
	both("by one edge")
	s.ip("-n net-switch route replace default via 100.64.0.9 dev e2 onlink\n")
	both("in by one edge and out by the other")
	s.ip("-n net-switch route replace default via 100.64.0.9 dev e1 onlink\n-n net-world route replace default via 100.64.0.9 dev u2 onlink\n")
	both("the other way about")
	for _, ns := range []string{"net-host", "net-edge1", "net-edge2"} {
		if got := s.dropped(ns); got[GuardedAddress]+got[Unsolicited]+got[NoExit] != 0 {
			t.Errorf("%s has dropped %v", ns, got)
		}
		s.run(ns, "iptables", "-P", "FORWARD", "DROP")
		s.run(ns, "iptables", "-N", "DOCKER-USER")
		s.run(ns, "iptables", "-A", "FORWARD", "-j", "DOCKER-USER")
	}
	if got := s.ask("net-world", "9.9.9.9", "1.22.4.5"); got != "" {
		t.Error("Docker drops nothing")
	}
	s.carry()
	both("with Docker")
	s.carry()
	both("once more")
}

func TestPublicEndpointsReachNoHost(t *testing.T) {
	s := newDirectScene(t)
	s.carry()
	s.ip("-n net-switch addr add 192.168.5.99/32 dev lo\n")
	for _, c := range []struct{ ns, from, to, dropper, counter string }{
		{"net-switch", "1.22.4.9", "9.9.9.9", "net-host", GuardedAddress}, // which it has not
		{"net-switch", "192.168.5.99", "9.9.9.9", "net-host", GuardedAddress},
		{"net-switch", "1.22.4.5", "192.168.5.11", "net-host", GuardedAddress},
		{"net-switch", "1.22.4.5", "172.17.0.1", "net-host", GuardedAddress},
		{"net-switch", "1.22.4.5", "169.254.169.254", "net-host", GuardedAddress},
		{"net-switch", "1.22.4.5", "192.168.5.21", "net-host", GuardedAddress}, // reserved
		{"net-switch", "1.22.4.5", "10.9.9.1", "net-edge1", GuardedAddress},    // which the edge has
		{"net-world", "9.9.9.9", "192.168.5.11", "net-edge1", GuardedAddress},  // not public
		{"net-world", "9.9.9.9", "10.9.9.1", "net-edge1", GuardedAddress},
		{"net-box", "1.22.4.5", "192.168.5.9", "net-host", GuardedAddress}, // in an endpoint's name
		{"net-box", "172.17.0.2", "1.22.4.5", "net-host", Unsolicited},
	} {
		if c.ns == "net-box" {
			s.run("net-host", "sysctl", "-qw", "net.ipv4.conf.docker0.forwarding=1", "net.ipv4.conf.docker0.rp_filter=2")
			s.ip("-n net-box addr del 1.22.4.5/32 dev docker\n")
			if c.from == "1.22.4.5" {
				s.ip("-n net-box addr add 1.22.4.5/32 dev docker\n")
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
	s := newDirectScene(t)
	s.carry()
	s.run("net-world", "nft", "add", "table", "ip", "watch")
	s.run("net-world", "nft", "add", "chain", "ip", "watch", "in", "{ type filter hook prerouting priority raw ; }")
	s.run("net-world", "nft", "add", "rule", "ip", "watch", "in", "counter")
	s.run("net-edge1", "sysctl", "-qw", "net.ipv4.conf.docker0.forwarding=1", "net.ipv4.conf.docker0.rp_filter=2")
	s.ip("-n net-box route replace default via 172.18.0.1\n-n net-lan addr add 1.22.4.9/32 dev br0\n-n net-lan route add default via 192.168.5.21\n")
	s.ask("net-box", "1.22.4.5", "9.9.9.9")
	s.ask("net-lan", "1.22.4.9", "9.9.9.9")
	s.ask("net-lan", "192.168.5.9", "9.9.9.9")
	if got := s.run("net-world", "nft", "list", "table", "ip", "watch"); !strings.Contains(got, "counter packets 0 bytes") {
		t.Errorf("the edge's switch has got %s", got)
	}
	if got := s.ask("net-lan", "192.168.5.9", "172.18.0.2"); got != "" || s.dropped("net-edge1")[Unsolicited] == 0 {
		t.Errorf("the edge forwards for others: %q, dropped %v", got, s.dropped("net-edge1"))
	}
}
