package firewall

import (
	"bufio"
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

	"github.com/vishvananda/netns"
)

func outsideGuard() Guard {
	g := guard("192.168.5.3")
	g.Outside = &Outside{
		Port: "ovl-nat", Range: netip.MustParsePrefix("100.64.0.0/10"), Exits: []string{"eth0"},
		Reserved: []netip.Addr{netip.MustParseAddr("192.168.5.9")},
		Allow: []Allowance{
			{netip.MustParseAddr("100.64.0.6"), netip.MustParsePrefix("192.168.5.9/32")},
			{netip.MustParseAddr("100.64.0.6"), netip.MustParsePrefix("192.168.5.0/29")},
			{netip.MustParseAddr("100.64.0.6"), netip.MustParsePrefix("192.168.5.2/32")},
		},
	}
	return g
}

func TestWayOutsideReadsAsMeant(t *testing.T) {
	inNamespace(t)
	g := outsideGuard()
	g.Inbound, g.Outside.Copied = true, "nic"
	if err := Set(g); err != nil {
		t.Fatal(err)
	}
	next := outsideGuard()
	next.Inbound, next.Outside.Copied = true, "nic"
	next.Outside.Exits = []string{"eth0", "wlan0"}
	next.Outside.Closed = []string{"wlan0"}
	next.Outside.Reserved = nil
	next.Outside.Allow = []Allowance{{netip.MustParseAddr("100.64.0.6"), netip.MustParsePrefix("192.168.0.0/16")}}
	if next.Equal(g) || !next.Equal(next) {
		t.Error("guards are not compared by value")
	}
	if anew, err := Update(g, next); err != nil || anew {
		t.Fatal(anew, err)
	}
	counters := ""
	for _, name := range []string{"forged", "guarded-address", "no-exit", "untracked", "unsolicited"} {
		counters += "	counter " + name + " {\n		packets 0 bytes 0\n	}\n\n"
	}
	want := `table ip overlane {
` + counters + `	set peers {
		type ipv4_addr
		elements = { 192.168.5.3 }
	}

	set reserved {
		type ipv4_addr
	}

	set allowed {
		type ipv4_addr . ipv4_addr
		flags interval
		elements = { 100.64.0.6 . 192.168.0.0/16 }
	}

	set exits {
		type ifname
		elements = { "eth0",
			     "wlan0" }
	}

	set closed {
		type ifname
		elements = { "wlan0" }
	}

	chain guarded {
		ip saddr != 100.64.0.0/10 counter name "guarded-address" drop
		ip daddr 100.64.0.0/10 counter name "guarded-address" drop
		ip saddr . ip daddr @allowed accept
		ip daddr @reserved counter name "guarded-address" drop
		ip daddr 169.254.0.0/16 counter name "guarded-address" drop
		fib daddr type != unicast counter name "guarded-address" drop
	}

	chain prerouting {
		type filter hook prerouting priority raw; policy accept;
		iifname "ovl-nat" jump guarded
		iifname "nic" fib daddr . iif type != local notrack
	}

	chain output {
		type filter hook output priority raw; policy accept;
		udp dport 4789 ip daddr @peers meta skuid >= 0 counter name "forged" drop
	}

	chain forward {
		type filter hook forward priority raw; policy accept;
		udp dport 4789 ip daddr @peers ip saddr != @peers counter name "forged" drop
		udp dport 4789 ip daddr @peers fib saddr . iif oif 0 counter name "forged" drop
		oifname "ovl-nat" ct state invalid,new,untracked counter name "unsolicited" drop
		iifname @closed oifname != "ovl-nat" counter name "unsolicited" drop
		iifname "ovl-nat" oifname != @exits counter name "no-exit" drop
		iifname "ovl-nat" ct state invalid,untracked counter name "untracked" drop
		iifname "ovl-nat" jump guarded
	}

	chain input {
		type filter hook input priority raw; policy accept;
		udp dport 4789 ip saddr @peers fib saddr . iif oif 0 counter name "forged" drop
		iifname "ovl-nat" jump guarded
	}

	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		ip saddr 100.64.0.0/10 oifname @exits masquerade
	}

	chain leaving {
		type filter hook postrouting priority srcnat + 10; policy accept;
		ip saddr 100.64.0.0/10 oifname @exits counter name "untracked" drop
	}
}`
	if got := run(t, "nft", "list", "ruleset"); got != want {
		t.Errorf("nft reads\n%s\nwant\n%s", got, want)
	}
	if anew, err := Update(next, guard("192.168.5.3")); err != nil || !anew {
		t.Error(anew, err)
	}
	if got := run(t, "nft", "list", "ruleset"); strings.Contains(got, "ovl-nat") {
		t.Errorf("without a way outside there is\n%s", got)
	}
}

func TestWayOutsideIsChecked(t *testing.T) {
	for name, change := range map[string]func(*Outside){
		"range":     func(o *Outside) { o.Range = netip.MustParsePrefix("100.64.0.1/10") },
		"no range":  func(o *Outside) { o.Range = netip.Prefix{} },
		"port":      func(o *Outside) { o.Port = "" },
		"exit":      func(o *Outside) { o.Exits = []string{"a-name-of-16-bytes"} },
		"copied":    func(o *Outside) { o.Copied = "a-name-of-16-bytes" },
		"reserved":  func(o *Outside) { o.Reserved = []netip.Addr{netip.IPv6Loopback()} },
		"allowance": func(o *Outside) { o.Allow = make([]Allowance, 1) },
	} {
		g := outsideGuard()
		change(g.Outside)
		if err := Set(g); err == nil || !strings.HasPrefix(err.Error(), "the way outside: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestManyReserved(t *testing.T) {
	inNamespace(t)
	g := outsideGuard()
	for n := range 10000 {
		g.Outside.Reserved = append(g.Outside.Reserved, netip.AddrFrom4([4]byte{192, 168, 32 + byte(n>>8), byte(n)}))
		g.Outside.Allow = append(g.Outside.Allow, Allowance{netip.AddrFrom4([4]byte{100, 64, byte(n >> 8), byte(n)}), netip.MustParsePrefix("10.0.0.0/8")})
	}
	if err := Set(g); err != nil {
		t.Fatal(err)
	}
	next := outsideGuard()
	next.Outside.Reserved = g.Outside.Reserved[1:]
	next.Outside.Allow = g.Outside.Allow[1:]
	if anew, err := Update(g, next); err != nil || anew {
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
	inNamespace(t)
	s := &scene{t: t, inSwitch: own("fw-switch"), outThere: own("fw-out")}
	s.runAll(`ip netns add fw-switch
ip netns add fw-out
ip link add ovl-nat address 02:4f:56:00:00:02 type veth peer name sw netns fw-switch address 02:4f:56:00:00:01
ip link add eth0 type veth peer name out netns fw-out
ip link add lan type veth peer name lan netns fw-out
ip link set ovl-nat up
ip link set eth0 up
ip link set lan up
ip addr add 192.168.5.2/24 brd + dev eth0
ip addr add 172.17.0.1/24 dev lan
ip -n fw-switch link set lo up
ip -n fw-switch link set sw up
ip -n fw-switch addr add 100.64.0.5/32 dev sw
ip -n fw-switch addr add 100.64.0.6/32 dev sw
ip -n fw-switch addr add 9.9.9.9/32 dev sw
ip -n fw-switch neigh add 100.64.0.1 lladdr 02:4f:56:00:00:02 nud permanent dev sw
ip -n fw-switch route add default via 100.64.0.1 dev sw onlink
ip -n fw-out link set lo up
ip -n fw-out link set out up
ip -n fw-out link set lan up
ip -n fw-out addr add 192.168.5.8/24 dev out
ip -n fw-out addr add 192.168.5.9/24 dev out
ip -n fw-out addr add 203.0.113.1/32 dev lo
ip -n fw-out addr add 169.254.169.254/32 dev lo
ip -n fw-out addr add 172.17.0.2/24 dev lan
ip -n fw-out route add 100.64.0.0/10 via 192.168.5.2
ip addr add 100.64.0.0/32 scope link dev ovl-nat
ip neigh add 100.64.0.1 lladdr 02:4f:56:00:00:01 nud permanent dev ovl-nat
ip route add 100.64.0.0/10 via 100.64.0.1 dev ovl-nat onlink src 100.64.0.0
ip route add default via 192.168.5.8
sysctl -qw net.ipv4.conf.all.forwarding=1
nft add table ip others
nft add chain ip others redirected { type nat hook prerouting priority dstnat ; }
nft add rule ip others redirected ip daddr 192.168.5.2 udp dport 8080 dnat to 203.0.113.1:5000
nft add rule ip others redirected ip daddr 203.0.113.7 udp dport 5000 dnat to 192.168.5.9
nft add rule ip others redirected ip daddr 203.0.113.8 udp dport 5000 redirect
nft add rule ip others redirected ip daddr 203.0.113.9 udp dport 5000 dnat to 203.0.113.1
ip netns exec fw-out nft add table ip watch
ip netns exec fw-out nft add chain ip watch in { type filter hook prerouting priority raw ; }
ip netns exec fw-out nft add rule ip watch in iifname out ip saddr 100.64.0.0/10 counter
`)
	s.listen("")
	s.listen(s.outThere)
	s.listen(s.inSwitch)
	return s
}

// own is the name of a namespace that no other run of the tests has.
func own(name string) string { return fmt.Sprintf("%s-%d", name, os.Getpid()) }

func (s *scene) runAll(lines string) {
	s.t.Helper()
	for line := range strings.Lines(lines) {
		args := strings.Fields(line)
		for i, a := range args {
			if strings.HasPrefix(a, "fw-") {
				args[i] = own(a)
			}
		}
		run(s.t, args...)
		if len(args) == 4 && args[1] == "netns" {
			s.t.Cleanup(func() { run(s.t, "ip", "netns", "del", args[3]) })
		}
	}
}

func run(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v: %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
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
	result := make(chan error)
	go func() {
		runtime.LockOSThread()
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
		s.t.Fatal(err)
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
	counted, err := Dropped()
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
	if err := Set(outsideGuard()); err != nil {
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
		{"9.9.9.9:0", "203.0.113.1:5000", GuardedHost},
		{"100.64.0.5:0", "192.168.5.2:5000", GuardedHost},
		{"100.64.0.5:0", "172.17.0.1:5000", GuardedHost},
		{"100.64.0.6:0", "172.17.0.1:5000", GuardedHost},
		{"100.64.0.5:0", "100.64.0.0:5000", GuardedHost},
		{"100.64.0.5:0", "100.64.0.7:5000", GuardedHost},
		{"100.64.0.5:0", "192.168.5.9:5000", GuardedHost},
		{"100.64.0.5:0", "169.254.169.254:5000", GuardedHost},
		{"100.64.0.5:0", "192.168.5.2:8080", GuardedHost}, // published by others
		{"100.64.0.5:0", "203.0.113.7:5000", GuardedHost}, // which others lead to a reserved address,
		{"100.64.0.5:0", "203.0.113.8:5000", GuardedHost}, // and to the host
		{"100.64.0.5:0", "192.168.5.255:5000", GuardedHost},
		{"100.64.0.5:0", "224.0.0.1:5000", GuardedHost},
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
	if err := Set(outsideGuard()); err != nil {
		t.Fatal(err)
	}
	if got := s.ask(s.outThere, "192.168.5.8:0", "100.64.0.6:5000"); got != "" || s.dropped()[Unsolicited] != 1 {
		t.Errorf("got %q, dropped %v", got, s.dropped())
	}
}

// A connection outlives whatever becomes of the table.
func TestConnectionsLast(t *testing.T) {
	s := newScene(t)
	g := outsideGuard()
	if err := Set(g); err != nil {
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
	next := outsideGuard()
	next.Outside.Exits = []string{"eth0", "lan"}
	if anew, err := Update(g, next); err != nil || anew {
		t.Fatal(anew, err)
	}
	stillThere()
	next.Port++
	if anew, err := Update(g, next); err != nil || !anew {
		t.Fatal(anew, err)
	}
	stillThere()
	s.mustNotLeak()
}

// The kernel translates nothing that belongs to no connection.
func TestNothingLeavesUntranslated(t *testing.T) {
	s := newScene(t)
	if err := Set(outsideGuard()); err != nil {
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
	g := outsideGuard()
	if err := Set(g); err != nil {
		t.Fatal(err)
	}
	s.runAll(`ip netns add fw-lan
ip link del lan
ip link add lan type veth peer name lan netns fw-lan
ip link set lan up
ip addr add 172.17.0.1/24 dev lan
ip -n fw-lan link set lan up
ip -n fw-lan addr add 172.17.0.2/24 dev lan
ip -n fw-lan route add default via 172.17.0.1
ip -n fw-out route add 172.17.0.0/24 via 192.168.5.2
`)
	s.listen(own("fw-lan"))
	if got := s.ask(s.outThere, "192.168.5.8:0", "172.17.0.2:5000"); got == "" {
		t.Error("an exit that is not closed does not forward")
	}
	next := outsideGuard()
	next.Outside.Closed = []string{"eth0"}
	if anew, err := Update(g, next); err != nil || anew {
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
	inNamespace(t)
	for _, g := range []Guard{guard("192.168.5.2", "192.168.5.3", "192.168.5.12"), outsideGuard(), nativeGuard()} {
		for _, harm := range []string{"flush chain ip overlane forward", "flush set ip overlane peers", "add element ip overlane peers { 9.9.9.9 }"} {
			if err := Set(g); err != nil {
				t.Fatal(err)
			}
			if err := Intact(g); err != nil {
				t.Error(err)
			}
			run(t, "nft", harm)
			if err := Intact(g); !errors.Is(err, ErrGone) {
				t.Errorf("%s: %v", harm, err)
			}
		}
	}
}
