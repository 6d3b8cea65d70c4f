package hostnet

import (
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestLook(t *testing.T) {
	onUnderlay(t, wire("eth1")+wire("wg0")+wire("eth0.100")+`ip link set eth1 up
ip link set wg0 up
ip link set eth0.100 up
ip address add 192.168.6.2/24 dev eth1
ip route del default
`)
	c := directConfig()
	c.SNAT.Masquerade, c.Direct.IsEdge, c.Direct.Remote = true, true, []Remote{
		{VTEP: ip("192.168.5.11")}, {VTEP: ip("192.168.6.12")}, {VTEP: ip("192.168.9.13")}, {VTEP: ip("203.0.113.1")},
	}
	if f, err := Look(c); err != nil || f.Exits != nil || f.Underlay != "eth0" || f.ForwardsAll {
		t.Errorf("without a default route: %+v, %v", f, err)
	}
	runAll(t, `ip route add default nexthop via 192.168.6.1 nexthop via 192.168.5.1
ip route add default dev eth0.100 metric 100
ip route add default via 192.168.5.1 metric 200
ip route add unreachable default metric 4000
ip route add 192.168.9.0/24 via 192.168.5.1
ip route add 10.0.0.0/8 dev wg0
ip route add default dev wg0 table 77
sysctl -qw net.ipv4.ip_forward=1
`)
	f, err := Look(c)
	if err != nil || !slices.Equal(f.Exits, []string{"eth0", "eth0.100", "eth1"}) || f.Underlay != "eth0" || !f.ForwardsAll {
		t.Errorf("%+v, %v", f, err)
	}
	if want := map[netip.Addr]bool{
		ip("192.168.5.11"): true, ip("192.168.5.21"): true, ip("192.168.5.22"): true,
		ip("192.168.6.12"): false, ip("192.168.9.13"): false, ip("203.0.113.1"): false,
	}; !maps.Equal(f.Adjacent, want) {
		t.Errorf("adjacent are %v, want %v", f.Adjacent, want)
	}
	if f, err := Look(guardConfig()); err != nil || f.Exits != nil || f.Underlay != "" || f.Adjacent != nil {
		t.Errorf("what no Config needs is looked for: %+v, %v", f, err)
	}
	c.Direct.VTEP = ip("192.168.5.99")
	if f, err := Look(c); err != nil || f.Underlay != "" {
		t.Errorf("no interface has that address: %+v, %v", f, err)
	}
}

func TestConfigWithFacts(t *testing.T) {
	c := snatConfig()
	c.ForwardsAll, c.SNAT.Exits = false, nil
	c.Direct = directConfig().Direct
	c.Direct.Underlay, c.Direct.Edges[0].Adjacent, c.Direct.Edges[1].Adjacent = "", false, false
	c.Direct.Remote = []Remote{{VTEP: ip("192.168.5.11")}}
	got := c.With(Facts{ForwardsAll: true, Exits: []string{"eth1"}, Underlay: "eth2", Adjacent: map[netip.Addr]bool{ip("192.168.5.11"): true, ip("192.168.5.22"): true}})
	if !got.ForwardsAll || !slices.Equal(got.SNAT.Exits, []string{"eth1"}) || got.Direct.Underlay != "eth2" {
		t.Errorf("got %+v", got)
	}
	if e := got.Direct.Edges; e[0].Adjacent || !e[1].Adjacent || !got.Direct.Remote[0].Adjacent {
		t.Errorf("got %+v", got.Direct)
	}
	if c.SNAT.Exits != nil || c.Direct.Underlay != "" || c.Direct.Edges[1].Adjacent || c.Direct.Remote[0].Adjacent {
		t.Error("the Config without facts has some")
	}
}

func TestForwarding(t *testing.T) {
	inNamespace(t, wire("eth0")+wire("eth1")+wire("eth0.100"))
	forwards := func(name string) string {
		return run(t, "sysctl", "-n", "net.ipv4.conf."+strings.ReplaceAll(name, ".", "/")+".forwarding")
	}
	all := []string{"eth0", "eth0.100", "eth1", "gone"}
	open := func(wantChanged ...string) {
		t.Helper()
		var opened []string
		for _, name := range all {
			changed, err := openForwarding(name)
			if err = errors.Join(err, mayForward(name)); err != nil {
				t.Error(err)
			}
			if changed {
				opened = append(opened, name)
			}
		}
		if !slices.Equal(opened, wantChanged) {
			t.Errorf("opened %v, want %v", opened, wantChanged)
		}
	}
	open("eth0", "eth0.100", "eth1")
	open()
	if err := errors.Join(closeForwarding("eth0"), closeForwarding("gone")); err != nil {
		t.Error(err)
	}
	for name, want := range map[string]string{"eth0": "0", "eth1": "1", "eth0.100": "1"} {
		if got := forwards(name); got != want {
			t.Errorf("forwarding of %s is %s, want %s", name, got, want)
		}
	}
	runAll(t, "sysctl -qw net.ipv4.ip_forward=1\nsysctl -qw net.ipv4.conf.eth1.forwarding=0\n")
	open("eth1") // of a host that forwards
	if err := closeForwarding("eth1"); err != nil || forwards("eth1") != "1" {
		t.Errorf("forwarding of eth1 is %s; %v", forwards("eth1"), err)
	}
}

func TestManyRoutes(t *testing.T) {
	onUnderlay(t, underlayWire)
	c := edgeConfig()
	c.Direct.Remote = nil
	for i := range 10000 {
		vtep := netip.AddrFrom4([4]byte{192, 168, 5, byte(10 + i%200)})
		c.Direct.Remote = append(c.Direct.Remote, Remote{Address: netip.AddrFrom4([4]byte{1, 22, byte(i >> 8), byte(i)}), Host: "host1", VTEP: vtep, Adjacent: true})
	}
	k := New(nil)
	var took []time.Duration
	for _, less := range []int{0, 0, 1} {
		c.Direct.Remote = c.Direct.Remote[less:]
		start := time.Now()
		mustSet(t, k, c, len(took) != 1)
		took = append(took, time.Since(start))
	}
	t.Logf("10000 routes, unchanged, one less: %v", took)
	if got := strings.Count(run(t, "ip", "route", "show", "table", "1325400065"), "via"); got != 9999 {
		t.Errorf("there are %d routes", got)
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
	want := []netip.Addr{ip("10.1.1.1"), ip("10.1.1.2"), ip("192.168.5.2")}
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestRangeConflict(t *testing.T) {
	inNamespace(t, snatWire+wire("eth0")+`ip link set eth0 up
ip address add 192.168.5.2/24 dev eth0
ip route add default via 192.168.5.1
ip route add 100.0.0.0/8 via 192.168.5.1
`)
	r := guardConfig().Range
	if _, err := setSNATPort(r, guardConfig().MAC); err != nil {
		t.Fatal(err)
	}
	if err := rangeConflict(r); err != nil {
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
		if err := rangeConflict(r); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("after %s: %v", c.do, err)
		}
		run(t, strings.Fields(c.undo)...)
	}
	if err := removeSNATPort(); err != nil {
		t.Fatal(err)
	}
	runAll(t, "ip route add 100.64.0.0/10 dev eth0\n")
	if _, err := setSNATPort(r, guardConfig().MAC); err == nil || !strings.Contains(err.Error(), "eth0 has a route to 100.64.0.0/10") {
		t.Error(err)
	}
	if got := run(t, "ip", "route", "show", "100.64.0.0/10"); !strings.Contains(got, "eth0") {
		t.Errorf("the route of another has become %s", got)
	}
}
