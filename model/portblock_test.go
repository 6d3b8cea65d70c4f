package model

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

// leasing is a network of so many hosts whose first VPC translates in the central design.
func leasing(hosts, size int, cidr string) Request {
	r := network(100*hosts - 1)
	r.Put = append(r.Put, Object{Kind: "PublicPool", Name: "world", Spec: &PublicPoolSpec{CIDRs: []netip.Prefix{netip.MustParsePrefix(cidr)}}},
		Object{Kind: "InternetGateway", Name: "vpc0", Spec: &InternetGatewaySpec{Design: Central, SNAT: true, PortsPerHost: size}},
		Object{Kind: "Host", Name: "gateway", Spec: &HostSpec{Address: netip.MustParseAddr("192.0.2.1"), Roles: []string{RoleGateway},
			Outside: &HostOutside{Interface: "eth1", Address: netip.MustParsePrefix("198.51.100.2/24"), Router: netip.MustParseAddr("198.51.100.1")}}},
		Object{Kind: "VPC", Name: "other", Spec: &VPCSpec{}}, Object{Kind: "Subnet", Name: "other/net", Spec: &SubnetSpec{CIDR: netip.MustParsePrefix("10.0.0.0/16")}},
		Object{Kind: "InternetGateway", Name: "other", Spec: &InternetGatewaySpec{Design: Central, SNAT: true, PortsPerHost: size}})
	return r
}

func plugOther(host string) Request {
	return Request{Put: []Object{{Kind: "Endpoint", Name: "other/net/e", Spec: &EndpointSpec{Host: host, Attachment: &Attachment{}}}}}
}

func admitOn(tb testing.TB, state *State, r Request) *State {
	tb.Helper()
	changes, err := Admit(state, r)
	if err != nil {
		tb.Fatal(err)
	}
	return commit(state, changes)
}

// A released block rests: the others of the address have their turn, and no other address is taken while one with
// blocks has room.
func TestReleasedBlockRests(t *testing.T) {
	state := stateOf(t, leasing(1, 8192, "203.0.113.0/30"))
	want := []string{"203.0.113.0:16384", "203.0.113.0:24576", "203.0.113.0:32768", "203.0.113.0:40960", "203.0.113.0:49152", "203.0.113.0:57344", "203.0.113.0:16384"}
	for _, want := range want {
		state = admitOn(t, state, plugOther("host0"))
		spec := state.PortBlock("other/host0")
		if got := fmt.Sprintf("%s:%d", spec.Address, spec.First); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		state = admitOn(t, state, plugOther(""))
	}
	if state.Len("PortBlock") != 1 {
		t.Errorf("there are %d blocks left, want 1", state.Len("PortBlock"))
	}
}

// A block that is alone on its address comes back on it, with other ports, as long as nobody else has it.
func TestLoneBlockKeepsItsAddress(t *testing.T) {
	r := leasing(1, 32768, "203.0.113.0/30")
	state := admitOn(t, stateOf(t, r), Request{Delete: []Key{{"InternetGateway", "vpc0"}}})
	for i, want := range []string{"203.0.113.0", "203.0.113.0", "203.0.113.0", "203.0.113.2"} {
		if i == 3 {
			state = admitOn(t, state, Request{Put: []Object{{Kind: "PublicIP", Name: "other/a", Spec: &PublicIPSpec{}}, {Kind: "PublicIP", Name: "other/b", Spec: &PublicIPSpec{Address: netip.MustParseAddr("203.0.113.0")}}}})
		}
		state = admitOn(t, state, plugOther("host0"))
		if got := state.PortBlock("other/host0").Address.String(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		state = admitOn(t, state, plugOther(""))
	}
}

// Who has no block is named, and a block is for those that wait, however they come to be free.
func TestWaitingForPorts(t *testing.T) {
	state := stateOf(t, leasing(3, 32768, "203.0.113.0/32"))
	reason := func() string {
		status := Summarise(state, Key{"InternetGateway", "vpc0"}, Measured{}).(*InternetGatewayStatus)
		return fmt.Sprintf("%d addresses, %d blocks: %s", status.SNATAddresses, status.PortBlocks, status.Reason)
	}
	if got, want := reason(), "1 addresses, 1 blocks: no ports left in PublicPool world for 2 hosts: host1, host2"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	var gone Request
	for o := range state.EndpointsOnOf("host0", "vpc0") {
		gone.Delete = append(gone.Delete, o.Key())
	}
	changes, err := Admit(state, gone)
	if err != nil {
		t.Fatal(err)
	}
	if got := describe(changes); !strings.HasPrefix(got, "create PortBlock vpc0/host1 ") || !strings.Contains(got, "\ndelete PortBlock vpc0/host0\n") {
		t.Errorf("got %s", got)
	}
	for _, c := range changes {
		if c.Derived != (c.Key().Kind == "PortBlock") {
			t.Errorf("%s %s: derived is %t", c.Action, c.Key(), c.Derived)
		}
	}
	state = commit(state, changes)
	if got, want := reason(), "1 addresses, 1 blocks: no ports left in PublicPool world for 1 host: host2"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	pool := Summarise(state, Key{"PublicPool", "world"}, Measured{}).(*PublicPoolStatus)
	if *pool != (PublicPoolStatus{Size: 1, Used: 1, SNAT: 1}) {
		t.Errorf("the pool has %+v", pool)
	}
	if got := Summarise(state, Key{"PortBlock", "vpc0/host1"}, Measured{}).(*PortBlockStatus).Endpoints; got != state.CountOnOf("host1", "vpc0") || got == 0 {
		t.Errorf("%d endpoints share a block", got)
	}
}

// More addresses of a pool are for those that wait, and one that was released may be claimed in the same request.
func TestPoolOfBlocksChanges(t *testing.T) {
	state := stateOf(t, leasing(3, 32768, "203.0.113.0/32"))
	state = admitOn(t, state, Request{Put: []Object{{Kind: "PublicPool", Name: "world", Spec: &PublicPoolSpec{CIDRs: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/31")}}}}})
	if got := state.Len("PortBlock"); got != 2 {
		t.Errorf("there are %d blocks, want 2", got)
	}
	address := netip.MustParseAddr("203.0.113.1")
	state = admitOn(t, state, Request{Put: []Object{{Kind: "InternetGateway", Name: "vpc0", Spec: &InternetGatewaySpec{}}, {Kind: "PublicIP", Name: "vpc0/a", Spec: &PublicIPSpec{Address: address}}}})
	if got := state.PublicIPAt(address); got == nil || got.Name != "vpc0/a" || state.Len("PortBlock") != 0 {
		t.Errorf("%s has %v, beside %d blocks", address, got, state.Len("PortBlock"))
	}
}

// A server that starts anew goes on where the block is that was given last.
func TestBlockCursor(t *testing.T) {
	pool := Object{Kind: "PublicPool", Name: "p", Spec: &PublicPoolSpec{CIDRs: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}}}
	base := stateOf(t, Request{Put: []Object{pool}})
	block := func(host string, last byte, first uint16, revision int64) *Object {
		return &Object{Kind: "PortBlock", Name: "v/" + host, Revision: revision, Spec: &PortBlockSpec{Pool: "p", Address: netip.AddrFrom4([4]byte{203, 0, 113, last}), First: first, Last: first + 1023}}
	}
	for want, given := range map[string][]*Object{
		"203.0.113.0:1024":  {},
		"203.0.113.7:6144":  {block("a", 7, 2048, 2), block("b", 7, 5120, 2), block("c", 3, 1024, 1)},
		"203.0.113.3:2048":  {block("a", 7, 2048, 1), block("c", 3, 1024, 2)},
		"203.0.113.7:1024":  {block("a", 7, 2048, 1), block("c", 3, 64512, 2)},
		"203.0.113.3:16384": {block("a", 3, 15360, 4)},
	} {
		for turn := range len(given) + 1 {
			state := base
			for i := range given {
				o := given[(i+turn)%len(given)]
				state = state.With(9, []Change{ChangeTo(o.Key(), o)})
			}
			spec, ok := state.draft().freeBlock("p", 1024)
			if got := fmt.Sprintf("%s:%d", spec.Address, spec.First); got != want || !ok {
				t.Errorf("got %s (%t), want %s", got, ok, want)
			}
		}
	}
}

// Counted instead of timed: a block costs the same however many there are, and however many wait.
func TestCostOfABlock(t *testing.T) {
	cost := func(hosts int, cidr string) float64 {
		state := stateOf(t, leasing(hosts, 1024, cidr))
		return testing.AllocsPerRun(10, func() {
			plugged := admitOn(t, state, plugOther("host0"))
			admitOn(t, plugged, plugOther(""))
		})
	}
	few, many, none := cost(3, "203.0.113.0/24"), cost(401, "203.0.113.0/24"), cost(401, "203.0.113.0/32")
	if many > 2*few || none > 2*few {
		t.Errorf("a block takes %v allocations among 3, %v among 401, and %v where none is left", few, many, none)
	}
}
