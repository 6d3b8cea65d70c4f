package model

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"testing"
)

// What a public IP waits for is told in the order of a packet's way.
func TestPublicIPStatus(t *testing.T) {
	const host, edge, public = "{kind: Host, name: h1, spec: {address: 192.0.2.1, natPrefix: 10.200.0.0/32}}", "{kind: Host, name: e1, spec: {address: 192.0.2.2, roles: [edge], outside: {interface: eth1, address: 198.51.100.2/24, router: 198.51.100.1}}}", "{kind: PublicIP, name: v/i, spec: {endpoint: v/s/e}}"
	ready := &EndpointStatus{State: Ready}
	for _, c := range []struct {
		put      []string
		endpoint *EndpointStatus
		edge     *HostStatus
		want     PublicIPStatus
	}{
		{put: []string{"{kind: PublicIP, name: v/i}"}, want: PublicIPStatus{State: PublicReserved, Reason: "no endpoint has it"}},
		{put: []string{"{kind: PublicIP, name: v/i, spec: {endpoint: v/t/x}}"}, want: PublicIPStatus{State: PublicPending, Reason: "Endpoint v/t/x does not exist"}},
		{put: []string{public, "{kind: Endpoint, name: v/s/e}"}, want: PublicIPStatus{State: PublicPending, Reason: "Endpoint v/s/e is not plugged in"}},
		{put: []string{public, "{kind: Endpoint, name: v/s/f, spec: {host: h1}}", "{kind: PublicIP, name: v/a, spec: {endpoint: v/s/f}}", "{kind: Endpoint, name: v/s/e, spec: {host: h1}}"},
			want: PublicIPStatus{State: PublicPending, Host: "h1", Reason: "Host h1 has all of its 1 NAT address in 10.200.0.0/32 taken; give it a larger natPrefix, or release one"}},
		{put: []string{public, "{kind: Endpoint, name: v/s/e, spec: {host: h1}}", "{kind: InternetGateway, name: v, spec: {design: central}}"},
			want: PublicIPStatus{State: PublicPending, Host: "h1", Form: "central: by way of a gateway", Reason: "no host has the role gateway"}},
		{put: []string{public, "{kind: Endpoint, name: v/s/e, spec: {host: h1}}", "{kind: Host, name: e1, spec: {address: 192.0.2.2}}"},
			want: PublicIPStatus{State: PublicPending, Host: "h1", Form: "distributed: natted via 10.200.0.0", Reason: "edge e1 has no outside"}},
		{put: []string{public, "{kind: Endpoint, name: v/s/e, spec: {host: h1}}"},
			want: PublicIPStatus{State: PublicPending, Host: "h1", Form: "distributed: natted via 10.200.0.0", Reason: "no edge leads to it; Host e1 has not reported yet"}},
		{put: []string{public, "{kind: Endpoint, name: v/s/e, spec: {host: h1}}"}, edge: &HostStatus{Reason: "silent since noon"},
			want: PublicIPStatus{State: PublicPending, Host: "h1", Form: "distributed: natted via 10.200.0.0", Reason: "no edge leads to it; Host e1 is not ready: silent since noon"}},
		{put: []string{public, "{kind: Endpoint, name: v/s/e, spec: {host: e1}}"}, edge: &HostStatus{Ready: true, Border: &BorderStatus{Open: true}},
			want: PublicIPStatus{State: PublicPending, Host: "e1", Form: "distributed: unchanged", Reason: "its host has not reported Endpoint v/s/e yet"}},
		{put: []string{public, "{kind: Endpoint, name: v/s/e, spec: {host: e1}}"}, edge: &HostStatus{Ready: true, Border: &BorderStatus{Open: true}}, endpoint: &EndpointStatus{State: Unknown, Reason: "Host e1 is silent"},
			want: PublicIPStatus{State: PublicPending, Host: "e1", Form: "distributed: unchanged", Reason: "Endpoint v/s/e is Unknown: Host e1 is silent"}},
		{put: []string{public, "{kind: Endpoint, name: v/s/e, spec: {host: e1}}"}, edge: &HostStatus{Ready: true, Border: &BorderStatus{Open: true}}, endpoint: ready,
			want: PublicIPStatus{State: PublicReady, Host: "e1", Form: "distributed: unchanged"}},
	} {
		state := NewState()
		for _, yaml := range append([]string{host, edge, "{kind: VPC, name: v}", "{kind: Subnet, name: v/s, spec: {cidr: 10.0.0.0/24}}", "{kind: InternetGateway, name: v}",
			"{kind: PublicPool, name: p, spec: {cidrs: [203.0.113.0/24]}}"}, c.put...) {
			objects, err := DecodeYAML([]byte(yaml), "intent.yaml")
			if err != nil {
				t.Fatal(err)
			}
			changes, err := Admit(state, Request{Put: objects})
			if err != nil {
				t.Fatal(err)
			}
			state = commit(state, changes)
		}
		m := Measured{Endpoint: func(Key) *EndpointStatus { return c.endpoint }, Host: func(string) *HostStatus { return c.edge }}
		if got := Summarise(state, Key{"PublicIP", "v/i"}, m); !reflect.DeepEqual(got, &c.want) {
			t.Errorf("%s:\ngot  %+v\nwant %+v", c.put, got, c.want)
		}
	}
}

// The ends of an upstream network are nobody's, although a pool may have them.
func TestEndsOfTheUpstreamNetwork(t *testing.T) {
	host := &HostSpec{Address: netip.MustParseAddr("192.168.5.2"), Roles: []string{"edge"},
		Outside: &HostOutside{Interface: "eth1", Address: netip.MustParsePrefix("203.0.113.10/28"), Router: netip.MustParseAddr("203.0.113.1")}}
	pool := &PublicPoolSpec{CIDRs: []netip.Prefix{netip.MustParsePrefix("203.0.113.14/31"), netip.MustParsePrefix("203.0.113.16/31")}}
	base := stateOf(t, Request{Put: []Object{{Kind: "Host", Name: "e", Spec: host}, {Kind: "VPC", Name: "v", Spec: &VPCSpec{}}, {Kind: "InternetGateway", Name: "v", Spec: &InternetGatewaySpec{}},
		{Kind: "PublicPool", Name: "p", Spec: pool}}})
	var got []string
	state := base
	for _, name := range []string{"v/a", "v/b", "v/c"} {
		changes, err := Admit(state, Request{Put: []Object{{Kind: "PublicIP", Name: name, Spec: &PublicIPSpec{}}}})
		if err != nil {
			t.Fatal(err)
		}
		state = commit(state, changes)
		got = append(got, state.PublicIP(name).Address.String())
	}
	if want := []string{"203.0.113.14", "203.0.113.16", "203.0.113.17"}; !slices.Equal(got, want) {
		t.Errorf("given are %v, want %v", got, want)
	}
	for _, more := range []PublicIPSpec{{}, {Address: netip.MustParseAddr("203.0.113.15")}} {
		if _, err := Admit(state, Request{Put: []Object{{Kind: "PublicIP", Name: "v/d", Spec: &more}}}); err == nil {
			t.Errorf("%+v is admitted", more)
		}
	}
}

// A server that starts anew gives the next address of a pool like one that saw them all given, and goes on to the next
// CIDR.
func TestPoolCursor(t *testing.T) {
	pool := &PublicPoolSpec{CIDRs: []netip.Prefix{netip.MustParsePrefix("203.0.113.8/30"), netip.MustParsePrefix("198.51.100.0/31"), netip.MustParsePrefix("203.0.113.0/31")}}
	base := stateOf(t, Request{Put: []Object{{Kind: "VPC", Name: "v", Spec: &VPCSpec{}}, {Kind: "InternetGateway", Name: "v", Spec: &InternetGatewaySpec{}}, {Kind: "PublicPool", Name: "p", Spec: pool}}})
	public := func(address string, revision int64) *Object {
		return &Object{Kind: "PublicIP", Name: "v/" + address, Revision: revision, Spec: &PublicIPSpec{Pool: "p", Address: netip.MustParseAddr(address)}}
	}
	for want, given := range map[string][]*Object{
		"203.0.113.8":  {},
		"203.0.113.11": {public("203.0.113.10", 5), public("203.0.113.8", 4)},
		"198.51.100.0": {public("203.0.113.8", 4), public("203.0.113.11", 5)},
		"203.0.113.0":  {public("198.51.100.1", 5), public("203.0.113.8", 4)},
		"203.0.113.9":  {public("203.0.113.8", 4), public("203.0.113.1", 5)},
		"203.0.113.10": {public("198.51.100.0", 2), public("203.0.113.8", 4), public("203.0.113.9", 4), public("198.51.100.1", 2), public("203.0.113.0", 2), public("203.0.113.1", 5)},
	} {
		for turn := range len(given) + 1 {
			state := base
			for i := range given {
				o := given[(i+turn)%len(given)]
				state = state.With(9, []Change{ChangeTo(o.Key(), o)})
			}
			changes, err := Admit(state, Request{Put: []Object{{Kind: "PublicIP", Name: "v/new", Spec: &PublicIPSpec{}}}})
			if err != nil {
				t.Fatal(err)
			}
			if got := changes[0].After.Spec.(*PublicIPSpec).Address.String(); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
	}
}

// A NAT address that is released rests until the others of its prefix have had their turn: an edge that has not heard
// yet would send to whoever has it.
func TestReleasedNATAddressRests(t *testing.T) {
	r := outward(network(1))
	r.Put[0].Spec.(*HostSpec).NATPrefix = netip.MustParsePrefix("10.200.0.0/30")
	state := stateOf(t, r)
	for i := range 6 {
		for _, spec := range []*EndpointSpec{{Attachment: &Attachment{}}, {Host: "host0"}} {
			changes, err := Admit(state, Request{Put: []Object{{Kind: "Endpoint", Name: "vpc0/net0/ep0", Spec: spec}}})
			if err != nil {
				t.Fatal(err)
			}
			if len(changes) != 2 || changes[0].Derived || !changes[1].Derived {
				t.Fatalf("got %s, want the public IP to be changed unasked", describe(changes))
			}
			state = commit(state, changes)
		}
		want := fmt.Sprintf("10.200.0.%d", (i+1)%4)
		if got := state.PublicIP("vpc0/ip0").NATIP.String(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestGatewayHosts(t *testing.T) {
	r := outward(network(1))
	for i, roles := range [][]string{{"edge"}, {"gateway"}, {"edge", "gateway"}} {
		r.Put = append(r.Put, Object{Kind: "Host", Name: fmt.Sprintf("e%d", i), Spec: &HostSpec{Address: netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), Roles: roles,
			Outside: &HostOutside{Interface: "eth1", Address: netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(2 + i)}), 24), Router: netip.MustParseAddr("198.51.100.1")}}})
	}
	state := stateOf(t, r)
	for want, spec := range map[string]*InternetGatewaySpec{"[e0 e2]": {}, "[e1 e2]": {Design: Central}, "[e2]": {Hosts: []string{"e2"}}} {
		changes, err := Admit(state, Request{Put: []Object{{Kind: "InternetGateway", Name: "vpc0", Spec: spec}}})
		if err != nil {
			t.Fatal(err)
		}
		status := Summarise(commit(state, changes), Key{"InternetGateway", "vpc0"}, Measured{}).(*InternetGatewayStatus)
		if got := fmt.Sprint(status.Hosts); got != want || status.PublicIPs != 1 || status.Reason != "" {
			t.Errorf("got %+v, want the hosts %s", status, want)
		}
	}
	for want, without := range map[string][]string{"edge e2 has no outside": {"e2"}, "edges e0, e2 have no outside": {"e0", "e2"}} {
		for _, name := range without {
			spec := *state.Host(name)
			spec.Outside = nil
			state = commit(state, []Change{{Action: Update, After: &Object{Kind: "Host", Name: name, Spec: &spec}}})
		}
		changes, err := Admit(state, Request{Put: []Object{{Kind: "InternetGateway", Name: "vpc0", Spec: &InternetGatewaySpec{Hosts: without}}}})
		if err != nil {
			t.Fatal(err)
		}
		status := Summarise(commit(state, changes), Key{"InternetGateway", "vpc0"}, Measured{}).(*InternetGatewayStatus)
		if len(status.Hosts) > 0 || status.Reason != want {
			t.Errorf("got %+v, want the reason %q", status, want)
		}
	}
	for range state.GatewayHosts("vpc1") {
		t.Error("a VPC without a gateway has hosts that lead outside")
	}
	if state.InternetGateway("vpc1") != nil || state.PublicIPAt(netip.MustParseAddr("203.0.113.1")) != nil || state.PublicIPOf("vpc0/net0/x") != nil || state.PublicPool("x") != nil {
		t.Error("found what is not there")
	}
}
