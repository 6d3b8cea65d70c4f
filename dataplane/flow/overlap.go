package flow

import "fmt"

// Overlap is two flows of one table and priority that a packet may match both; which one it takes is up to the switch.
type Overlap struct{ A, B Flow }

func (o Overlap) String() string { return fmt.Sprintf("overlap: %s <> %s", o.A, o.B) }

// Overlaps finds flows that overlap. If there are any, it finds some; where many overlap with many, it does not list
// every pair. It takes time in the number of flows times the number of different sets of masks in a table, not in the
// square of the flows.
func Overlaps(flows []Flow) []Overlap {
	var found []Overlap
	for _, shapes := range byShape(flows) {
		for i, a := range shapes {
			for _, b := range shapes[i:] {
				found = appendOverlaps(found, flows, a, b)
			}
		}
	}
	return found
}

// A shape is the flows of one table and priority whose matches have the same fields and masks.
type shape struct {
	masks Match
	flows []int
}

type tablePriority struct {
	table    uint8
	priority uint16
}

// byShape lists each table's and priority's shapes; all in order of appearance.
func byShape(flows []Flow) [][]*shape {
	var lists [][]*shape
	levels := map[tablePriority]int{}
	shapes := map[Key]*shape{}
	for i, f := range flows {
		level, ok := levels[tablePriority{f.Table, f.Priority}]
		if !ok {
			level = len(lists)
			levels[tablePriority{f.Table, f.Priority}] = level
			lists = append(lists, nil)
		}
		key := f.maskKey()
		if shapes[key] == nil {
			shapes[key] = &shape{masks: f.Match}
			lists[level] = append(lists[level], shapes[key])
		}
		shapes[key].flows = append(shapes[key].flows, i)
	}
	return lists
}

// maskKey is the key with every value zero.
func (f Flow) maskKey() Key {
	var room [256]byte
	b := room[:0]
	for _, t := range f.Match {
		t.Value = Value{}
		b = t.appendOXM(b)
	}
	return Key{f.Table, f.Priority, string(b)}
}

// appendOverlaps looks at what both shapes look at: two flows that agree there overlap.
func appendOverlaps(found []Overlap, flows []Flow, a, b *shape) []Overlap {
	shared := sharedMasks(a.masks, b.masks)
	seen := make(map[string]int, len(a.flows))
	if a != b {
		for _, i := range a.flows {
			seen[valuesUnder(flows[i].Match, shared)] = i
		}
	}
	for _, i := range b.flows {
		key := valuesUnder(flows[i].Match, shared)
		if j, ok := seen[key]; ok {
			found = append(found, Overlap{flows[j], flows[i]})
		} else if a == b {
			seen[key] = i
		}
	}
	return found
}

func sharedMasks(a, b Match) Match {
	var shared Match
	for _, t := range a {
		if u, ok := b.Lookup(t.Field); ok {
			shared = append(shared, Term{Field: t.Field, Mask: t.Mask.And(u.Mask)})
		}
	}
	return shared
}

// valuesUnder is the match's values of the fields in masks, cut to them.
func valuesUnder(m, masks Match) string {
	var room [256]byte
	b := room[:0]
	at := 0
	for _, want := range masks {
		for m[at].Field != want.Field {
			at++
		}
		b = m[at].Value.And(want.Mask).appendTo(b, want.Field.Bytes())
	}
	return string(b)
}
