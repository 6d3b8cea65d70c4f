package sim

import (
	"slices"

	"github.com/overlane/overlane/dataplane/flow"
)

// table finds the flow of highest priority that takes a packet, by one hash lookup for each set of masks in the table
// ("tuple space search", as OVS does), so that thousands of flows cost no more than a few.
type table struct{ tuples []*tuple }

// tuple is the flows that look at the same bits.
type tuple struct {
	masks flow.Match
	best  uint16 // highest priority
	flows map[string]*flow.Flow
}

// classify splits flows by table. Of flows that take the same packets, the first of the highest priority counts.
func classify(flows []flow.Flow) map[uint8]*table {
	tables := map[uint8]*table{}
	tuples := map[flow.Key]*tuple{}
	for i := range flows {
		f := &flows[i]
		t := tables[f.Table]
		if t == nil {
			t = &table{}
			tables[f.Table] = t
		}
		key := flow.Flow{Table: f.Table, Match: masksOf(f.Match)}.Key()
		if tuples[key] == nil {
			tuples[key] = &tuple{masks: masksOf(f.Match), flows: map[string]*flow.Flow{}}
			t.tuples = append(t.tuples, tuples[key])
		}
		tuples[key].add(f)
	}
	for _, t := range tables {
		slices.SortStableFunc(t.tuples, func(a, b *tuple) int { return int(b.best) - int(a.best) })
	}
	return tables
}

func masksOf(m flow.Match) flow.Match {
	masks := slices.Clone(m)
	for i := range masks {
		masks[i].Value = flow.Value{}
	}
	return masks
}

func (t *tuple) add(f *flow.Flow) {
	var b []byte
	for _, term := range f.Match {
		b = append(b, term.Value.Bytes(term.Field.Bytes())...)
	}
	if old := t.flows[string(b)]; old == nil || old.Priority < f.Priority {
		t.flows[string(b)] = f
	}
	t.best = max(t.best, f.Priority)
}

// lookup returns nil if nothing takes the packet.
func (t *table) lookup(s *state) *flow.Flow {
	if t == nil {
		return nil
	}
	var found *flow.Flow
	for _, tuple := range t.tuples {
		if found != nil && found.Priority >= tuple.best {
			break
		}
		if f := tuple.lookup(s); f != nil && (found == nil || f.Priority > found.Priority) {
			found = f
		}
	}
	return found
}

func (t *tuple) lookup(s *state) *flow.Flow {
	var room [256]byte
	b := room[:0]
	for _, term := range t.masks {
		b = append(b, s.get(term.Field).And(term.Mask).Bytes(term.Field.Bytes())...)
	}
	return t.flows[string(b)]
}
