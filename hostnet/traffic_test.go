package hostnet

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netns"
)

func TestManyReserved(t *testing.T) {
	inNamespace(t, "")
	g := snatConfig()
	for n := range 10000 {
		g.SNAT.Reserved = append(g.SNAT.Reserved, netip.AddrFrom4([4]byte{192, 168, 32 + byte(n>>8), byte(n)}))
		g.SNAT.Allow = append(g.SNAT.Allow, Allowance{netip.AddrFrom4([4]byte{100, 64, byte(n >> 8), byte(n)}), netip.MustParsePrefix("10.0.0.0/8")})
	}
	if err := writeTable(g.table()); err != nil {
		t.Fatal(err)
	}
	next := snatConfig()
	next.SNAT.Reserved = g.SNAT.Reserved[1:]
	next.SNAT.Allow = g.SNAT.Allow[1:]
	if anew, err := updateTable(g.table(), next.table()); err != nil || anew {
		t.Fatal(anew, err)
	}
	if got := strings.Count(run(t, "nft", "list", "set", "ip", "overlane", "reserved"), "192.168."); got != 10000 {
		t.Errorf("%d of 10000 addresses are reserved", got)
	}
}

// scene is a host, which the test is in, between its switch and the outside.
type scene struct {
	t                  *testing.T
	inSwitch, outThere string // namespaces
}

func newScene(t *testing.T) *scene {
	inNamespace(t, "")
	s := &scene{t: t, inSwitch: own("net-switch"), outThere: own("net-out")}
	runAll(s.t, `ip netns add net-switch
ip netns add net-out
ip link add ovl-outside address 02:4f:56:00:00:02 type veth peer name sw netns net-switch address 02:4f:56:00:00:01
ip link add eth0 type veth peer name out netns net-out
ip link add lan type veth peer name lan netns net-out
ip link set ovl-outside up
ip link set eth0 up
ip link set lan up
ip addr add 192.168.5.2/24 brd + dev eth0
ip addr add 172.17.0.1/24 dev lan
ip -n net-switch link set lo up
ip -n net-switch link set sw up
ip -n net-switch addr add 100.64.0.5/32 dev sw
ip -n net-switch addr add 100.64.0.6/32 dev sw
ip -n net-switch addr add 9.9.9.9/32 dev sw
ip -n net-switch neigh add 100.64.0.1 lladdr 02:4f:56:00:00:02 nud permanent dev sw
ip -n net-switch route add default via 100.64.0.1 dev sw onlink
ip -n net-out link set lo up
ip -n net-out link set out up
ip -n net-out link set lan up
ip -n net-out addr add 192.168.5.8/24 dev out
ip -n net-out addr add 192.168.5.9/24 dev out
ip -n net-out addr add 203.0.113.1/32 dev lo
ip -n net-out addr add 169.254.169.254/32 dev lo
ip -n net-out addr add 172.17.0.2/24 dev lan
ip -n net-out route add 100.64.0.0/10 via 192.168.5.2
ip addr add 100.64.0.0/32 scope link dev ovl-outside
ip neigh add 100.64.0.1 lladdr 02:4f:56:00:00:01 nud permanent dev ovl-outside
ip route add 100.64.0.0/10 via 100.64.0.1 dev ovl-outside onlink src 100.64.0.0
ip route add default via 192.168.5.8
sysctl -qw net.ipv4.conf.all.forwarding=1
nft add table ip others
nft add chain ip others redirected { type nat hook prerouting priority dstnat ; }
nft add rule ip others redirected ip daddr 192.168.5.2 udp dport 8080 dnat to 203.0.113.1:5000
nft add rule ip others redirected ip daddr 203.0.113.7 udp dport 5000 dnat to 192.168.5.9
nft add rule ip others redirected ip daddr 203.0.113.8 udp dport 5000 redirect
nft add rule ip others redirected ip daddr 203.0.113.9 udp dport 5000 dnat to 203.0.113.1
ip netns exec net-out nft add table ip watch
ip netns exec net-out nft add chain ip watch in { type filter hook prerouting priority raw ; }
ip netns exec net-out nft add rule ip watch in iifname out ip saddr 100.64.0.0/10 counter
`)
	s.listen("")
	s.listen(s.outThere)
	s.listen(s.inSwitch)
	return s
}

// in does something in a namespace; the one that the test is in is "".
func (s *scene) in(ns string, do func() error) {
	s.t.Helper()
	if ns == "" {
		if err := do(); err != nil {
			s.t.Fatal(err)
		}
		return
	}
	inNetns(s.t, ns, do)
}

// inNetns does something in a network namespace, on a thread that ends with it.
func inNetns(t testing.TB, ns string, do func() error) {
	t.Helper()
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends
		h, err := netns.GetFromName(ns)
		if err == nil {
			defer h.Close()
			err = netns.Set(h)
		}
		if err == nil {
			err = do()
		}
		result <- err
	}()
	if err := <-result; err != nil {
		t.Fatalf("in %s: %v", ns, err)
	}
}

// listen has a namespace answer on UDP and TCP port 5000 with the address that it has been asked from.
func (s *scene) listen(ns string) {
	s.in(ns, func() error {
		tcp, err := net.Listen("tcp4", ":5000")
		if err != nil {
			return err
		}
		s.t.Cleanup(func() { _ = tcp.Close() })
		addresses, err := net.InterfaceAddrs()
		if err != nil {
			return err
		}
		for _, a := range addresses { // one each, so that answers come from where was asked
			ip := a.(*net.IPNet).IP
			if ip.To4() == nil {
				continue
			}
			udp, err := net.ListenUDP("udp4", &net.UDPAddr{IP: ip, Port: 5000})
			if err != nil {
				return err
			}
			s.t.Cleanup(func() { _ = udp.Close() })
			go func() {
				b := make([]byte, 100)
				for {
					_, from, err := udp.ReadFromUDP(b)
					if err != nil {
						return
					}
					_, _ = udp.WriteToUDP([]byte(from.String()), from)
				}
			}()
		}
		go func() {
			for {
				c, err := tcp.Accept()
				if err != nil {
					return
				}
				go func() {
					defer c.Close()
					for lines := bufio.NewScanner(c); lines.Scan(); {
						fmt.Fprintln(c, c.RemoteAddr())
					}
				}()
			}
		}()
		return nil
	})
}

// ask gives who the other side takes us for; "" if it does not answer.
func (s *scene) ask(ns, from, to string) (seen string) {
	s.t.Helper()
	s.in(ns, func() error {
		local, err := net.ResolveUDPAddr("udp4", from)
		if err != nil {
			return err
		}
		d := net.Dialer{LocalAddr: local}
		c, err := d.Dial("udp4", to)
		if err != nil {
			return err
		}
		defer c.Close()
		if _, err := c.Write([]byte("who am I?")); err != nil && !errors.Is(err, os.ErrPermission) {
			return err
		}
		if err := c.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
			return err
		}
		b := make([]byte, 100)
		n, _ := c.Read(b)
		seen = string(b[:n])
		return nil
	})
	return seen
}

func (s *scene) dropped() map[string]uint64 {
	s.t.Helper()
	counted, err := readCounters()
	if err != nil {
		s.t.Fatal(err)
	}
	return counted
}

// mustNotLeak looks at what the outside has seen.
func (s *scene) mustNotLeak() {
	s.t.Helper()
	if got := run(s.t, "ip", "netns", "exec", s.outThere, "nft", "list", "table", "ip", "watch"); !strings.Contains(got, "counter packets 0 bytes") {
		s.t.Errorf("packets have left with a source of the range: %s", got)
	}
}

func TestOnlyTheOutsideIsReached(t *testing.T) {
	s := newScene(t)
	if err := writeTable(snatConfig().table()); err != nil {
		t.Fatal(err)
	}
	const reached = "192.168.5.2" // in whose name
	for _, c := range []struct{ from, to, want string }{
		{"100.64.0.5:0", "203.0.113.1:5000", reached},
		{"100.64.0.5:0", "192.168.5.8:5000", reached},
		{"100.64.0.5:0", "203.0.113.9:5000", reached}, // which others lead elsewhere outside
		{"100.64.0.6:0", "192.168.5.9:5000", reached},
		{"100.64.0.6:0", "192.168.5.2:5000", "100.64.0.6"},
		{"100.64.0.6:0", "192.168.5.8:5000", reached},
		{"9.9.9.9:0", "203.0.113.1:5000", GuardedAddress},
		{"100.64.0.5:0", "192.168.5.2:5000", GuardedAddress},
		{"100.64.0.5:0", "172.17.0.1:5000", GuardedAddress},
		{"100.64.0.6:0", "172.17.0.1:5000", GuardedAddress},
		{"100.64.0.5:0", "100.64.0.0:5000", GuardedAddress},
		{"100.64.0.5:0", "100.64.0.7:5000", GuardedAddress},
		{"100.64.0.5:0", "192.168.5.9:5000", GuardedAddress},
		{"100.64.0.5:0", "169.254.169.254:5000", GuardedAddress},
		{"100.64.0.5:0", "192.168.5.2:8080", GuardedAddress}, // published by others
		{"100.64.0.5:0", "203.0.113.7:5000", GuardedAddress}, // which others lead to a reserved address,
		{"100.64.0.5:0", "203.0.113.8:5000", GuardedAddress}, // and to the host
		{"100.64.0.5:0", "192.168.5.255:5000", GuardedAddress},
		{"100.64.0.5:0", "224.0.0.1:5000", GuardedAddress},
		{"100.64.0.5:0", "172.17.0.2:5000", NoExit},
	} {
		before := s.dropped()
		got := s.ask(s.inSwitch, c.from, c.to)
		got, _, _ = strings.Cut(got, ":")
		for name, n := range s.dropped() {
			if n > before[name] {
				got += name
			}
		}
		if got != c.want {
			t.Errorf("from %s to %s: got %q, want %q", c.from, c.to, got, c.want)
		}
	}
	s.mustNotLeak()
}

func TestOutsideMayNotBegin(t *testing.T) {
	s := newScene(t)
	if got := s.ask(s.outThere, "192.168.5.8:0", "100.64.0.5:5000"); got == "" {
		t.Fatal("not even without a firewall")
	}
	if err := writeTable(snatConfig().table()); err != nil {
		t.Fatal(err)
	}
	if got := s.ask(s.outThere, "192.168.5.8:0", "100.64.0.6:5000"); got != "" || s.dropped()[Unsolicited] != 1 {
		t.Errorf("got %q, dropped %v", got, s.dropped())
	}
}

// A connection outlives whatever becomes of the table.
func TestConnectionsLast(t *testing.T) {
	s := newScene(t)
	g := snatConfig()
	if err := writeTable(g.table()); err != nil {
		t.Fatal(err)
	}
	var c net.Conn
	s.in(s.inSwitch, func() (err error) {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(100, 64, 0, 5)}, Timeout: time.Second}
		c, err = d.Dial("tcp4", "203.0.113.1:5000")
		return err
	})
	defer c.Close()
	answers := bufio.NewScanner(c)
	stillThere := func() {
		t.Helper()
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		fmt.Fprintln(c, "who am I?")
		if !answers.Scan() || !strings.HasPrefix(answers.Text(), "192.168.5.2:") {
			t.Errorf("answer %q, %v", answers.Text(), answers.Err())
		}
	}
	stillThere()
	next := snatConfig()
	next.SNAT.Exits = []string{"eth0", "lan"}
	if anew, err := updateTable(g.table(), next.table()); err != nil || anew {
		t.Fatal(anew, err)
	}
	stillThere()
	next.TunnelPort++
	if anew, err := updateTable(g.table(), next.table()); err != nil || !anew {
		t.Fatal(anew, err)
	}
	stillThere()
	s.mustNotLeak()
}

// The kernel translates nothing that belongs to no connection.
func TestNothingLeavesUntranslated(t *testing.T) {
	s := newScene(t)
	if err := writeTable(snatConfig().table()); err != nil {
		t.Fatal(err)
	}
	unaskedReply := []byte{0, 0, 0xff, 0xff, 0, 0, 0, 0} // of ICMP echo (RFC 792)
	send := func() {
		s.in(s.inSwitch, func() error {
			c, err := net.DialIP("ip4:icmp", &net.IPAddr{IP: net.IPv4(100, 64, 0, 5)}, &net.IPAddr{IP: net.IPv4(203, 0, 113, 1)})
			if err == nil {
				_, err = c.Write(unaskedReply)
				_ = c.Close()
			}
			return err
		})
		time.Sleep(20 * time.Millisecond)
	}
	send()
	if got := s.dropped()[Untracked]; got != 1 {
		t.Errorf("%d were dropped", got)
	}
	run(t, "nft", "flush", "chain", "ip", "overlane", "forward")
	send()
	if got := s.dropped()[Untracked]; got != 2 {
		t.Errorf("%d were dropped, the last one when it left", got)
	}
	s.mustNotLeak()
	run(t, "nft", "flush", "chain", "ip", "overlane", "leaving")
	send()
	if got := run(t, "ip", "netns", "exec", s.outThere, "nft", "list", "table", "ip", "watch"); !strings.Contains(got, "counter packets 1 bytes") {
		t.Errorf("without the table it would not leak: %s", got)
	}
}

func TestClosedExitsForwardForNobodyElse(t *testing.T) {
	s := newScene(t)
	g := snatConfig()
	if err := writeTable(g.table()); err != nil {
		t.Fatal(err)
	}
	runAll(s.t, `ip netns add net-lan
ip link del lan
ip link add lan type veth peer name lan netns net-lan
ip link set lan up
ip addr add 172.17.0.1/24 dev lan
ip -n net-lan link set lan up
ip -n net-lan addr add 172.17.0.2/24 dev lan
ip -n net-lan route add default via 172.17.0.1
ip -n net-out route add 172.17.0.0/24 via 192.168.5.2
`)
	s.listen(own("net-lan"))
	if got := s.ask(s.outThere, "192.168.5.8:0", "172.17.0.2:5000"); got == "" {
		t.Error("an exit that is not closed does not forward")
	}
	next := snatConfig()
	next.ForwardsAll = false
	if anew, err := updateTable(g.table(), next.table()); err != nil || anew {
		t.Fatal(anew, err)
	}
	if got := s.ask(s.outThere, "192.168.5.8:0", "172.17.0.2:5000"); got != "" || s.dropped()[Unsolicited] != 1 {
		t.Errorf("got %q, dropped %v", got, s.dropped())
	}
	if got := s.ask(s.inSwitch, "100.64.0.5:0", "203.0.113.1:5000"); got == "" {
		t.Error("the way outside is closed, too")
	}
}

func TestRulesThatAreGoneAreMissed(t *testing.T) {
	inNamespace(t, "")
	for _, g := range []Config{guardConfig("192.168.5.2", "192.168.5.3", "192.168.5.12"), snatConfig(), directConfig(), edgeConfig()} {
		for _, harm := range []string{"flush chain ip overlane forward", "flush set ip overlane peers", "add element ip overlane peers { 9.9.9.9 }"} {
			if err := writeTable(g.table()); err != nil {
				t.Fatal(err)
			}
			if err := g.table().intact(); err != nil {
				t.Error(err)
			}
			run(t, "nft", harm)
			if err := g.table().intact(); !errors.Is(err, errGone) {
				t.Errorf("%s: %v", harm, err)
			}
		}
	}
}
