package dataplane

import (
	"iter"
	"maps"
	"slices"

	"github.com/overlane/overlane/internal/same"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/view"
)

// Input is what flows are compiled from.
type Input struct {
	View   *view.View
	Wiring Wiring
}

// Before is the input before a change. It holds the difference from the input of now, so that a small change of a large
// view costs little.
type Before struct {
	Undo   view.Delta // turns the view of now into the one before, as [view.View.Apply] returns it
	Wiring Wiring
}

// Touched lists, in no order, the subjects whose entries a change of the input may change, including new ones and gone
// ones. It may list too many, but never too few. If all is true, the change may concern every subject, and subjects is
// empty. A caller may collect the subjects of several changes and compile them once, at the end.
func Touched(before Before, now Input) (subjects []Subject, all bool) {
	if affectsAll(before.Wiring, now.Wiring) {
		return nil, true
	}
	c := newChange(before, now)
	seen := map[Subject]bool{}
	for _, of := range compilers {
		of.touch(c, func(key any) {
			if s := (Subject{of.name(), key}); !seen[s] {
				seen[s] = true
				subjects = append(subjects, s)
			}
		})
	}
	return subjects, false
}

// affectsAll reports whether two wirings differ in a part that the flows of most subjects contain.
func affectsAll(a, b Wiring) bool {
	return a.TunnelPort != b.TunnelPort || a.UDPPort != b.UDPPort || a.SNATPort != b.SNATPort ||
		a.UpstreamPort != b.UpstreamPort || a.UnderlayPort != b.UnderlayPort
}

// change is a change of the input, as compilers look at it: the input before and now, and the keys of the parts that
// differ.
type change struct {
	before Before
	now    Input

	peers        map[string]bool // new, gone, or with another VTEP
	gateways     map[model.VNI]bool
	hops         map[string]bool // next hops, by host
	ports        map[view.AddressKey]bool
	translations map[model.VNI]bool // VPCs with another zone or address
	bfd          map[string]bool    // tunnels, by host
	edges        map[string]bool
}

func newChange(before Before, now Input) *change {
	undo, v := &before.Undo, now.View
	c := &change{
		before: before, now: now,
		gateways:     keys(undo.Gateways, undo.GoneGateways),
		hops:         keys(undo.NextHops, undo.GoneNextHops),
		ports:        differing(before.Wiring.Ports, now.Wiring.Ports),
		translations: differing(before.Wiring.Translations, now.Wiring.Translations),
		bfd:          differing(before.Wiring.BFDPorts, now.Wiring.BFDPorts),
		edges:        differing(before.Wiring.EdgePorts, now.Wiring.EdgePorts),
		peers:        map[string]bool{},
	}
	maps.Copy(c.translations, differing(before.Wiring.VPCZones, now.Wiring.VPCZones))
	for was, is := range changed(undo.Peers, undo.GonePeers, v.Peers) {
		if was == nil || is == nil || was.VTEP != is.VTEP {
			c.peers[either(was, is).Host] = true
		}
	}
	return c
}

// changed iterates over the rows that undo changes, as they were and as they are. was is nil for a new row, and is for
// one that is gone.
func changed[K comparable, V view.Row[K]](undo []V, undoGone []K, now view.Table[K, V]) iter.Seq2[*V, *V] {
	return func(yield func(was, is *V) bool) {
		for _, was := range undo {
			is, has := now[was.Key()]
			if has && !yield(&was, &is) || !has && !yield(&was, nil) {
				return
			}
		}
		for _, key := range undoGone {
			if is, has := now[key]; has && !yield(nil, &is) {
				return
			}
		}
	}
}

// either gives the row as it is or, if it is gone, as it was.
func either[V any](was, is *V) V {
	if is != nil {
		return *is
	}
	return *was
}

// keys are the keys of all rows that undo changes.
func keys[K comparable, V view.Row[K]](undo []V, undoGone []K) map[K]bool {
	all := make(map[K]bool, len(undo)+len(undoGone))
	for _, row := range undo {
		all[row.Key()] = true
	}
	for _, key := range undoGone {
		all[key] = true
	}
	return all
}

// differing are the keys of one map only, and the keys with different values.
func differing[K, V comparable](a, b map[K]V) map[K]bool {
	all := map[K]bool{}
	if same.Map(a, b) { // as it mostly is
		return all
	}
	for key, value := range a {
		if other, has := b[key]; !has || other != value {
			all[key] = true
		}
	}
	for key := range b {
		if _, had := a[key]; !had {
			all[key] = true
		}
	}
	return all
}

func addAll[K comparable](add func(K), keys map[K]bool) {
	for key := range maps.Keys(keys) {
		add(key)
	}
}

// anyOf reports whether one of the names is among the changed ones.
func anyOf(changed map[string]bool, names []string) bool {
	return len(changed) > 0 && slices.ContainsFunc(names, func(name string) bool { return changed[name] })
}

// affectsPublic reports whether the change may concern a public address of any VPC.
func (c *change) affectsPublic() bool {
	return len(c.gateways)+len(c.translations)+len(c.peers)+len(c.hops) > 0
}

// affects reports whether the change may concern the public addresses of a VPC's endpoints on a host.
func (c *change) affects(vpc model.VNI, host string) bool {
	return len(c.hops) > 0 || c.gateways[vpc] || c.translations[vpc] || c.peers[host]
}
