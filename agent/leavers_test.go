package agent

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/overlane/overlane/agent/local"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/view"
)

// Connections are to be forgotten of who is gone, has moved away or was replaced, and of nobody else.
func TestLeavers(t *testing.T) {
	at := func(ip, endpoint, host string) view.Address {
		return view.Address{AddressKey: view.AddressKey{VNI: 100, IP: netip.MustParseAddr(ip)}, Endpoint: endpoint, Host: host}
	}
	first := view.Delta{Complete: true, Segments: []view.Segment{{VNI: 100, VPC: 900}},
		Addresses: []view.Address{at("10.0.0.2", "b/w/a", "h1"), at("10.0.0.3", "b/w/b", "h1"), at("10.0.0.4", "b/w/c", "h2")}}
	for what, tt := range map[string]struct {
		then view.Delta
		want []string
	}{
		"the same again":       {first, nil},
		"one is gone":          {view.Delta{GoneAddresses: []view.AddressKey{at("10.0.0.2", "", "").AddressKey}}, []string{"10.0.0.2"}},
		"one has moved":        {view.Delta{Addresses: []view.Address{at("10.0.0.2", "b/w/a", "h2")}}, []string{"10.0.0.2"}},
		"one is another":       {view.Delta{Addresses: []view.Address{at("10.0.0.2", "b/w/z", "h1")}}, []string{"10.0.0.2"}},
		"a foreign one":        {view.Delta{GoneAddresses: []view.AddressKey{at("10.0.0.4", "", "").AddressKey}}, nil},
		"the segment is gone":  {view.Delta{GoneSegments: []model.VNI{100}}, []string{"10.0.0.2", "10.0.0.3"}},
		"all of the view anew": {view.Delta{Complete: true, Segments: first.Segments, Addresses: first.Addresses[1:]}, []string{"10.0.0.2"}},
	} {
		a := New(local.Config{Host: "h1", State: t.TempDir()}, nil, nil)
		a.zones.numbers.give(vpcOwner(900))
		for _, d := range []view.Delta{first, tt.then} {
			_, left := a.intent.take(d)
			a.zones.leave(left)
		}
		var got []string
		for _, l := range a.zones.leavers {
			if l.VPC != 900 {
				t.Errorf("%s: %s is of VPC %d", what, l.Address, l.VPC)
			}
			got = append(got, l.Address.String())
		}
		if slices.Sort(got); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", what, got, tt.want)
		}
	}
}
