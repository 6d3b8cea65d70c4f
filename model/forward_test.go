package model

import (
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// forwarding is a network outward whose second VPC forwards a port.
func forwarding(r Request) Request {
	r.Put = append(r.Put,
		Object{Kind: "InternetGateway", Name: "vpc1", Spec: &InternetGatewaySpec{Design: Central}},
		Object{Kind: "PublicIP", Name: "vpc1/ip1", Spec: &PublicIPSpec{}},
		Object{Kind: "Forward", Name: "vpc1/web", Spec: &ForwardSpec{PublicIP: "vpc1/ip1", Port: 443, Endpoint: "vpc1/net1/ep1", TargetPort: 8443}})
	return r
}

// What a forwarded port waits for is told in the order of a packet's way, and its address says what it is for.
func TestForwardStatus(t *testing.T) {
	const plugged = "{kind: Endpoint, name: v/s/e, spec: {host: h1}}"
	open := func(tunnels ...TunnelStatus) *HostStatus {
		return &HostStatus{Ready: true, Border: &BorderStatus{Open: true}, Tunnels: tunnels}
	}
	ready := open(TunnelStatus{Peer: "g1", BFD: TunnelUp}) // stands for both hosts
	for _, c := range []struct {
		put      []string
		endpoint *EndpointStatus
		gateway  *HostStatus
		want     ForwardStatus
	}{
		{want: ForwardStatus{State: PublicPending, Reason: "Endpoint v/s/e does not exist"}},
		{put: []string{"{kind: Endpoint, name: v/s/e}"}, want: ForwardStatus{State: PublicPending, Reason: "Endpoint v/s/e is not plugged in"}},
		{put: []string{plugged, "{kind: Host, name: g1, spec: {address: 192.0.2.2}}"},
			want: ForwardStatus{State: PublicPending, Host: "h1", Reason: "gateway g1 has no outside"}},
		{put: []string{plugged}, want: ForwardStatus{State: PublicPending, Host: "h1", Reason: "no gateway leads to it; Host g1 has not reported yet"}},
		{put: []string{plugged}, gateway: &HostStatus{Ready: true, Border: &BorderStatus{Reason: "203.0.113.1 does not answer"}},
			want: ForwardStatus{State: PublicPending, Host: "h1", Reason: "no gateway leads to it; Host g1 is shut: 203.0.113.1 does not answer"}},
		{put: []string{plugged}, gateway: open(TunnelStatus{Peer: "g1", BFD: TunnelDown}),
			want: ForwardStatus{State: PublicPending, Host: "h1", Reason: "no gateway leads to it; Host g1 is not reached by Host h1"}},
		{put: []string{plugged}, gateway: ready,
			want: ForwardStatus{State: PublicPending, Host: "h1", Reason: "its host has not reported Endpoint v/s/e yet"}},
		{put: []string{plugged}, gateway: ready, endpoint: &EndpointStatus{State: Ready},
			want: ForwardStatus{State: PublicReady, Host: "h1"}},
	} {
		state := stateOfYAML(t, append([]string{"{kind: Host, name: h1, spec: {address: 192.0.2.1}}",
			"{kind: Host, name: g1, spec: {address: 192.0.2.2, roles: [gateway], outside: {interface: eth1, address: 198.51.100.2/24, router: 198.51.100.1}}}",
			"[{kind: VPC, name: v}, {kind: Subnet, name: v/s, spec: {cidr: 10.0.0.0/24}}, {kind: InternetGateway, name: v, spec: {design: central}}]",
			"[{kind: PublicPool, name: p, spec: {cidrs: [203.0.113.0/24]}}, {kind: PublicIP, name: v/i}]",
			"[{kind: Forward, name: v/f, spec: {publicIP: v/i, port: 80, endpoint: v/s/e}}, {kind: Forward, name: v/g, spec: {publicIP: v/i, port: 81, endpoint: v/s/e}}]"}, c.put...)...)
		m := Measured{Endpoint: func(Key) *EndpointStatus { return c.endpoint }, Host: func(string) *HostStatus { return c.gateway }}
		if got := Summarise(state, Key{"Forward", "v/f"}, m); !reflect.DeepEqual(got, &c.want) {
			t.Errorf("%s:\ngot  %+v\nwant %+v", c.put, got, c.want)
		}
		want := &PublicIPStatus{State: PublicReserved, Reason: "forwards 2 ports"}
		if got := Summarise(state, Key{"PublicIP", "v/i"}, m); !reflect.DeepEqual(got, want) {
			t.Errorf("the public IP: got %+v, want %+v", got, want)
		}
	}
}

// stateOfYAML is what comes of requests, one after the other.
func stateOfYAML(t *testing.T, requests ...string) *State {
	t.Helper()
	state := NewState()
	for _, yaml := range requests {
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
	return state
}

func someForward(t *rapid.T, vpc, endpoint string) Object {
	return Object{Kind: "Forward", Name: vpc + "/" + pick(t, "forward", "f1", "f2", "f3"), Spec: &ForwardSpec{
		PublicIP: vpc + "/" + pick(t, "public", "i1", "i2", "i3", "i4"), Protocol: pick(t, "protocol", "", TCP, UDP), Port: pick(t, "port", 80, 443, 443),
		Endpoint: endpoint, TargetPort: pick(t, "target", 0, 80, 8443)}}
}

// danglingForward: a forwarded port of an address that is not there, or that an endpoint has, or in the wrong design.
func danglingForward(all map[Key]Object, o Object) (wrong []string) {
	s, ok := o.Spec.(*ForwardSpec)
	if !ok {
		return nil
	}
	if g, ok := all[Key{"InternetGateway", Parent(o.Name)}]; !ok || g.Spec.(*InternetGatewaySpec).Design != Central {
		wrong = append(wrong, o.Name+" is of no central gateway")
	}
	if p, ok := all[Key{"PublicIP", s.PublicIP}]; !ok || p.Spec.(*PublicIPSpec).Endpoint != "" {
		wrong = append(wrong, o.Name+" is of no address, or of an endpoint's")
	}
	return wrong
}

// indexedForwards compares the indexes of forwarded ports.
func indexedForwards(t *rapid.T, s *State) {
	at, to := map[string]int{}, map[string]int{}
	for o := range s.List("Forward") {
		spec := o.Spec.(*ForwardSpec)
		at[spec.PublicIP]++
		to[spec.Endpoint]++
		if !slices.Contains(slices.Collect(s.ForwardsAt(spec.PublicIP)), o) || !slices.Contains(slices.Collect(s.ForwardsTo(spec.Endpoint)), o) {
			t.Fatalf("%s is not found by public IP and endpoint", o.Name)
		}
	}
	for o := range s.List("PublicIP") {
		if got := s.countForwardsAt(o.Name); got != at[o.Name] || len(slices.Collect(s.ForwardsAt(o.Name))) != got {
			t.Fatalf("%s has %d forwards, want %d", o.Name, got, at[o.Name])
		}
	}
	for o := range s.List("Endpoint") {
		if got := len(slices.Collect(s.ForwardsTo(o.Name))); got != to[o.Name] {
			t.Fatalf("%s has %d forwards, want %d", o.Name, got, to[o.Name])
		}
	}
}
