package ifname

import (
	"net/netip"
	"testing"
)

// The names are on the disks and in the switches of hosts that run, so they must stay.
func TestNames(t *testing.T) {
	for _, tt := range []struct {
		name, want    string
		endpoint, own bool
	}{
		{Endpoint("blue/web", netip.MustParseAddr("172.17.42.2")), "ovl3m4pfsncaeeb", true, false},
		{EndpointOf010("blue/web/db1"), "ovltdpb69hu0eau", true, false},
		{Peer("host1"), "ovl-o0r5mmhocv", false, true},
		{Edge("host1"), "ovl-e-o0r5mmhoc", false, true},
		{Tunnel, "ovl-vxlan", false, true},
		{Outside, "ovl-outside", false, true},
		{Underlay, "ovl-underlay", false, true},
		{"ovl0123456789ab", "ovl0123456789ab", true, false},
		{"ovl0123456789a", "ovl0123456789a", false, false},
		{"ovl0123456789zz", "ovl0123456789zz", false, false},
		{"eth0", "eth0", false, false},
	} {
		if tt.name != tt.want {
			t.Errorf("got %s, want %s", tt.name, tt.want)
		}
		if len(tt.name) > 15 {
			t.Errorf("%s is longer than Linux allows", tt.name)
		}
		if got := IsEndpoint(tt.name); got != tt.endpoint {
			t.Errorf("%s: is an endpoint's is %t", tt.name, got)
		}
		if got := IsOwnPort(tt.name); got != tt.own {
			t.Errorf("%s: is the host's own is %t", tt.name, got)
		}
	}
}
