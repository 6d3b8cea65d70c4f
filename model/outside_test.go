package model

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
)

func TestNextHopMAC(t *testing.T) {
	h := HostOutside{Address: netip.MustParsePrefix("203.0.113.11/24")}
	if got, want := NextHopMAC(h.Address.Addr()).String(), "02:4e:cb:00:71:0b"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestHostsUpstream(t *testing.T) {
	var r Request
	for i, next := range []string{"203.0.113.12/24", "203.0.113.11/24", "203.0.114.2/24", "203.0.112.2/24"} {
		address := netip.MustParsePrefix(next)
		r.Put = append(r.Put, Object{Kind: "Host", Name: fmt.Sprintf("e%d", i), Spec: &HostSpec{Address: netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), Roles: []string{RoleEdge},
			Outside: &HostOutside{Interface: "eth1", Address: address, Router: address.Masked().Addr().Next()}}})
	}
	var got []string
	for o := range stateOf(t, r).HostsUpstream(netip.MustParsePrefix("203.0.113.11/24")) {
		got = append(got, o.Name)
	}
	if want := []string{"e1", "e0"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
