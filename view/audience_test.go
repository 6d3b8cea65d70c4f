package view

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/overlane/overlane/model"
)

// TestCommitsVisitThoseConcerned has ten VPCs on two hosts each, of which one has a gateway with a host of its own, and
// asks whom a commit visits. That nobody is left out, TestFollowingAgreesWithTheWhole shows.
func TestCommitsVisitThoseConcerned(t *testing.T) {
	state := model.NewState()
	put := func(kind, name string, spec model.Spec) []model.Change {
		changes := []model.Change{{Action: model.Update, After: &model.Object{Kind: kind, Name: name, Spec: spec}}}
		state = state.With(state.Revision()+1, changes)
		return changes
	}
	host := func(i int, outside *model.HostOutside) []model.Change {
		return put("Host", fmt.Sprintf("h%d", i),
			&model.HostSpec{Address: netip.AddrFrom4([4]byte{192, 168, 0, byte(i)}), Roles: []string{"gateway"},
				Outside: outside})
	}
	for i := range 21 {
		host(i, nil)
	}
	outside := &model.HostOutside{Interface: "eth1", Address: netip.MustParsePrefix("198.51.100.2/24"),
		Router: netip.MustParseAddr("198.51.100.1")}
	host(20, outside)
	for i := range 10 {
		vpc := fmt.Sprintf("v%d", i)
		put("VPC", vpc, &model.VPCSpec{MTU: 1450, TransitVNI: model.VNI(900 + i)})
		put("Subnet", vpc+"/s", &model.SubnetSpec{VNI: model.VNI(100 + i), CIDR: netip.MustParsePrefix("10.0.0.0/24")})
		for n := range 2 {
			put("Endpoint", fmt.Sprintf("%s/s/e%d", vpc, n), &model.EndpointSpec{Host: fmt.Sprintf("h%d", 2*i+n),
				Address: netip.AddrFrom4([4]byte{10, 0, 0, byte(2 + n)})})
		}
	}
	put("InternetGateway", "v9", &model.InternetGatewaySpec{Hosts: []string{"h20"}, SNAT: true})
	tracker := NewTracker(state)
	for i := range 21 {
		tracker.Subscribe(fmt.Sprintf("h%d", i))
	}
	visited := func(changes []model.Change) []string {
		tracker.state = state
		return slices.Sorted(maps.Keys(tracker.concerned(tracker.touch(changes))))
	}
	for _, test := range []struct {
		what    string
		changes []model.Change
		want    []string
	}{
		{"an endpoint", put("Endpoint", "v0/s/new", &model.EndpointSpec{Host: "h1",
			Address: netip.MustParseAddr("10.0.0.9")}), []string{"h0", "h1"}},
		{"a host's first endpoint of a VPC",
			put("Endpoint", "v1/s/new", &model.EndpointSpec{Host: "h9", Address: netip.MustParseAddr("10.0.0.9")}),
			[]string{"h2", "h3", "h9"}},
		{"a VPC", put("VPC", "v2", &model.VPCSpec{MTU: 1400, TransitVNI: 902}), []string{"h4", "h5"}},
		{"an endpoint behind a gateway", put("Endpoint", "v9/s/new", &model.EndpointSpec{Host: "h18",
			Address: netip.MustParseAddr("10.0.0.9")}), []string{"h18", "h19", "h20"}},
		{"a host: whoever may reach outside knows all", host(6, nil), []string{"h18", "h19", "h20", "h6", "h7"}},
		{"a pool", put("PublicPool", "world", &model.PublicPoolSpec{}), []string{"h18", "h19", "h20"}},
		{"nothing that a view has", nil, nil},
	} {
		if diff := cmp.Diff(test.want, visited(test.changes)); diff != "" {
			t.Errorf("%s visits (-want +got):\n%s", test.what, diff)
		}
	}
}

// TestAudienceForgets: whoever has unsubscribed costs no commit anything.
func TestAudienceForgets(t *testing.T) {
	state := model.NewState().With(1, []model.Change{
		{After: &model.Object{Kind: "Host", Name: "h", Spec: &model.HostSpec{Roles: []string{"gateway"},
			Outside: &model.HostOutside{Address: netip.MustParsePrefix("198.51.100.2/24")}}}},
		{After: &model.Object{Kind: "VPC", Name: "v", Spec: &model.VPCSpec{TransitVNI: 900}}},
		{After: &model.Object{Kind: "Subnet", Name: "v/s", Spec: &model.SubnetSpec{VNI: 100}}},
		{After: &model.Object{Kind: "Endpoint", Name: "v/s/e", Spec: &model.EndpointSpec{Host: "h"}}},
		{After: &model.Object{Kind: "InternetGateway", Name: "v",
			Spec: &model.InternetGatewaySpec{Hosts: []string{"h"}}}},
	})
	tracker := NewTracker(state)
	tracker.Subscribe("h")
	want := audience{vpcs: map[string]hostSet{"v": {"h": true}}, nextHops: hostSet{"h": true},
		hosts: hostSet{"h": true}}
	if diff := cmp.Diff(want, tracker.audience, cmp.AllowUnexported(audience{})); diff != "" {
		t.Errorf("subscribed (-want +got):\n%s", diff)
	}
	tracker.Unsubscribe("h")
	if diff := cmp.Diff(newAudience(), tracker.audience, cmp.AllowUnexported(audience{})); diff != "" {
		t.Errorf("unsubscribed (-want +got):\n%s", diff)
	}
}
