package hostnet

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/vishvananda/netns"

	"github.com/overlane/overlane/internal/roottest"
)

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

// guardConfig is a host's with peers that nothing leaves by its kernel.
func guardConfig(peers ...string) Config {
	c := Config{TunnelPort: 4789, Range: netip.MustParsePrefix("100.64.0.0/10"), MAC: [6]byte{2, 0x4f, 0x56, 0, 0, 1}}
	for _, p := range peers {
		c.Peers = append(c.Peers, ip(p))
	}
	return c
}

// snatConfig is that of a host which forwards for others, too.
func snatConfig() Config {
	c := guardConfig("192.168.5.3")
	c.ForwardsAll = true
	c.SNAT = &SNAT{
		Masquerade: true, Exits: []string{"eth0"}, Reserved: []netip.Addr{ip("192.168.5.9")},
		Allow: []Allowance{
			{ip("100.64.0.6"), netip.MustParsePrefix("192.168.5.9/32")},
			{ip("100.64.0.6"), netip.MustParsePrefix("192.168.5.0/29")},
			{ip("100.64.0.6"), netip.MustParsePrefix("192.168.5.2/32")},
		},
	}
	return c
}

// directConfig is that of a host with public addresses, which is no edge.
func directConfig() Config {
	c := guardConfig("192.168.5.21", "192.168.5.22")
	c.SNAT = &SNAT{Reserved: []netip.Addr{ip("192.168.5.9")}}
	c.Direct = &DirectPath{
		Host: "host1", VTEP: ip("192.168.5.2"), Underlay: "eth0", Hosted: []netip.Addr{ip("1.22.4.5"), ip("10.200.1.7")},
		Edges: []Edge{{"edge1", "ovl-e-1", ip("192.168.5.21"), true}, {"edge2", "ovl-e-2", ip("192.168.5.22"), true}},
	}
	return c
}

// edgeConfig is that of an edge without endpoints.
func edgeConfig() Config {
	c := guardConfig("192.168.5.11", "192.168.5.12", "192.168.9.12")
	c.Direct = &DirectPath{
		Host: "edge1", VTEP: ip("192.168.5.2"), Underlay: "eth0", IsEdge: true,
		Remote: []Remote{
			{Address: ip("1.22.4.5"), Host: "host1", VTEP: ip("192.168.5.11"), Adjacent: true},
			{Address: ip("10.200.1.7"), Routed: true, Host: "host2", VTEP: ip("192.168.5.12"), Adjacent: true},
			{Address: ip("10.200.9.7"), Routed: true, Host: "host9", VTEP: ip("192.168.9.12")},
		},
	}
	return c
}

// inNamespace goes on in a network namespace of its own, which ends with the test's thread.
func inNamespace(t testing.TB, lines string) {
	t.Helper()
	roottest.Need(t)
	runtime.LockOSThread() // and never unlocked: the thread ends with the test
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ns.Close() })
	runAll(t, `ip link set lo up
sysctl -qw net.ipv4.conf.all.forwarding=0 net.ipv4.conf.default.forwarding=0
sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0
`+lines)
}

// onUnderlay is a namespace of which eth0 leads to the underlay.
func onUnderlay(t testing.TB, lines string) {
	t.Helper()
	inNamespace(t, wire("eth0")+`ip link set eth0 up
ip address add 192.168.5.2/24 dev eth0
ip route add default via 192.168.5.1
`+lines)
}

// wire makes an interface whose other end is up.
func wire(name string) string {
	return strings.ReplaceAll("ip link add NAME type veth peer name p.NAME\nip link set p.NAME up\n", "NAME", name)
}

var (
	snatWire     = wire(SNATPort)
	underlayWire = wire(UnderlayPort)
	edgeWires    = wire("ovl-e-1") + wire("ovl-e-2")
)

// own is the name of a namespace that no other run of the tests has.
func own(name string) string { return fmt.Sprintf("%s-%d", name, os.Getpid()) }

// runAll runs a command a line. Namespaces that begin with net- are the test's own, and end with it.
func runAll(t testing.TB, lines string) {
	t.Helper()
	for line := range strings.Lines(lines) {
		args := strings.Fields(line)
		for i, a := range args {
			if strings.HasPrefix(a, "net-") {
				args[i] = own(a)
			}
		}
		run(t, args...)
		if len(args) == 4 && args[1] == "netns" && args[2] == "add" {
			t.Cleanup(func() { run(t, "ip", "netns", "del", args[3]) })
		}
	}
}

func run(t testing.TB, args ...string) string {
	t.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v: %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

const looksAtSources = "sysctl -qw net.ipv4.conf.all.rp_filter=1\n"

func inspect(t testing.TB) Snapshot {
	t.Helper()
	s, err := Inspect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}
