package hostnet

import (
	"context"
	"errors"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "rewrite golden files")

func mustSet(t testing.TB, k *Kernel, c Config, wantChanged bool) State {
	t.Helper()
	s, err := k.Set(t.Context(), c)
	if err := errors.Join(err, s.Err(TunnelGuard), s.Err(Exit), s.Err(Direct)); err != nil || s.Changed != wantChanged {
		t.Errorf("changed: %t, want %t; %v", s.Changed, wantChanged, err)
	}
	return s
}

// dockerFilters has iptables drop what is forwarded, as Docker does.
const dockerFilters = `iptables -P FORWARD DROP
iptables -N DOCKER-USER
iptables -A FORWARD -j DOCKER-USER
`

// machines are hosts, and what becomes of them is in the golden file of their name.
var machines = map[string]struct {
	lines  string
	config func() Config
}{
	"guard": {"", func() Config {
		c := guardConfig("192.168.5.3", "192.168.5.4")
		c.Inbound = true
		return c
	}},
	"snat": {snatWire + looksAtSources, func() Config {
		c := snatConfig()
		c.ForwardsAll, c.Inbound, c.SNAT.Copied = false, true, "nic"
		return c
	}},
	"direct":      {snatWire + edgeWires + looksAtSources + dockerFilters, directConfig},
	"edge":        {underlayWire + looksAtSources, edgeConfig},
	"edge-docker": {underlayWire + dockerFilters, edgeConfig},
	"own-edge": {snatWire + edgeWires + underlayWire + looksAtSources + dockerFilters, func() Config {
		c := snatConfig()
		edge := edgeConfig().Direct
		c.ForwardsAll, c.Direct = false, directConfig().Direct
		c.Direct.IsEdge, c.Direct.Remote = true, edge.Remote
		return c
	}},
}

// The state of a machine before and after, as text. Done again nothing changes, and afterwards all is as it was.
func TestMachineBecomesAsMeant(t *testing.T) {
	for name, m := range machines {
		t.Run(name, func(t *testing.T) {
			onUnderlay(t, m.lines)
			before := inspect(t)
			k := New(nil)
			mustSet(t, k, m.config(), true)
			after := inspect(t)
			golden(t, name, before.String(), after.String())
			mustSet(t, k, m.config(), false)
			mustSet(t, New(nil), m.config(), true) // another process makes the table anew
			if got := inspect(t); got.String() != after.String() {
				t.Errorf("set by another process it is\n%s\nwant\n%s", got, after)
			}
			if err := k.Cleanup(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := inspect(t); ofNoPort(got) != ofNoPort(before) {
				t.Errorf("cleaned up it is\n%s\nwant\n%s", got, before)
			}
			if got := run(t, "ip", "route", "show", "default"); !strings.Contains(got, "default via 192.168.5.1") {
				t.Errorf("the host's own routes are\n%s", got)
			}
		})
	}
}

func golden(t *testing.T, name, before, after string) {
	t.Helper()
	path := filepath.Join("testdata", name+".txtar")
	got := txtar.Format(&txtar.Archive{Files: []txtar.File{{Name: "before", Data: []byte(before)}, {Name: "after", Data: []byte(after)}}})
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("%s differs (-update rewrites it): the machine is\n%s\nwant\n%s", path, got, want)
	}
}

// ofNoPort leaves out the switch's ports, which keep what they have until the switch removes them, and sysctls.
func ofNoPort(s Snapshot) string {
	s.Ports, s.Sysctls = nil, nil
	return s.String()
}

// Whatever Config there was before, the kernel becomes what the next one says.
func TestFromAnyToAny(t *testing.T) {
	lines := snatWire + edgeWires + underlayWire + looksAtSources + dockerFilters
	for name, m := range machines {
		onUnderlay(t, lines)
		mustSet(t, New(nil), m.config(), true)
		want := inspect(t)
		for before, b := range machines {
			onUnderlay(t, lines)
			k := New(nil)
			mustSet(t, k, b.config(), true)
			mustSet(t, k, m.config(), !reflect.DeepEqual(b.config(), m.config()))
			if got := inspect(t); ofNoPort(got) != ofNoPort(want) {
				t.Errorf("from %s to %s: it is\n%s\nwant\n%s", before, name, got, want)
			}
		}
	}
}

func TestHarmIsMended(t *testing.T) {
	for name, harms := range map[string][]string{
		"snat": {
			"nft delete table ip overlane",
			"nft flush chain ip overlane forward",
			"nft add element ip overlane peers { 9.9.9.9 }",
			"ip link set ovl-outside down",
			"ip address flush dev ovl-outside",
			"ip address add 10.1.1.1/24 dev ovl-outside",
			"ip neigh del 100.64.0.1 dev ovl-outside",
			"ip neigh replace 100.64.0.1 lladdr 02:00:00:00:00:99 nud permanent dev ovl-outside",
			"ip route flush dev ovl-outside",
			"ip route replace 100.64.0.0/10 dev ovl-outside",
			"sysctl -qw net.ipv4.ip_forward=1 net.ipv4.ip_forward=0",
		},
		"direct": {
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
			"iptables -F DOCKER-USER",
			"iptables -F OVERLANE",
		},
	} {
		onUnderlay(t, machines[name].lines)
		k, c := New(nil), machines[name].config()
		mustSet(t, k, c, true)
		want := inspect(t)
		for _, harm := range harms {
			runAll(t, harm)
			s := mustSet(t, k, c, true)
			if s.Tampered != strings.HasPrefix(harm, "nft ") {
				t.Errorf("after %q the table was tampered with: %t", harm, s.Tampered)
			}
			if got := inspect(t); got.String() != want.String() {
				t.Errorf("after %q it is\n%s\nwant\n%s", harm, got, want)
			}
			mustSet(t, k, c, false)
		}
		if got := run(t, "ip", "route", "show", "table", "all"); strings.Contains(got, "1326500000") {
			t.Errorf("a table without a rule is left: %s", got)
		}
	}
}

func TestStateSaysWhereFlowsMayLead(t *testing.T) {
	onUnderlay(t, snatWire+edgeWires+underlayWire)
	k := New(nil)
	for _, step := range []struct {
		c    Config
		want State
	}{
		{guardConfig(), State{}},
		{snatConfig(), State{SNATPort: true, Opened: []string{"eth0"}}},
		{directConfig(), State{SNATPort: true, Edges: []string{"edge1", "edge2"}, Opened: []string{"eth0"}}},
		{edgeConfig(), State{UnderlayPort: true, Opened: []string{"eth0"}}},
		{guardConfig(), State{}},
	} {
		got := mustSet(t, k, step.c, true)
		if got.SNATPort != step.want.SNATPort || got.UnderlayPort != step.want.UnderlayPort || !slices.Equal(got.Edges, step.want.Edges) || !slices.Equal(got.Opened, step.want.Opened) {
			t.Errorf("got %+v, want %+v", got, step.want)
		}
	}
	if got := run(t, "sysctl", "-n", "net.ipv4.conf.eth0.forwarding"); got != "0" {
		t.Errorf("eth0 still forwards: %s", got)
	}
}

// A part that cannot be set is left as it was, while the others follow.
func TestWhatCannotBeSetStays(t *testing.T) {
	onUnderlay(t, snatWire+edgeWires+underlayWire)
	host := func() Config {
		c := directConfig()
		c.SNAT.Masquerade, c.SNAT.Exits = true, []string{"eth0"}
		return c
	}
	k := New(nil)
	mustSet(t, k, host(), true)
	runAll(t, "ip address add 100.101.102.103/32 dev eth0\n")
	c := host()
	c.SNAT.Exits, c.Peers, c.Direct.Underlay, c.Direct.Hosted = []string{"eth1"}, c.Peers[1:], "", c.Direct.Hosted[1:]
	s, err := k.Set(t.Context(), c)
	if err != nil || !s.SNATPort || len(s.Edges) != 2 || s.Err(TunnelGuard) != nil {
		t.Errorf("%+v, %v", s, err)
	}
	for part, want := range map[Part]string{Exit: "eth0 has the address 100.101.102.103/32", Direct: "no interface of this host has its address 192.168.5.2"} {
		if err := s.Err(part); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", part, err)
		}
	}
	got := inspect(t).String()
	for _, want := range []string{"set exits: eth0\n", "set closed: eth0\n", "set peers: 192.168.5.22\n", "set hosted: 10.200.1.7\n", "iifname == eth0; destination in @hosted", "hosted: 1.22.4.5/32 via"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in\n%s", want, got)
		}
	}
	fresh := New(nil)
	if s, err := fresh.Set(t.Context(), c); err != nil || s.SNATPort || s.Edges != nil || s.Err(TunnelGuard) != nil {
		t.Errorf("at first, %+v, %v", s, err)
	}
	if got := inspect(t).String(); strings.Contains(got, "ovl-outside == ") || strings.Contains(got, "set exits") {
		t.Errorf("unguarded ways are open:\n%s", got)
	}
}

func TestAnotherRange(t *testing.T) {
	onUnderlay(t, snatWire)
	k := New(nil)
	for _, r := range []string{"100.64.0.0/10", "100.64.0.0/16", "10.200.0.0/16"} {
		c := snatConfig()
		c.Range, c.SNAT.Allow = netip.MustParsePrefix(r), nil
		mustSet(t, k, c, true)
		own, gateway := c.Range.Addr().String(), c.Range.Addr().Next().String()
		want := "# ports\novl-outside up\n  address " + own + "/32 scope link\n  neighbour " + gateway + " is 02:4f:56:00:00:01\n"
		route := "main: " + r + " via " + gateway + " dev ovl-outside src " + own + "\n"
		if got := inspect(t).String(); !strings.Contains(got, want) || !strings.Contains(got, route) {
			t.Errorf("it is\n%s\nwant\n%s%s", got, want, route)
		}
	}
}

func TestNotAdjacent(t *testing.T) {
	onUnderlay(t, snatWire+edgeWires+underlayWire)
	c := directConfig()
	c.Direct.Edges[0].VTEP, c.Direct.Edges[0].Adjacent = ip("192.168.9.21"), false
	s, err := New(nil).Set(t.Context(), c)
	var far NotAdjacent
	if err != nil || !errors.As(s.Err(Direct), &far) || far.To != "edge1" || !slices.Equal(s.Edges, []string{"edge2"}) {
		t.Errorf("%v, %+v", err, s)
	}
	want := "public traffic over the underlay: host host1 cannot send to edge edge1: its address 192.168.9.21 is not on the network of eth0; put both on one network, or give"
	if err := s.Err(Direct); err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Error(err)
	}
	if got := inspect(t).String(); !strings.Contains(got, "edge ovl-e-1: 0.0.0.0/0 unreachable\n") {
		t.Errorf("it is\n%s", got)
	}
	e := edgeConfig()
	e.Direct.Remote = append(e.Direct.Remote, Remote{Address: ip("1.22.4.9"), Host: "host9", VTEP: ip("192.168.9.12")}, Remote{Address: ip("1.22.4.10"), Host: "host9", VTEP: ip("192.168.9.12")})
	s, err = New(nil).Set(t.Context(), e)
	want = "public traffic over the underlay: edge edge1 cannot send public address 1.22.4.9 unchanged to host host9: its address 192.168.9.12 is not on the network of eth0; give host host9 a natPrefix"
	if told := s.Err(Direct); !s.UnderlayPort || err != nil || told == nil || !strings.HasPrefix(told.Error(), want) || strings.Contains(told.Error(), "1.22.4.10") {
		t.Errorf("%v, %+v", err, s)
	}
	if got := inspect(t).String(); !strings.Contains(got, "remote: 1.22.4.10/32 unreachable") || strings.Contains(got, "10.200.9.7/32") {
		t.Errorf("it is\n%s", got)
	}
}

func TestConditionsSayWhatToDo(t *testing.T) {
	for want, m := range map[string]struct {
		lines  string
		part   Part
		config func() Config
	}{
		"the path to the outside by ovl-outside: there is no such interface": {"", Exit, snatConfig},
		"policy routing": {snatWire + wire("tun0") + `ip link set tun0 up
ip route add default dev tun0 table 77
ip rule add to all lookup 77 priority 100
`, Exit, snatConfig},
		"this host has no default route, and so no way to the outside itself": {snatWire, Exit, func() Config {
			c := snatConfig()
			c.SNAT.Exits = nil
			return c
		}},
		"eth0 has a route to 100.64.0.0/10":                        {snatWire + "ip route add 100.64.0.0/10 dev eth0\n", Exit, snatConfig},
		"edge edge2 by ovl-e-2: there is no such interface":        {snatWire + wire("ovl-e-1"), Direct, directConfig},
		"this host has no default route, so that rp_filter drops":  {"ip route del default\nsysctl -qw net.ipv4.conf.all.rp_filter=2\n", Direct, edgeConfig},
		"the edge's port ovl-underlay: there is no such interface": {"", Direct, edgeConfig},
	} {
		onUnderlay(t, m.lines)
		s, err := New(nil).Set(t.Context(), m.config())
		if told := s.Err(m.part); err != nil || told == nil || !strings.Contains(told.Error(), want) {
			t.Errorf("want %q: %v, %v", want, err, told)
		}
	}
}

// A Config that no kernel could follow changes nothing.
func TestConfigIsChecked(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"range":     func(c *Config) { c.Range = netip.MustParsePrefix("100.64.0.1/10") },
		"no range":  func(c *Config) { c.Range = netip.Prefix{} },
		"no room":   func(c *Config) { c.Range = netip.MustParsePrefix("100.64.0.0/30") },
		"peer":      func(c *Config) { c.Peers = []netip.Addr{netip.IPv6Loopback()} },
		"exit":      func(c *Config) { c.SNAT.Exits = []string{"a-name-of-16-bytes"} },
		"copied":    func(c *Config) { c.SNAT.Copied = "a-name-of-16-bytes" },
		"reserved":  func(c *Config) { c.SNAT.Reserved = []netip.Addr{netip.IPv6Loopback()} },
		"allowance": func(c *Config) { c.SNAT.Allow = make([]Allowance, 1) },
		"underlay":  func(c *Config) { c.Direct.Underlay = "a-name-of-16-bytes" },
		"port":      func(c *Config) { c.Direct.Edges[0].Port = "" },
		"hosted":    func(c *Config) { c.Direct.Hosted = []netip.Addr{netip.IPv6Loopback()} },
		"remote":    func(c *Config) { c.Direct.Remote = make([]Remote, 1) },
	} {
		c := snatConfig()
		c.Direct = directConfig().Direct
		if err := c.check(); err != nil {
			t.Fatal(err)
		}
		change(&c)
		if _, err := New(nil).Set(t.Context(), c); err == nil || !strings.HasPrefix(err.Error(), "the host's kernel cannot be so: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func BenchmarkNothingToDo(b *testing.B) {
	onUnderlay(b, snatWire)
	k := New(nil)
	for b.Loop() {
		if _, err := k.Set(b.Context(), snatConfig()); err != nil {
			b.Fatal(err)
		}
	}
}

// What could not be removed is removed by the next call.
func TestRemovesInTheEnd(t *testing.T) {
	onUnderlay(t, snatWire+edgeWires+looksAtSources+dockerFilters)
	before := inspect(t)
	k := New(nil)
	mustSet(t, k, directConfig(), true)
	ended, end := context.WithCancel(t.Context())
	end()
	if s, err := k.Set(ended, guardConfig()); err != nil || s.Err(Exit) == nil {
		t.Errorf("Docker's chain was changed without iptables: %v, %v", s.Err(Exit), err)
	}
	if got := inspect(t); slices.Equal(got.Docker, before.Docker) {
		t.Fatalf("nothing is left to remove: %s", got)
	}
	if s, err := k.Set(t.Context(), guardConfig()); errors.Join(err, s.Err(Exit), s.Err(Direct)) != nil {
		t.Error(errors.Join(err, s.Err(Exit), s.Err(Direct)))
	}
	if got := inspect(t); !slices.Equal(got.Docker, before.Docker) {
		t.Errorf("Docker's chain has\n%s\nwant\n%s", got.Docker, before.Docker)
	}
}
