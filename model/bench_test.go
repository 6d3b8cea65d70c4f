package model

import (
	"fmt"
	"net/netip"
	"testing"
)

// network is a request for hosts of 100 endpoints each, and 50 subnets in 10 VPCs that share the endpoints.
func network(endpoints int) Request {
	var r Request
	hosts := endpoints/100 + 1
	for h := range hosts {
		r.Put = append(r.Put, Object{Kind: "Host", Name: fmt.Sprintf("host%d", h),
			Spec: &HostSpec{Address: netip.AddrFrom4([4]byte{192, 168, byte(h >> 8), byte(h)})}})
	}
	for v := range 10 {
		r.Put = append(r.Put, Object{Kind: "VPC", Name: fmt.Sprintf("vpc%d", v), Spec: &VPCSpec{}})
	}
	for s := range 50 {
		cidr := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(s), 0, 0}), 16)
		r.Put = append(r.Put, Object{Kind: "Subnet", Name: fmt.Sprintf("vpc%d/net%d", s%10, s), Spec: &SubnetSpec{CIDR: cidr}})
	}
	for e := range endpoints {
		r.Put = append(r.Put, endpointIn(e, hosts))
	}
	return r
}

// outward is a network whose first host has a NAT prefix, and whose first VPC is joined to the world, with one public
// IP.
func outward(r Request) Request {
	r.Put[0].Spec.(*HostSpec).NATPrefix = netip.MustParsePrefix("10.200.0.0/16")
	r.Put = append(r.Put,
		Object{Kind: "InternetGateway", Name: "vpc0", Spec: &InternetGatewaySpec{SNAT: true}},
		Object{Kind: "PublicPool", Name: "world", Spec: &PublicPoolSpec{CIDRs: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/31"), netip.MustParsePrefix("203.0.113.2/31")}}},
		Object{Kind: "PublicIP", Name: "vpc0/ip0", Spec: &PublicIPSpec{Endpoint: "vpc0/net0/ep0"}})
	return r
}

func endpointIn(e, hosts int) Object {
	return Object{Kind: "Endpoint", Name: fmt.Sprintf("vpc%d/net%d/ep%d", e%50%10, e%50, e), Spec: &EndpointSpec{Host: fmt.Sprintf("host%d", e%hosts)}}
}

func stateOf(tb testing.TB, r Request) *State {
	changes, err := Admit(NewState(), r)
	if err != nil {
		tb.Fatal(err)
	}
	return commit(NewState(), changes)
}

// The cost of one more endpoint must not depend on how many there are.
func BenchmarkAdmitOne(b *testing.B) {
	for _, n := range []int{10, 5_000, 50_000} {
		b.Run(fmt.Sprintf("of %d", n), func(b *testing.B) {
			state := stateOf(b, network(n))
			one := Request{Put: []Object{endpointIn(n, 1)}}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Admit(state, one); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// One more endpoint with a public IP: that is changed with it.
func BenchmarkAdmitOnePublic(b *testing.B) {
	for _, n := range []int{10, 5_000, 50_000} {
		b.Run(fmt.Sprintf("of %d", n), func(b *testing.B) {
			state := stateOf(b, outward(network(n)))
			one := Request{Put: []Object{{Kind: "Endpoint", Name: "vpc0/net0/ep0", Spec: &EndpointSpec{Attachment: &Attachment{}}}}}
			b.ReportAllocs()
			for b.Loop() {
				if changes, err := Admit(state, one); err != nil || len(changes) != 2 {
					b.Fatal(err)
				}
			}
		})
	}
}

// The first endpoint of a VPC on a host, which is leased a block of ports with it.
func BenchmarkAdmitOneLease(b *testing.B) {
	for _, hosts := range []int{3, 51, 501} {
		b.Run(fmt.Sprintf("of %d", hosts), func(b *testing.B) {
			state := stateOf(b, leasing(hosts, 1024, "203.0.113.0/24"))
			b.ReportAllocs()
			for b.Loop() {
				if changes, err := Admit(state, plugOther("host0")); err != nil || len(changes) != 2 {
					b.Fatal(err, changes)
				}
			}
		})
	}
}

func BenchmarkApplyOne(b *testing.B) {
	for _, n := range []int{10, 5_000, 50_000} {
		b.Run(fmt.Sprintf("to %d", n), func(b *testing.B) {
			state := stateOf(b, network(n))
			changes, err := Admit(state, Request{Put: []Object{endpointIn(n, 1)}})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				commit(state, changes)
			}
		})
	}
}

func BenchmarkAdmitNetwork(b *testing.B) {
	for _, n := range []int{5_000, 50_000} {
		r := network(n)
		b.Run(fmt.Sprintf("%d new", n), func(b *testing.B) {
			for b.Loop() {
				if _, err := Admit(NewState(), r); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("%d again", n), func(b *testing.B) {
			state := stateOf(b, r)
			for b.Loop() {
				if _, err := Admit(state, r); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("%d applied", n), func(b *testing.B) {
			changes, err := Admit(NewState(), r)
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				commit(NewState(), changes)
			}
		})
	}
}

func BenchmarkDecodeYAML(b *testing.B) {
	changes, err := Admit(NewState(), network(5_000))
	if err != nil {
		b.Fatal(err)
	}
	var objects []Object
	for _, c := range changes {
		objects = append(objects, *c.After)
	}
	data, err := EncodeYAML(objects...)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := DecodeYAML(data, "net.yaml"); err != nil {
			b.Fatal(err)
		}
	}
}
