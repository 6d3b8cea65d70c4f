package outside

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netns"

	"github.com/overlane/overlane/internal/roottest"
)

func way() Way {
	return Way{Port: "ovl-nat", Range: netip.MustParsePrefix("100.64.0.0/10"), MAC: [6]byte{2, 0x4f, 0x56, 0, 0, 1}}
}

// inNamespace goes on in a network namespace of its own, which ends with the test's thread.
func inNamespace(t *testing.T, lines string) {
	t.Helper()
	roottest.Need(t)
	runtime.LockOSThread() // and never unlocked: the thread ends with the test
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ns.Close() })
	runAll(t, "ip link set lo up\n"+lines)
}

func runAll(t *testing.T, lines string) {
	t.Helper()
	for line := range strings.Lines(lines) {
		args := strings.Fields(line)
		for i, a := range args {
			if strings.HasPrefix(a, "outside-") {
				args[i] = own(a)
			}
		}
		run(t, args...)
	}
}

// own is the name of a namespace that no other run of the tests has.
func own(name string) string { return fmt.Sprintf("%s-%d", name, os.Getpid()) }

func run(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v: %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

var aPort = wire("ovl-nat")

// wire makes an interface whose other end is up.
func wire(name string) string {
	return strings.ReplaceAll("ip link add NAME type veth peer name NAME.p\nip link set NAME.p up\n", "NAME", name)
}

// state is what a person would look at.
func state(t *testing.T) string {
	t.Helper()
	var words []string
	for _, what := range []string{"-o address show dev ovl-nat", "neigh show dev ovl-nat", "route show table all dev ovl-nat"} {
		for line := range strings.Lines(run(t, append([]string{"ip"}, strings.Fields(what)...)...)) {
			line, _, _ = strings.Cut(strings.TrimSpace(line), "\\")
			words = append(words, strings.Join(strings.Fields(line), " "))
		}
	}
	return strings.Join(words, "\n")
}

const asMeant = `3: ovl-nat inet 100.64.0.0/32 scope link ovl-nat
100.64.0.1 lladdr 02:4f:56:00:00:01 PERMANENT
100.64.0.0/10 via 100.64.0.1 proto static src 100.64.0.0 onlink
local 100.64.0.0 table local proto kernel scope host src 100.64.0.0`

func mustBe(t *testing.T, want string) {
	t.Helper()
	_, got, _ := strings.Cut(state(t), ": ")
	if _, want, _ := strings.Cut(want, ": "); got != want {
		t.Errorf("there is\n%s\nwant\n%s", got, want)
	}
}

func ensure(t *testing.T, w Way, wantChanged bool) {
	t.Helper()
	if changed, err := Ensure(w); err != nil || changed != wantChanged {
		t.Errorf("changed: %t, want %t; %v", changed, wantChanged, err)
	}
}

func remove(t *testing.T, w Way) error {
	return errors.Join(RemoveWay(w), ForgetDocker(t.Context()))
}

func TestEnsure(t *testing.T) {
	inNamespace(t, aPort)
	ensure(t, way(), true)
	mustBe(t, asMeant)
	ensure(t, way(), false)
	for setting, want := range map[string]string{"ipv4.conf.ovl-nat.forwarding": "1", "ipv4.conf.ovl-nat.send_redirects": "0", "ipv6.conf.ovl-nat.disable_ipv6": "1", "ipv4.conf.all.forwarding": "0"} {
		if got := run(t, "sysctl", "-n", "net."+setting); got != want {
			t.Errorf("%s is %s", setting, got)
		}
	}
	for _, harm := range []string{
		"ip link set ovl-nat down",
		"ip address flush dev ovl-nat",
		"ip neigh del 100.64.0.1 dev ovl-nat",
		"ip neigh replace 100.64.0.1 lladdr 02:00:00:00:00:99 nud permanent dev ovl-nat",
		"ip route flush dev ovl-nat",
		"ip route replace 100.64.0.0/10 dev ovl-nat",
		"ip address add 10.1.1.1/24 dev ovl-nat",
		"sysctl -w net.ipv4.ip_forward=1 net.ipv4.ip_forward=0",
	} {
		runAll(t, harm)
		if changed, err := Ensure(way()); err != nil || !changed {
			t.Errorf("after %q: changed: %t, %v", harm, changed, err)
		}
		mustBe(t, asMeant)
		ensure(t, way(), false)
	}
}

func TestEnsureAnotherRange(t *testing.T) {
	inNamespace(t, aPort)
	ensure(t, way(), true)
	other := way()
	other.Range = netip.MustParsePrefix("100.64.0.0/16")
	ensure(t, other, true)
	mustBe(t, strings.ReplaceAll(asMeant, "/10", "/16"))
	other.Range = netip.MustParsePrefix("10.200.0.0/16")
	ensure(t, other, true)
	mustBe(t, strings.NewReplacer("100.64", "10.200", "/10", "/16").Replace(asMeant))
	if err := remove(t, other); err != nil {
		t.Fatal(err)
	}
	if got := state(t); got != "" {
		t.Errorf("there is still %s", got)
	}
	if err := remove(t, other); err != nil {
		t.Errorf("removing what is not there: %v", err)
	}
	ensure(t, other, true)
}

func TestErrorsSayWhatToDo(t *testing.T) {
	inNamespace(t, "")
	if _, err := Ensure(way()); err == nil || !strings.Contains(err.Error(), "way outside by ovl-nat: there is no such interface") {
		t.Error(err)
	}
	if err := remove(t, way()); err != nil {
		t.Errorf("without a port: %v", err)
	}
	bad := way()
	bad.Range = netip.MustParsePrefix("100.64.0.1/10")
	for _, err := range []error{Conflict(bad), remove(t, bad)} {
		if err == nil || !strings.Contains(err.Error(), "natRange 100.64.0.1/10 is no network") {
			t.Error(err)
		}
	}
	runAll(t, aPort+wire("tun0")+`ip link set tun0 up
ip route add default dev tun0 table 77
ip rule add to all lookup 77 priority 100
`)
	if _, err := Ensure(way()); err == nil || !strings.Contains(err.Error(), "policy routing") {
		t.Error(err)
	}
}

func TestConflict(t *testing.T) {
	inNamespace(t, aPort+wire("eth0")+`ip link set eth0 up
ip address add 192.168.5.2/24 dev eth0
ip route add default via 192.168.5.1
ip route add 100.0.0.0/8 via 192.168.5.1
`)
	ensure(t, way(), true)
	if err := Conflict(way()); err != nil {
		t.Errorf("with itself: %v", err)
	}
	for _, c := range []struct{ do, undo, want string }{
		{"ip address add 100.101.102.103/32 dev eth0", "ip address del 100.101.102.103/32 dev eth0", "eth0 has the address 100.101.102.103/32, which is in natRange 100.64.0.0/10; set natRange"},
		{"ip address add 100.0.0.1/8 dev eth0", "ip address del 100.0.0.1/8 dev eth0", "eth0 has the address 100.0.0.1/8"},
		{"ip route add 100.100.0.0/16 via 192.168.5.1", "ip route del 100.100.0.0/16", "eth0 has a route to 100.100.0.0/16 (table 254)"},
		{"ip route add 100.64.0.0/10 dev eth0 table 52", "ip route del 100.64.0.0/10 table 52", "eth0 has a route to 100.64.0.0/10 (table 52)"},
		{"ip route add unreachable 100.65.0.0/16", "ip route del unreachable 100.65.0.0/16", "the host has a route to 100.65.0.0/16"},
		{"ip route add 100.66.0.0/16 nexthop via 192.168.5.1 nexthop via 192.168.5.3", "ip route del 100.66.0.0/16", "eth0 has a route to 100.66.0.0/16"},
	} {
		run(t, strings.Fields(c.do)...)
		if err := Conflict(way()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("after %s: %v", c.do, err)
		}
		run(t, strings.Fields(c.undo)...)
	}
	if err := remove(t, way()); err != nil {
		t.Fatal(err)
	}
	runAll(t, "ip route add 100.64.0.0/10 dev eth0\n")
	if _, err := Ensure(way()); err == nil || !strings.Contains(err.Error(), "eth0 has a route to 100.64.0.0/10") {
		t.Error(err)
	}
	if got := run(t, "ip", "route", "show", "100.64.0.0/10"); !strings.Contains(got, "eth0") {
		t.Errorf("the route of another has become %s", got)
	}
}

func TestAddresses(t *testing.T) {
	inNamespace(t, `ip link add nic type veth peer name other
ip link add ovl-outside type veth peer name outside
ip addr add 192.168.5.2/24 dev nic
ip addr add 10.1.1.1/32 dev lo
ip addr add 10.1.1.2/32 dev nic scope link
ip addr add 169.254.7.7/16 dev nic
ip addr add 100.64.0.0/10 dev ovl-outside
ip addr add 2001:db8::1/64 dev nic
`)
	got, err := Addresses()
	if err != nil {
		t.Fatal(err)
	}
	want := []netip.Addr{netip.MustParseAddr("10.1.1.1"), netip.MustParseAddr("10.1.1.2"), netip.MustParseAddr("192.168.5.2")}
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestExits(t *testing.T) {
	inNamespace(t, aPort)
	if got, err := Exits(); err != nil || len(got) != 0 {
		t.Errorf("%v, %v", got, err)
	}
	runAll(t, wire("eth0")+wire("eth1")+wire("wg0")+wire("eth0.100")+`ip link set eth0 up
ip link set eth1 up
ip link set wg0 up
ip link set eth0.100 up
ip address add 192.168.5.2/24 dev eth0
ip address add 192.168.6.2/24 dev eth1
ip route add default nexthop via 192.168.6.1 nexthop via 192.168.5.1
ip route add default dev eth0.100 metric 100
ip route add default via 192.168.5.1 metric 200
ip route add unreachable default metric 4000
ip route add 10.0.0.0/8 dev wg0
ip route add default dev wg0 table 77
`)
	exits, err := Exits()
	if err != nil || !slices.Equal(exits, []string{"eth0", "eth0.100", "eth1"}) {
		t.Errorf("%v, %v", exits, err)
	}
	closed, opened, err := OpenForwarding(append(exits, "gone"))
	if err != nil || !slices.Equal(closed, exits) || !slices.Equal(opened, exits) {
		t.Errorf("%v, %v, %v", closed, opened, err)
	}
	for _, name := range []string{"eth0", "eth1", "eth0/100"} {
		if got := run(t, "sysctl", "-n", "net.ipv4.conf."+name+".forwarding"); got != "1" {
			t.Errorf("forwarding of %s is %s", name, got)
		}
	}
	if got := run(t, "sysctl", "-n", "net.ipv4.conf.wg0.forwarding"); got != "0" {
		t.Errorf("forwarding of wg0 is %s", got)
	}
	if closed, opened, err := OpenForwarding(exits); err != nil || !slices.Equal(closed, exits) || opened != nil {
		t.Errorf("once more: %v, %v, %v", closed, opened, err)
	}
	if err := CloseForwarding([]string{"eth0", "gone"}); err != nil {
		t.Error(err)
	}
	for name, want := range map[string]string{"eth0": "0", "eth1": "1"} {
		if got := run(t, "sysctl", "-n", "net.ipv4.conf."+name+".forwarding"); got != want {
			t.Errorf("forwarding of %s is %s, want %s", name, got, want)
		}
	}
	runAll(t, "sysctl -w net.ipv4.ip_forward=1\nsysctl -w net.ipv4.conf.eth1.forwarding=0\n")
	if closed, opened, err := OpenForwarding(exits); err != nil || closed != nil || !slices.Equal(opened, []string{"eth1"}) {
		t.Errorf("of a host that forwards: %v, %v, %v", closed, opened, err)
	}
	if err := CloseForwarding(exits); err != nil {
		t.Error(err)
	}
	if got := run(t, "sysctl", "-n", "net.ipv4.conf.eth1.forwarding"); got != "1" {
		t.Errorf("forwarding of eth1 is %s", got)
	}
}

// backend has iptables be one of its two.
func backend(t *testing.T, name string) {
	t.Helper()
	dir := t.TempDir()
	for _, suffix := range []string{"", "-restore"} {
		program, err := exec.LookPath("iptables-" + name + suffix)
		if err != nil {
			t.Skip(err)
		}
		if err := os.Symlink(program, filepath.Join(dir, "iptables"+suffix)); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

func TestDockerLetsPass(t *testing.T) {
	roottest.Need(t)
	for _, name := range []string{"nft", "legacy"} {
		t.Run(name, func(t *testing.T) {
			backend(t, name)
			runAll(t, "ip netns add outside-in\nip netns add outside-out\n")
			t.Cleanup(func() { runAll(t, "ip netns del outside-in\nip netns del outside-out\n") })
			inNamespace(t, `ip link add ovl-nat type veth peer name sw netns outside-in address 02:4f:56:00:00:01
ip link add eth0 type veth peer name out netns outside-out
ip link set eth0 up
ip address add 192.168.5.2/24 dev eth0
ip route add default via 192.168.5.8
ip -n outside-in link set sw up
ip -n outside-in address add 100.64.0.5/32 dev sw
ip -n outside-out link set out up
ip -n outside-out address add 192.168.5.8/24 dev out
ip -n outside-out route add 100.64.0.0/10 via 192.168.5.2
`)
			mac := strings.Fields(run(t, "ip", "-br", "link", "show", "ovl-nat"))[2]
			runAll(t, "ip -n outside-in neigh add 100.64.0.1 lladdr "+mac+` nud permanent dev sw
ip -n outside-in route add default via 100.64.0.1 dev sw onlink
`)
			ensure(t, way(), true)
			exits, err := Exits()
			if err == nil {
				_, _, err = OpenForwarding(exits)
			}
			if err != nil {
				t.Fatal(err)
			}
			dockerLetsPass(t, exits)
		})
	}
}

func dockerLetsPass(t *testing.T, exits []string) {
	let := func(wantChanged bool) {
		t.Helper()
		if changed, err := LetDocker(t.Context(), way(), exits, nil); err != nil || changed != wantChanged {
			t.Errorf("changed: %t, want %t; %v", changed, wantChanged, err)
		}
	}
	passes := func(from, to string, want bool) {
		t.Helper()
		if got := exec.Command("ip", "netns", "exec", own(from), "ping", "-c", "1", "-W", "0.3", to).Run() == nil; got != want {
			t.Errorf("a ping from %s to %s passes: %t; the rules are\n%s", from, to, got, run(t, "iptables", "-S"))
		}
	}
	let(false)
	passes("outside-in", "192.168.5.8", true)
	runAll(t, `iptables -P FORWARD DROP
iptables -N DOCKER-USER
iptables -A FORWARD -j DOCKER-USER
iptables -A DOCKER-USER -i other -j DROP
iptables -A DOCKER-USER -j RETURN
`)
	before := run(t, "iptables", "-S")
	passes("outside-in", "192.168.5.8", false)
	let(true)
	passes("outside-in", "192.168.5.8", true)
	passes("outside-out", "100.64.0.5", false)
	as := run(t, "iptables", "-S")
	if !strings.Contains(as, "-A DOCKER-USER -m comment --comment overlane -j OVERLANE\n-A DOCKER-USER -i other -j DROP\n") {
		t.Errorf("the rules are\n%s", as)
	}
	let(false)
	for _, harm := range []string{
		"iptables -F DOCKER-USER",
		"iptables -F OVERLANE",
		"iptables -A OVERLANE -j ACCEPT",
		"iptables -A DOCKER-USER -j OVERLANE",
		"iptables -A DOCKER-USER -m comment --comment overlane -j OVERLANE",
	} {
		runAll(t, harm)
		let(true)
		passes("outside-in", "192.168.5.8", true)
		passes("outside-out", "100.64.0.5", false)
		let(false)
	}
	exits = append(exits, "eth1")
	let(true)
	let(false)
	runAll(t, `iptables -D DOCKER-USER -m comment --comment overlane -j OVERLANE
iptables -A DOCKER-USER -i other -j DROP
iptables -A DOCKER-USER -j RETURN
iptables -A DOCKER-USER -m comment --comment overlane -j OVERLANE
`)
	let(true) // where it was it was not reached
	if err := remove(t, way()); err != nil {
		t.Error(err)
	}
	if after := run(t, "iptables", "-S"); after != before {
		t.Errorf("of\n%s\nhas become\n%s", before, after)
	}
	passes("outside-in", "192.168.5.8", false)
}

func TestNoIptables(t *testing.T) {
	inNamespace(t, aPort)
	t.Setenv("PATH", "")
	if changed, err := LetDocker(t.Context(), way(), nil, nil); err != nil || changed {
		t.Errorf("changed: %t, %v", changed, err)
	}
	if err := remove(t, way()); err != nil {
		t.Error(err)
	}
}

func BenchmarkNothingToDo(b *testing.B) {
	runtime.LockOSThread()
	ns, err := netns.New()
	if err == nil {
		defer ns.Close()
		err = exec.Command("ip", "link", "add", "ovl-nat", "type", "veth").Run()
	}
	if err == nil {
		_, err = Ensure(way())
	}
	for b.Loop() && err == nil {
		_, err = Ensure(way())
	}
	if err != nil {
		b.Fatal(err)
	}
}
