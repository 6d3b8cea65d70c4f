package agent

import (
	"cmp"
	"maps"
	"reflect"
	"slices"

	"github.com/overlane/overlane/dataplane"
	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/ovs"
)

// desired remembers, subject by subject, what the switch was told to contain, so that a change costs what it
// touches and not what there is. It is a cache: whatever it says, a read-back of the switch says it better.
type desired struct {
	subjects map[dataplane.Subject]dataplane.Entries
	flows    map[flow.Key]owned
	groups   map[uint32]ownedGroup
}

// owned is a flow, and who asks for it: several may ask for the same one, and a port, for one, may pass from one
// endpoint to another.
type owned struct {
	flow   flow.Flow
	owners []dataplane.Subject // the last is the one whose form of the flow counts
}

// ownedGroup is a group, and who asks for it: its ID may follow from an address, which passes from one host to another.
type ownedGroup struct {
	group  flow.Group // in the form that the last of the owners wants, by name
	owners []dataplane.Subject
}

// without gives the other owners.
func without(owners []dataplane.Subject, s dataplane.Subject) []dataplane.Subject {
	return slices.DeleteFunc(slices.Clone(owners), func(other dataplane.Subject) bool { return other == s })
}

func newDesired() *desired {
	return &desired{
		subjects: map[dataplane.Subject]dataplane.Entries{},
		flows:    map[flow.Key]owned{},
		groups:   map[uint32]ownedGroup{},
	}
}

// replace gives a subject new entries and notes in c what that means for the switch.
func (d *desired) replace(s dataplane.Subject, now dataplane.Entries, c *changes) {
	old := d.subjects[s]
	if len(now.Flows)+len(now.Groups) == 0 {
		delete(d.subjects, s)
	} else {
		d.subjects[s] = now
	}
	d.replaceFlows(s, old.Flows, now.Flows, c)
	d.replaceGroups(s, old.Groups, now.Groups, c)
}

// replaceFlows removes a flow when nobody asks for it any more.
func (d *desired) replaceFlows(s dataplane.Subject, old, now []flow.Flow, c *changes) {
	keep := make(map[flow.Key]bool, len(now))
	for _, f := range now {
		key := f.Key()
		keep[key] = true
		if have := d.cookie(key); have != f.Cookie() {
			c.put(key, f, have)
		}
		d.flows[key] = owned{f, append(without(d.flows[key].owners, s), s)}
	}
	for _, f := range old {
		key := f.Key()
		if keep[key] || !slices.Contains(d.flows[key].owners, s) {
			continue
		}
		if left := without(d.flows[key].owners, s); len(left) > 0 {
			d.leave(key, left, c)
		} else {
			c.drop(key, d.cookie(key))
			delete(d.flows, key)
		}
	}
}

// leave keeps a flow for the owners that still ask for it, in the form that the last of them wants.
func (d *desired) leave(key flow.Key, owners []dataplane.Subject, c *changes) {
	last := owners[len(owners)-1]
	i := slices.IndexFunc(d.subjects[last].Flows, func(f flow.Flow) bool { return f.Key() == key })
	if i < 0 {
		return
	}
	f := d.subjects[last].Flows[i]
	if have := d.cookie(key); have != f.Cookie() {
		c.put(key, f, have)
	}
	d.flows[key] = owned{f, owners}
}

// cookie is that of the flow with a key, and 0 without one: no flow has it.
func (d *desired) cookie(key flow.Key) uint64 {
	if have, ok := d.flows[key]; ok {
		return have.flow.Cookie()
	}
	return 0
}

// replaceGroups removes a group when nobody asks for it any more.
func (d *desired) replaceGroups(s dataplane.Subject, old, now []flow.Group, c *changes) {
	keep := make(map[uint32]bool, len(now))
	for _, g := range now {
		keep[g.ID] = true
		d.setOwners(g.ID, append(without(d.groups[g.ID].owners, s), s), c)
	}
	for _, g := range old {
		if !keep[g.ID] {
			d.setOwners(g.ID, without(d.groups[g.ID].owners, s), c)
		}
	}
}

// setOwners sets who asks for a group. The owners' names decide whose form counts, so that the order of changes does
// not matter.
func (d *desired) setOwners(id uint32, owners []dataplane.Subject, c *changes) {
	have, known := d.groups[id]
	if len(owners) == 0 {
		if known {
			delete(d.groups, id)
			c.dropGroup(id)
		}
		return
	}
	last := slices.MaxFunc(owners, func(a, b dataplane.Subject) int { return cmp.Compare(a.String(), b.String()) })
	g := d.groupOf(last, id)
	if !known || !reflect.DeepEqual(have.group, g) {
		c.putGroup(g, known)
	}
	d.groups[id] = ownedGroup{g, owners}
}

// groupOf is a group in the form that one of its owners wants.
func (d *desired) groupOf(owner dataplane.Subject, id uint32) flow.Group {
	groups := d.subjects[owner].Groups
	return groups[slices.IndexFunc(groups, func(g flow.Group) bool { return g.ID == id })]
}

// against says what it takes to bring a switch from what it has to what is desired.
func (d *desired) against(have ovs.Contents) *changes {
	c := newChanges()
	installed := make(map[flow.Key]uint64, len(have.Flows))
	for _, f := range have.Flows {
		installed[f.Key] = f.Cookie
		if _, wanted := d.flows[f.Key]; !wanted {
			c.drops[f.Key] = f
		}
	}
	for key, want := range d.flows {
		if cookie, ok := installed[key]; !ok || cookie != want.flow.Cookie() {
			c.puts[key] = want.flow
		}
	}
	c.strange = have.Strange
	if d.anotherVersion(have) {
		c.last = d.giveMeaning(installed)
	}
	d.groupsAgainst(have.Groups, c)
	metersAgainst(have.Meters, c)
	return c
}

// anotherVersion tells whether a switch holds flows of ours, and among them not those of this version that are the same
// on every host.
func (d *desired) anotherVersion(have ovs.Contents) bool {
	if len(have.Flows)+len(have.Strange) == 0 {
		return false
	}
	installed := make(map[flow.Key]uint64, len(have.Flows))
	for _, f := range have.Flows {
		installed[f.Key] = f.Cookie
	}
	return slices.ContainsFunc(d.subjects[dataplane.Subject{}].Flows, func(f flow.Flow) bool {
		cookie, ok := installed[f.Key()]
		return !ok || cookie != f.Cookie()
	})
}

// giveMeaning are the flows that give packets' registers the meaning of this version: the pipeline's own flows, and flows
// that replace one of another version.
func (d *desired) giveMeaning(installed map[flow.Key]uint64) map[flow.Key]bool {
	all := map[flow.Key]bool{}
	for _, f := range d.subjects[dataplane.Subject{}].Flows {
		all[f.Key()] = true
	}
	for key := range d.flows {
		if _, replaces := installed[key]; replaces {
			all[key] = true
		}
	}
	return all
}

func (d *desired) groupsAgainst(have []flow.Group, c *changes) {
	installed := map[uint32]string{}
	for _, g := range have {
		installed[g.ID] = g.String()
		if _, wanted := d.groups[g.ID]; !wanted {
			c.dropGroup(g.ID)
		}
	}
	for id, want := range d.groups {
		if text, ok := installed[id]; !ok || text != want.group.String() {
			c.putGroup(want.group, ok)
		}
	}
}

func metersAgainst(have []flow.Meter, c *changes) {
	installed := map[uint32]flow.Meter{}
	for _, m := range have {
		installed[m.ID] = m
	}
	for _, want := range dataplane.Meters() {
		switch m, ok := installed[want.ID]; {
		case !ok:
			c.addMeters = append(c.addMeters, want)
		case m != want:
			c.modMeters = append(c.modMeters, want)
		}
		delete(installed, want.ID)
	}
	for id := range installed {
		c.delMeters = append(c.delMeters, id)
	}
}

// changes collects what several subjects ask for, so that a key that passes from one to another is replaced and not
// removed.
type changes struct {
	puts      map[flow.Key]flow.Flow
	drops     map[flow.Key]flow.Installed
	before    map[flow.Key]uint64 // cookies in the switch of flows that are put or dropped
	strange   []ovs.StrangeFlow
	addGroups map[uint32]flow.Group
	modGroups map[uint32]flow.Group
	delGroups map[uint32]bool
	last      map[flow.Key]bool // to be put after all others, and together

	addMeters, modMeters []flow.Meter
	delMeters            []uint32
}

func newChanges() *changes {
	return &changes{
		puts: map[flow.Key]flow.Flow{}, drops: map[flow.Key]flow.Installed{}, before: map[flow.Key]uint64{},
		addGroups: map[uint32]flow.Group{}, modGroups: map[uint32]flow.Group{}, delGroups: map[uint32]bool{},
	}
}

// put puts a flow in the place of one with a cookie, or of none.
func (c *changes) put(key flow.Key, f flow.Flow, have uint64) {
	c.note(key, have)
	delete(c.drops, key)
	c.puts[key] = f
}

// drop drops a flow with a cookie. The switch may still have it with another cookie, or not have it yet.
func (c *changes) drop(key flow.Key, have uint64) {
	c.note(key, have)
	delete(c.puts, key)
	if cookie, ok := c.before[key]; ok {
		c.drops[key] = flow.Installed{Key: key, Cookie: cookie}
	}
}

// note keeps the cookie that a flow has in the switch. A flow that these changes put is not there yet.
func (c *changes) note(key flow.Key, have uint64) {
	if _, put := c.puts[key]; !put && have != 0 {
		c.before[key] = have
	}
}

// putGroup puts a group; known tells that it is desired already. The switch still has a group that was to be deleted,
// and does not yet have one that was to be added.
func (c *changes) putGroup(g flow.Group, known bool) {
	_, added := c.addGroups[g.ID]
	if c.delGroups[g.ID] || known && !added {
		delete(c.delGroups, g.ID)
		c.modGroups[g.ID] = g
	} else {
		c.addGroups[g.ID] = g
	}
}

func (c *changes) dropGroup(id uint32) {
	if _, added := c.addGroups[id]; added {
		delete(c.addGroups, id)
		return
	}
	delete(c.modGroups, id)
	c.delGroups[id] = true
}

// addOnly leaves out whatever would take something away, or put something else in its place.
func (c *changes) addOnly(have ovs.Contents) {
	for _, f := range have.Flows {
		delete(c.puts, f.Key)
	}
	clear(c.drops)
	c.strange = nil
	clear(c.modGroups)
	clear(c.delGroups)
	c.delMeters = nil
}

// repairs counts the flows and groups that it changes.
func (c *changes) repairs() (flows, groups int) {
	return max(len(c.puts), len(c.drops)+len(c.strange)), len(c.addGroups) + len(c.modGroups) + len(c.delGroups)
}

func (c *changes) forSwitch() ovs.Change {
	change := ovs.Change{
		AddMeters: c.addMeters, ModMeters: c.modMeters, DelMeters: c.delMeters,
		AddGroups: slices.Collect(maps.Values(c.addGroups)), ModGroups: slices.Collect(maps.Values(c.modGroups)),
		DelGroups: slices.Collect(maps.Keys(c.delGroups)),
		Add:       slices.Collect(maps.Values(c.puts)), Del: slices.Collect(maps.Values(c.drops)), Strange: c.strange,
	}
	// Back to front: a load in several bundles admits packets when the rest is there. If it replaces the pipeline of another
	// version, that works until the last bundle: spoofed packets, for one, are marked and dropped by the same version.
	slices.SortFunc(change.Add, func(a, b flow.Flow) int {
		return cmp.Or(cmp.Compare(c.turn(a), c.turn(b)), cmp.Compare(b.Table, a.Table))
	})
	return change
}

// turn is 1 for a flow that is to be put last, and 0 for others.
func (c *changes) turn(f flow.Flow) int {
	if len(c.last) > 0 && c.last[f.Key()] {
		return 1
	}
	return 0
}
