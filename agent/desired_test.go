package agent

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/overlane/overlane/dataplane"
	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/ovs"
)

// pretend is a switch as far as a change goes: keys with what they hold. It refuses what a real one would, and what a
// real one would not find.
type pretend struct {
	flows  map[flow.Key]flow.Flow
	groups map[uint32]flow.Group
}

func newPretend() *pretend {
	return &pretend{map[flow.Key]flow.Flow{}, map[uint32]flow.Group{}}
}

// apply executes a change in the order of a bundle.
func (p *pretend) apply(t rapid.TB, c ovs.Change) {
	t.Helper()
	for _, g := range c.AddGroups {
		if p.has(g.ID) {
			t.Fatalf("group %#x added twice", g.ID)
		}
		p.groups[g.ID] = g
	}
	added := map[flow.Key]bool{}
	for _, f := range c.Add {
		if id, ok := groupIn(f); ok && !p.has(id) {
			t.Fatalf("flow %s names group %#x, which is not there", f, id)
		}
		p.flows[f.Key()] = f
		added[f.Key()] = true
	}
	for _, g := range c.ModGroups {
		if !p.has(g.ID) {
			t.Fatalf("group %#x modified and not there", g.ID)
		}
		if slices.Contains(c.DelGroups, g.ID) {
			t.Fatalf("group %#x modified and deleted", g.ID)
		}
		p.groups[g.ID] = g
	}
	for _, f := range c.Del {
		if has, ok := p.flows[f.Key]; ok && !added[f.Key] && has.Cookie() == f.Cookie {
			delete(p.flows, f.Key)
		}
	}
	for _, id := range c.DelGroups {
		p.deleteGroup(t, id)
	}
}

func (p *pretend) has(group uint32) bool {
	_, there := p.groups[group]
	return there
}

// deleteGroup deletes a group and the flows that name it.
func (p *pretend) deleteGroup(t rapid.TB, id uint32) {
	t.Helper()
	if !p.has(id) {
		t.Fatalf("group %#x deleted and not there", id)
	}
	delete(p.groups, id)
	maps.DeleteFunc(p.flows, func(_ flow.Key, f flow.Flow) bool {
		named, ok := groupIn(f)
		return ok && named == id
	})
}

// groupIn is the group that a flow names.
func groupIn(f flow.Flow) (id uint32, ok bool) {
	for _, a := range f.Actions {
		if to, is := a.(flow.ToGroup); is {
			return to.ID, true
		}
	}
	return 0, false
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

// Subjects come, change, go and take keys and groups over from each other, several in one step and in any order.
// However it went, the switch holds what the subjects ask for, and a read-back finds nothing to do.
func TestDesiredKeepsTheSwitch(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d, sw := newDesired(), newPretend()
		asked := map[dataplane.Subject]dataplane.Entries{}
		for range rapid.IntRange(1, 15).Draw(rt, "steps") {
			c := newChanges()
			for range rapid.IntRange(1, 3).Draw(rt, "changes in one bundle") {
				step := newStep(rt, asked)
				for _, s := range rapid.Permutation(inOrder(step)).Draw(rt, "order") {
					d.replace(s, step[s], c)
				}
				maps.Copy(asked, step)
			}
			sw.apply(rt, c.forSwitch())
			if diff := cmp.Diff(whatIsAsked(asked).text(), sw.text()); diff != "" {
				rt.Fatalf("switch (-asked +has):\n%s", diff)
			}
			wantNothingToDo(rt, d, sw)
		}
	})
}

func inOrder(step map[dataplane.Subject]dataplane.Entries) []dataplane.Subject {
	return slices.SortedFunc(maps.Keys(step), func(a, b dataplane.Subject) int { return strings.Compare(a.String(), b.String()) })
}

// whatIsAsked is a switch that holds what the subjects ask for. The last of them, by name, decides the form of a group.
func whatIsAsked(asked map[dataplane.Subject]dataplane.Entries) *pretend {
	want := newPretend()
	for _, s := range inOrder(asked) {
		for _, f := range asked[s].Flows {
			want.flows[f.Key()] = f
		}
		for _, g := range asked[s].Groups {
			want.groups[g.ID] = g
		}
	}
	return want
}

func wantNothingToDo(t rapid.TB, d *desired, sw *pretend) {
	t.Helper()
	again := d.against(sw.contents()).forSwitch()
	if len(again.Add)+len(again.Del)+len(again.AddGroups)+len(again.ModGroups)+len(again.DelGroups) > 0 {
		t.Fatalf("a read-back would change %+v", again)
	}
}

// newStep gives some subjects new entries. A port has one owner at a time, as in the pipeline, but may pass to another
// in a step, and so may a group and the flow that names it. A shared flow or group is asked for by any number.
func newStep(t *rapid.T, asked map[dataplane.Subject]dataplane.Entries) map[dataplane.Subject]dataplane.Entries {
	const keys = 4 // of ports, and of groups that have one owner
	owner := rapid.SampledFrom([]string{"", "a", "b", "c"})
	ports := rapid.SliceOfN(owner, keys, keys).Draw(t, "owners of ports")
	groups := rapid.SliceOfN(owner, keys, keys).Draw(t, "owners of groups")
	variant := uint32(rapid.IntRange(0, 2).Draw(t, "variant"))
	step := map[dataplane.Subject]dataplane.Entries{}
	for _, name := range []string{"a", "b", "c"} {
		var e dataplane.Entries
		for i := range uint32(keys) {
			if ports[i] == name {
				e.Flows = append(e.Flows, flow.Flow{Match: flow.On(flow.Eq(flow.InPort, flow.U32(i+1))),
					Priority: 1, Actions: []flow.Action{flow.Output{Port: variant + 1}}, Owner: name})
			}
			if groups[i] == name {
				e = withGroup(e, i, variant, name)
			}
		}
		for shared := range uint16(2) {
			if rapid.Bool().Draw(t, "shares") {
				e.Flows = append(e.Flows, flow.Flow{Table: 7, Priority: shared, Actions: []flow.Action{flow.Output{Port: 9}}, Owner: name})
			}
		}
		if rapid.Bool().Draw(t, "shares a group") {
			e = withGroup(e, keys, variant+uint32(name[0]), name)
		}
		if s := (dataplane.Subject{Kind: "peer", Key: name}); fmt.Sprint(asked[s]) != fmt.Sprint(e) {
			step[s] = e
		}
	}
	return step
}

// withGroup adds a group and a flow that names it.
func withGroup(e dataplane.Entries, number, port uint32, owner string) dataplane.Entries {
	id := 0x4f000000 | number
	e.Groups = append(e.Groups, flow.Group{ID: id, Owner: owner,
		Buckets: []flow.Bucket{{Actions: []flow.Action{flow.Output{Port: port + 1}}}}})
	e.Flows = append(e.Flows, flow.Flow{Table: 8, Priority: uint16(number), Actions: []flow.Action{flow.ToGroup{ID: id}}, Owner: owner})
	return e
}

// Two subjects ask for one flow in two forms, and both give it up. The second drops it with the cookie in the switch.
func TestDesiredFlowIsDroppedWithItsCookie(t *testing.T) {
	a, b := dataplane.Subject{Kind: "peer", Key: "a"}, dataplane.Subject{Kind: "peer", Key: "b"}
	to := func(port uint32) dataplane.Entries {
		return dataplane.Entries{Flows: []flow.Flow{{Actions: []flow.Action{flow.Output{Port: port}}}}}
	}
	for _, order := range [][]dataplane.Subject{{a, b}, {b, a}} {
		d, sw := newDesired(), newPretend()
		c := newChanges()
		d.replace(a, to(1), c)
		d.replace(b, to(2), c)
		sw.apply(t, c.forSwitch())
		c = newChanges()
		for _, s := range order {
			d.replace(s, dataplane.Entries{}, c)
		}
		sw.apply(t, c.forSwitch())
		if left := sw.text(); len(left) > 0 {
			t.Errorf("%s goes first: the switch still has %q", order[0], left)
		}
	}
}

// A next hop's groups have IDs that follow from its address, and one commit moves or swaps addresses between hosts. The
// switch keeps such groups, and the flows that name them, whichever host's change comes first.
func TestDesiredGroupPassesToAnother(t *testing.T) {
	gw1, gw3 := dataplane.Subject{Kind: "next hop", Key: "gw1"}, dataplane.Subject{Kind: "next hop", Key: "gw3"}
	has := func(number uint32, owner string) dataplane.Entries {
		return withGroup(dataplane.Entries{}, number, uint32(owner[2]), owner)
	}
	for _, test := range []struct {
		name        string
		before, now map[dataplane.Subject]dataplane.Entries
	}{
		{"moves", map[dataplane.Subject]dataplane.Entries{gw1: has(1, "gw1")},
			map[dataplane.Subject]dataplane.Entries{gw1: {}, gw3: has(1, "gw3")}},
		{"moves as it is", map[dataplane.Subject]dataplane.Entries{gw1: has(1, "gw1")},
			map[dataplane.Subject]dataplane.Entries{gw1: {}, gw3: has(1, "gw1")}},
		{"swaps", map[dataplane.Subject]dataplane.Entries{gw1: has(1, "gw1"), gw3: has(2, "gw3")},
			map[dataplane.Subject]dataplane.Entries{gw1: has(2, "gw1"), gw3: has(1, "gw3")}},
		{"moves to one that gives up another", map[dataplane.Subject]dataplane.Entries{gw1: has(1, "gw1"), gw3: has(2, "gw3")},
			map[dataplane.Subject]dataplane.Entries{gw1: {}, gw3: has(1, "gw3")}},
	} {
		for _, order := range [][]dataplane.Subject{{gw1, gw3}, {gw3, gw1}} {
			t.Run(fmt.Sprintf("%s, %s first", test.name, order[0].Key), func(t *testing.T) {
				d, sw := newDesired(), newPretend()
				for _, step := range []map[dataplane.Subject]dataplane.Entries{test.before, test.now} {
					c := newChanges()
					for _, s := range order {
						d.replace(s, step[s], c)
					}
					sw.apply(t, c.forSwitch())
				}
				if diff := cmp.Diff(whatIsAsked(test.now).text(), sw.text()); diff != "" {
					t.Errorf("switch (-asked +has):\n%s", diff)
				}
				wantNothingToDo(t, d, sw)
			})
		}
	}
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
