package model

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"testing"
)

func TestNamesThatBeginAlike(t *testing.T) {
	state := NewState()
	for _, name := range []string{"a", "a-b", "a.b", "a0", "a/s", "a-b/s", "a0/s", "a/s0", "a/s-0"} {
		state = with(state, 1, object(name))
	}
	for i, name := range []string{"a/s/e", "a/s/e0", "a/s-0/e", "a0/s/e", "a/s0/e", "a-b/s/e"} {
		o := object(name)
		spec := o.Spec.(*EndpointSpec)
		spec.Address, spec.MAC = addressOf(uint32(i)), MAC{5: byte(i)}
		spec.Host = []string{"h", "h0", "h-1", "h.1", "h", "h00"}[i]
		state = with(state, 1, o)
	}
	for _, c := range []struct {
		got  []string
		want []string
	}{
		{names(state, "Subnet", "a"), []string{"a/s", "a/s-0", "a/s0"}},
		{names(state, "Endpoint", "a/s"), []string{"a/s/e", "a/s/e0"}},
		{names(state, "Endpoint", "a"), []string{"a/s-0/e", "a/s/e", "a/s/e0", "a/s0/e"}},
	} {
		if !slices.Equal(c.got, c.want) {
			t.Errorf("found %v, want %v", c.got, c.want)
		}
	}
	if got := state.CountUnder("Endpoint", "a"); got != 4 {
		t.Errorf("counted %d endpoints under a, want 4", got)
	}
	if got := state.CountOn("h"); got != 2 {
		t.Errorf("counted %d endpoints on h, want 2", got)
	}
}

func object(name string) Object {
	for _, k := range Kinds[1:] {
		if k.CheckName(name) == nil {
			return Object{Kind: k.Name, Name: name, Revision: 1, Spec: k.New()}
		}
	}
	panic(name)
}

func with(s *State, revision int64, o Object) *State {
	o.Revision = revision
	return s.With(revision, []Change{ChangeTo(o.Key(), &o)})
}

func names(s *State, kind, parent string) (names []string) {
	for o := range s.Under(kind, parent) {
		names = append(names, o.Name)
	}
	return names
}

// A server that starts anew reads objects in any order, and must then allocate like one that saw them come.
func TestCursorDoesNotDependOnOrder(t *testing.T) {
	subnet := Object{Kind: "Subnet", Name: "v/s", Spec: &SubnetSpec{CIDR: netip.MustParsePrefix("10.0.0.0/24"), Gateway: netip.MustParseAddr("10.0.0.1")}}
	endpoint := func(last byte, revision int64) Object {
		return Object{Kind: "Endpoint", Name: fmt.Sprintf("v/s/e%d", last), Revision: revision,
			Spec: &EndpointSpec{Address: netip.AddrFrom4([4]byte{10, 0, 0, last}), MAC: MAC{5: last}}}
	}
	objects := []Object{endpoint(9, 1), endpoint(5, 3), endpoint(7, 3), endpoint(8, 2)}
	for _, order := range [][]int{{0, 1, 2, 3}, {3, 2, 1, 0}, {2, 0, 3, 1}, {1, 2, 0, 3}} {
		state := with(NewState(), 1, subnet)
		for _, i := range order {
			o := objects[i]
			state = state.With(3, []Change{ChangeTo(o.Key(), &o)})
		}
		changes, err := Admit(state, Request{Put: []Object{{Kind: "VPC", Name: "v", Spec: &VPCSpec{}}, {Kind: "Endpoint", Name: "v/s/new", Spec: &EndpointSpec{}}}})
		if err != nil {
			t.Fatal(err)
		}
		if got := changes[1].After.Spec.(*EndpointSpec).Address.String(); got != "10.0.0.10" {
			t.Errorf("order %v: got %s, want 10.0.0.10: .7 was given last, .8 and .9 are taken", order, got)
		}
	}
}

func TestUnknownKindsAreNobody(t *testing.T) {
	state := stateOf(t, network(1))
	key := Key{"Router", "r1"}
	if state.Get(key) != nil || state.Len("Router") != 0 || state.CountUnder("Router", "") != 0 || names(state, "Router", "") != nil {
		t.Error("found objects of a kind that does not exist")
	}
	if next := state.With(9, []Change{ChangeTo(key, nil)}); next.Revision() != 9 || !slices.Equal(dump(state), dump(next)) {
		t.Error("deleting an object of a kind that does not exist changed something")
	}
}

func TestSpecsByName(t *testing.T) {
	s := stateOf(t, network(1))
	if s.Host("host0") == nil || s.VPC("vpc0") == nil || s.Subnet("vpc0/net0") == nil || s.Endpoint("vpc0/net0/ep0") == nil {
		t.Error("did not find what is there")
	}
	if s.Host("x") != nil || s.VPC("x") != nil || s.Subnet("x") != nil || s.Endpoint("x") != nil {
		t.Error("found what is not there")
	}
}

func TestSummarise(t *testing.T) {
	state := stateOf(t, network(250)) // five in each subnet, on three hosts
	states := map[string]EndpointState{"vpc0/net0/ep0": Ready, "vpc0/net0/ep50": Attached, "vpc0/net0/ep100": Unknown, "vpc0/net0/ep150": Pending}
	of := func(k Key) *EndpointStatus {
		if s, ok := states[k.Name]; ok {
			return &EndpointStatus{State: s}
		}
		return nil
	}
	counts := EndpointCounts{Total: 5, Pending: 2, Attached: 1, Ready: 1, Unknown: 1}
	for key, want := range map[Key]any{
		{"Subnet", "vpc0/net0"}:       &SubnetStatus{Endpoints: counts, Free: 65536 - 3 - 5, Hosts: []string{"host0", "host1", "host2"}},
		{"VPC", "vpc0"}:               &VPCStatus{Subnets: 5, Endpoints: EndpointCounts{Total: 25, Pending: 22, Attached: 1, Ready: 1, Unknown: 1}},
		{"Endpoint", "vpc0/net0/ep0"}: nil,
		{"Subnet", "vpc0/missing"}:    &SubnetStatus{},
	} {
		if got := Summarise(state, key, Measured{Endpoint: of}); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, want %+v", key, got, want)
		}
	}
}
