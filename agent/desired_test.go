package agent

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/overlane/overlane/dataplane"
	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/ovs"
)

// pretend is a switch as far as a change goes: keys with what they hold. It refuses what a real one would.
type pretend struct {
	flows  map[flow.Key]flow.Flow
	groups map[uint32]flow.Group
}

func newPretend() *pretend {
	return &pretend{map[flow.Key]flow.Flow{}, map[uint32]flow.Group{}}
}

func (p *pretend) apply(t *rapid.T, c ovs.Change) {
	for _, g := range c.AddGroups {
		if _, there := p.groups[g.ID]; there {
			t.Fatalf("group %#x added twice", g.ID)
		}
		p.groups[g.ID] = g
	}
	for _, g := range c.ModGroups {
		if _, there := p.groups[g.ID]; !there {
			t.Fatalf("group %#x modified and not there", g.ID)
		}
		p.groups[g.ID] = g
	}
	for _, f := range c.Add {
		p.flows[f.Key()] = f
	}
	for _, f := range c.Del {
		delete(p.flows, f.Key)
	}
	for _, id := range c.DelGroups {
		if _, there := p.groups[id]; !there {
			t.Fatalf("group %#x deleted and not there", id)
		}
		delete(p.groups, id)
	}
}

func (p *pretend) contents() ovs.Contents {
	c := ovs.Contents{Meters: dataplane.Meters(), Groups: slices.Collect(maps.Values(p.groups))}
	for key, f := range p.flows {
		c.Flows = append(c.Flows, flow.Installed{Key: key, Cookie: f.Cookie()})
	}
	return c
}

func (p *pretend) text() []string {
	var lines []string
	for _, f := range p.flows {
		lines = append(lines, f.String())
	}
	for _, g := range p.groups {
		lines = append(lines, g.String())
	}
	slices.Sort(lines)
	return lines
}

// Subjects come, change, go and take keys over from each other, several in one step. However it went, the switch holds
// what the subjects ask for, and a read-back finds nothing to do.
func TestDesiredKeepsTheSwitch(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d, sw := newDesired(), newPretend()
		asked := map[dataplane.Subject]dataplane.Entries{}
		for range rapid.IntRange(1, 15).Draw(rt, "steps") {
			step := newStep(rt, asked)
			c := newChanges()
			for s, e := range step {
				d.replace(s, e, c)
			}
			sw.apply(rt, c.forSwitch())
			maps.Copy(asked, step)
			want := newPretend()
			for _, e := range asked {
				for _, f := range e.Flows {
					want.flows[f.Key()] = f
				}
				for _, g := range e.Groups {
					want.groups[g.ID] = g
				}
			}
			if diff := cmp.Diff(want.text(), sw.text()); diff != "" {
				rt.Fatalf("switch (-asked +has):\n%s", diff)
			}
			if again := d.against(sw.contents()).forSwitch(); len(again.Add)+len(again.Del)+len(again.AddGroups)+len(again.ModGroups)+len(again.DelGroups) > 0 {
				rt.Fatalf("a read-back would change %+v", again)
			}
		}
	})
}

// newStep gives some subjects new entries. A port has one owner at a time, as in the pipeline, but may pass to another
// in a step; a shared flow is asked for by any number.
func newStep(t *rapid.T, asked map[dataplane.Subject]dataplane.Entries) map[dataplane.Subject]dataplane.Entries {
	owner := map[int]string{} // of each port
	step := map[dataplane.Subject]dataplane.Entries{}
	for port := range 4 {
		owner[port] = rapid.SampledFrom([]string{"", "a", "b", "c"}).Draw(t, "owner")
	}
	variant := rapid.IntRange(0, 2).Draw(t, "variant")
	for _, name := range []string{"a", "b", "c"} {
		var e dataplane.Entries
		for port, has := range owner {
			if has == name {
				e.Flows = append(e.Flows, flow.Flow{Match: flow.On(flow.Eq(flow.InPort, flow.U32(uint32(port+1)))),
					Priority: 1, Actions: []flow.Action{flow.Output{Port: uint32(variant + 1)}}, Owner: name})
			}
		}
		for shared := range 2 {
			if rapid.Bool().Draw(t, "shares") {
				e.Flows = append(e.Flows, flow.Flow{Table: 7, Priority: uint16(shared), Actions: []flow.Action{flow.Output{Port: 9}}, Owner: name})
			}
		}
		if len(e.Flows) > 1 {
			e.Groups = append(e.Groups, flow.Group{ID: 0x4f000000 | uint32(name[0]), Buckets: []flow.Bucket{
				{Actions: []flow.Action{flow.Output{Port: uint32(len(e.Flows) + variant)}}}}})
		}
		if fmt.Sprint(asked[dataplane.Subject{Kind: "peer", Key: name}]) != fmt.Sprint(e) {
			step[dataplane.Subject{Kind: "peer", Key: name}] = e
		}
	}
	return step
}

func TestAddOnlyTakesNothingAway(t *testing.T) {
	have := flow.Flow{Priority: 1, Match: flow.On(flow.Eq(flow.InPort, flow.U32(1))), Actions: []flow.Action{flow.Output{Port: 9}}}
	mine := have
	mine.Actions = []flow.Action{flow.Output{Port: 8}}
	missing := flow.Flow{Priority: 2, Actions: []flow.Action{flow.Output{Port: 7}}}
	old := flow.Flow{Priority: 3}
	d := newDesired()
	d.replace(dataplane.Subject{}, dataplane.Entries{Flows: []flow.Flow{mine, missing}}, newChanges())
	contents := ovs.Contents{
		Flows:  []flow.Installed{{Key: have.Key(), Cookie: have.Cookie()}, {Key: old.Key(), Cookie: old.Cookie()}},
		Groups: []flow.Group{{ID: 0x4f000001}}, Meters: []flow.Meter{{ID: 0x4f55}},
	}
	c := d.against(contents)
	c.addOnly(contents)
	got := c.forSwitch()
	if len(got.Add) != 1 || got.Add[0].String() != missing.String() {
		t.Errorf("adds %v, want only what is missing", got.Add)
	}
	if len(got.Del)+len(got.DelGroups)+len(got.ModGroups)+len(got.Strange)+len(got.DelMeters) != 0 {
		t.Errorf("takes something away: %+v", got)
	}
}

// A pipeline that takes several bundles to replace works as it was until the last of them: no flow of a row may come
// after one that gives registers another meaning.
func TestAnotherVersionIsReplacedLast(t *testing.T) {
	flowOf := func(table uint8, priority uint16, port uint32) flow.Flow {
		return flow.Flow{Table: table, Priority: priority, Actions: []flow.Action{flow.Output{Port: port}}}
	}
	miss, replaced, row := flowOf(22, 0, 1), flowOf(1, 5, 1), flowOf(2, 7, 1)
	d := newDesired()
	d.replace(dataplane.Subject{}, dataplane.Entries{Flows: []flow.Flow{miss}}, newChanges())
	d.replace(dataplane.Subject{Kind: "peer", Key: "h2"}, dataplane.Entries{Flows: []flow.Flow{replaced, row}}, newChanges())
	var have ovs.Contents
	for _, f := range []flow.Flow{flowOf(22, 0, 9), flowOf(1, 5, 9)} {
		have.Flows = append(have.Flows, flow.Installed{Key: f.Key(), Cookie: f.Cookie()})
	}
	var got []flow.Key
	for _, f := range d.against(have).forSwitch().Add {
		got = append(got, f.Key())
	}
	if want := []flow.Key{row.Key(), miss.Key(), replaced.Key()}; !slices.Equal(got, want) {
		t.Errorf("order %v, want %v", got, want)
	}
}
