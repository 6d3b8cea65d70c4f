package outside

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

// onUnderlay is a namespace of which eth0 leads to the underlay.
func onUnderlay(t *testing.T, lines string) {
	t.Helper()
	inNamespace(t, wire("eth0")+`ip link set eth0 up
ip address add 192.168.5.2/24 dev eth0
ip route add default via 192.168.5.1
`+lines)
}

func host() Native {
	return Native{
		Host: "host1", VTEP: ip("192.168.5.2"), Range: way().Range, MAC: way().MAC, Outside: "ovl-nat",
		Hosted: []netip.Addr{ip("1.22.4.5"), ip("10.200.1.7")},
		Edges:  []Edge{{"edge1", "ovl-e-1", ip("192.168.5.21")}, {"edge2", "ovl-e-2", ip("192.168.5.22")}},
	}
}

func edge() Native {
	return Native{
		Host: "edge1", VTEP: ip("192.168.5.2"), Range: way().Range, MAC: way().MAC, Passage: "ovl-underlay", Mark: 0x4f000000, Mask: 0xff000000,
		Passed: []Passed{
			{Address: ip("1.22.4.5"), Host: "host1", VTEP: ip("192.168.5.11")},
			{Address: ip("10.200.1.7"), Routed: true, Host: "host2", VTEP: ip("192.168.5.12")},
			{Address: ip("10.200.9.7"), Routed: true, Host: "host9", VTEP: ip("192.168.9.12")},
		},
	}
}

func ensureNative(t *testing.T, n Native, wantChanged bool) Carried {
	t.Helper()
	c, err := EnsureNative(n)
	if err != nil || c.Changed != wantChanged {
		t.Errorf("changed: %t, want %t; %v", c.Changed, wantChanged, err)
	}
	return c
}

// native is what a person would look at, sorted.
func native(t *testing.T) string {
	t.Helper()
	var rules []string
	for line := range strings.Lines(run(t, "ip", "rule")) {
		if strings.Contains(line, "proto 79") {
			is := strings.Join(strings.Fields(line), " ")
			for route := range strings.Lines(run(t, "ip", "route", "show", "table", strings.Fields(line[strings.Index(line, "lookup"):])[1])) {
				is += "\n " + strings.Join(strings.Fields(route), " ")
			}
			rules = append(rules, is)
		}
	}
	slices.Sort(rules)
	return strings.Join(rules, "\n")
}

const hostAsMeant = `1264: from all iif ovl-e-1 lookup 1326448644 proto 79
 default via 192.168.5.21 dev eth0 proto 79 onlink
 unreachable default proto 79 metric 1
1264: from all iif ovl-e-2 lookup 1326448646 proto 79
 default via 192.168.5.22 dev eth0 proto 79 onlink
 unreachable default proto 79 metric 1
1267: from all lookup 1325400064 proto 79
 1.22.4.5 via 100.64.0.1 dev ovl-nat proto 79 onlink
 10.200.1.7 via 100.64.0.1 dev ovl-nat proto 79 onlink`

const edgeAsMeant = `1265: from all iif ovl-underlay lookup 1325400065 proto 79
 1.22.4.5 via 192.168.5.11 dev eth0 proto 79 onlink
 10.200.1.7 via 192.168.5.12 dev eth0 proto 79 onlink
1266: from all fwmark 0x4f000000/0xff000000 lookup 1325400066 proto 79
 default via 100.64.0.3 dev ovl-underlay proto 79 onlink`

// mustBeNative compares but for the numbers of edges' tables.
func mustBeNative(t *testing.T, want string) {
	t.Helper()
	if got := native(t); anonymous(got) != anonymous(want) {
		t.Errorf("there is\n%s\nwant\n%s", got, want)
	}
}

func anonymous(s string) string {
	words := strings.Split(s, " ")
	for i, w := range words {
		if strings.HasPrefix(w, "13264") {
			words[i] = "N"
		}
	}
	return strings.Join(words, " ")
}

func TestHostOfPublicAddresses(t *testing.T) {
	onUnderlay(t, aPort+wire("ovl-e-1")+wire("ovl-e-2")+"sysctl -qw net.ipv4.conf.all.rp_filter=1\n")
	ensure(t, way(), true)
	c := ensureNative(t, host(), true)
	if c.Underlay != "eth0" || !c.Closed || c.Passage || !slices.Equal(c.Edges, []string{"edge1", "edge2"}) {
		t.Errorf("got %+v", c)
	}
	mustBeNative(t, hostAsMeant)
	ensureNative(t, host(), false)
	ensure(t, way(), false)
	if err := Conflict(way()); err != nil {
		t.Errorf("with itself: %v", err)
	}
	for setting, want := range map[string]string{"eth0.forwarding": "1", "eth0.rp_filter": "2", "ovl-e-1.rp_filter": "2", "ovl-e-2.forwarding": "1", "ovl-e-1.send_redirects": "0", "all.forwarding": "0"} {
		if got := run(t, "sysctl", "-n", "net.ipv4.conf."+setting); got != want {
			t.Errorf("%s is %s", setting, got)
		}
	}
	for _, harm := range []string{
		"ip link set ovl-e-1 down",
		"ip link del ovl-e-1\n" + strings.TrimSpace(wire("ovl-e-1")),
		"ip address flush dev ovl-e-2",
		"ip rule del priority 1267",
		"ip rule del priority 1264\nip rule del priority 1264",
		"ip route flush table 1325400064",
		"ip route del 1.22.4.5 table 1325400064",
		"ip route add 9.9.9.9 dev eth0 table 1325400064",
		"sysctl -qw net.ipv4.conf.eth0.rp_filter=0",
		"ip rule add iif ovl-e-9 lookup 1326500000 priority 1264 proto 79\nip route add default dev eth0 table 1326500000",
	} {
		runAll(t, harm)
		ensureNative(t, host(), true)
		mustBeNative(t, hostAsMeant)
		ensureNative(t, host(), false)
	}
	if got := run(t, "ip", "route", "show", "table", "all"); strings.Contains(got, "1326500000") {
		t.Errorf("a table without a rule is left: %s", got)
	}
	less := host()
	less.Edges, less.Hosted = less.Edges[1:], nil
	ensureNative(t, less, true)
	mustBeNative(t, `1264: from all iif ovl-e-2 lookup 1326448646 proto 79
 default via 192.168.5.22 dev eth0 proto 79 onlink
 unreachable default proto 79 metric 1`)
	runAll(t, "ip rule flush\nip rule add lookup main\n")
	for range 2 {
		if err := RemoveNative(); err != nil {
			t.Fatal(err)
		}
	}
	if got := native(t) + run(t, "ip", "route", "show", "table", "all", "proto", "79"); got != "" {
		t.Errorf("there is still %s", got)
	}
	if got := run(t, "ip", "route"); !strings.Contains(got, "default via 192.168.5.1") {
		t.Errorf("the host's own routes are\n%s", got)
	}
}

func TestEdge(t *testing.T) {
	onUnderlay(t, wire("ovl-underlay"))
	if c := ensureNative(t, edge(), true); !c.Passage || c.Edges != nil {
		t.Errorf("got %+v", c)
	}
	mustBeNative(t, edgeAsMeant)
	ensureNative(t, edge(), false)
	if got := run(t, "ip", "neigh", "show", "dev", "ovl-underlay"); got != "100.64.0.3 lladdr 02:4f:56:00:00:01 PERMANENT" {
		t.Errorf("the neighbour is %s", got)
	}
	if got := run(t, "sysctl", "-n", "net.ipv4.conf.ovl-underlay.rp_filter"); got != "0" {
		t.Errorf("rp_filter is %s where no source is looked at", got)
	}
	moved := edge()
	moved.Passed[0].VTEP = ip("192.168.5.12")
	ensureNative(t, moved, true)
	mustBeNative(t, strings.Replace(edgeAsMeant, "1.22.4.5 via 192.168.5.11", "1.22.4.5 via 192.168.5.12", 1))
}

func TestNotAdjacent(t *testing.T) {
	onUnderlay(t, aPort+wire("ovl-e-1")+wire("ovl-e-2")+wire("ovl-underlay"))
	ensure(t, way(), true)
	n := host()
	n.Edges[0].VTEP = ip("192.168.9.21")
	c, err := EnsureNative(n)
	var far NotAdjacent
	if !errors.As(err, &far) || far.To != "edge1" || !slices.Equal(c.Edges, []string{"edge2"}) {
		t.Errorf("%v; led to %v", err, c.Edges)
	}
	want := "public traffic over the underlay: host host1 cannot send to edge edge1: its address 192.168.9.21 is not on the network of eth0; put both on one network, or give"
	if err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Error(err)
	}
	if got := native(t); !strings.Contains(got, "iif ovl-e-1 lookup 13264") || !strings.Contains(got, " unreachable default proto 79\n") {
		t.Errorf("there is\n%s", got)
	}
	e := edge()
	e.Passed = append(e.Passed, Passed{Address: ip("1.22.4.9"), Host: "host9", VTEP: ip("192.168.9.12")}, Passed{Address: ip("1.22.4.10"), Host: "host9", VTEP: ip("192.168.9.12")})
	c, err = EnsureNative(e)
	want = "public traffic over the underlay: edge edge1 cannot send public address 1.22.4.9 unchanged to host host9: its address 192.168.9.12 is not on the network of eth0; give host host9 a natPrefix"
	if !c.Passage || err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "1.22.4.10") {
		t.Errorf("%v; a passage: %t", err, c.Passage)
	}
	if got := native(t); !strings.Contains(got, "unreachable 1.22.4.10 proto 79") || strings.Contains(got, "10.200.9.7") {
		t.Errorf("there is\n%s", got)
	}
}

func TestNativeErrorsSayWhatToDo(t *testing.T) {
	inNamespace(t, wire("eth0")+`ip link set eth0 up
ip address add 192.168.5.2/24 dev eth0
sysctl -qw net.ipv4.conf.all.rp_filter=2
`)
	for want, change := range map[string]func(*Native){
		"this host has no default route":                         func(*Native) {},
		"no interface of this host has its address 192.168.5.99": func(n *Native) { n.VTEP = ip("192.168.5.99") },
		"natRange": func(n *Native) { n.Range = netip.Prefix{} },
	} {
		n := host()
		change(&n)
		if _, err := EnsureNative(n); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
	}
	runAll(t, "ip route add default via 192.168.5.1\n")
	c, err := EnsureNative(host())
	if err == nil || !strings.Contains(err.Error(), "edge edge2 by ovl-e-2: there is no such interface") || c.Edges != nil {
		t.Errorf("%v; led to %v", err, c.Edges)
	}
}

func TestManyPassed(t *testing.T) {
	onUnderlay(t, wire("ovl-underlay"))
	n := edge()
	n.Passed = nil
	for i := range 10000 {
		n.Passed = append(n.Passed, Passed{Address: netip.AddrFrom4([4]byte{1, 22, byte(i >> 8), byte(i)}), Host: "host1", VTEP: netip.AddrFrom4([4]byte{192, 168, 5, byte(10 + i%200)})})
	}
	start := time.Now()
	ensureNative(t, n, true)
	first := time.Since(start)
	start = time.Now()
	ensureNative(t, n, false)
	again := time.Since(start)
	if got := strings.Count(run(t, "ip", "route", "show", "table", "1325400065"), "via"); got != 10000 {
		t.Errorf("there are %d routes", got)
	}
	n.Passed = n.Passed[1:]
	start = time.Now()
	ensureNative(t, n, true)
	t.Logf("10000 routes: %v, unchanged %v, one less %v", first, again, time.Since(start))
}
