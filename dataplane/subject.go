package dataplane

import (
	"fmt"
	"maps"
	"slices"

	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/view"
)

// Subject is a thing that flows are compiled for, mostly a row of the view. The zero Subject is the pipeline itself.
type Subject struct {
	Kind string // the name of its compiler: "segment"; empty: the pipeline
	Key  any    // its key in its table of the view, a comparable value
}

func (s Subject) String() string {
	if s == (Subject{}) {
		return "pipeline"
	}
	return fmt.Sprintf("%s %v", s.Kind, s.Key)
}

// compiler makes the flows of one kind of subject.
type compiler interface {
	name() string
	// subjects lists the subjects of a view, in order.
	subjects(v *view.View) []Subject
	// compile gives the entries of the subject with a key: none, if the view does not have it.
	compile(v *view.View, w Wiring, key any) Entries
	// touch adds the subjects whose entries a change may change, including new ones and gone ones.
	touch(c *change, add func(key any))
}

// compilers are the compilers of all kinds, in order. Each has a file of its own, which says what a subject needs in
// the switch, and which parts of view and wiring that depends on.
var compilers = []compiler{
	pipeline{},
	addresses,
	peers,
	segments,
	nextHops,
	blocks,
	publics,
	gateways,
}

// rows is the compiler of a table of the view.
type rows[K comparable, V view.Row[K]] struct {
	kind    string
	table   func(*view.View) view.Table[K, V]
	order   func(a, b K) int
	entries func(v *view.View, w Wiring, row V) Entries
	touched func(c *change, add func(K))
}

func (r rows[K, V]) name() string { return r.kind }

func (r rows[K, V]) subjects(v *view.View) []Subject {
	return inOrder(r.kind, slices.SortedFunc(maps.Keys(r.table(v)), r.order))
}

func (r rows[K, V]) compile(v *view.View, w Wiring, key any) Entries {
	if row, ok := r.table(v)[key.(K)]; ok {
		return r.entries(v, w, row)
	}
	return Entries{}
}

func (r rows[K, V]) touch(c *change, add func(key any)) {
	r.touched(c, func(key K) { add(key) })
}

func inOrder[K comparable](kind string, keys []K) []Subject {
	subjects := make([]Subject, len(keys))
	for i, key := range keys {
		subjects[i] = Subject{kind, key}
	}
	return subjects
}

// Subjects lists the subjects of a view, in a stable order.
func Subjects(v *view.View) (all []Subject) {
	for _, c := range compilers {
		all = append(all, c.subjects(v)...)
	}
	return all
}

// CompileSubject gives the entries of one subject: none, if the view no longer has it.
func CompileSubject(v *view.View, w Wiring, s Subject) Entries {
	for _, c := range compilers {
		if c.name() == s.Kind {
			return c.compile(v, w, s.Key)
		}
	}
	return Entries{}
}

// Compile gives all entries that the switch must contain.
func Compile(v *view.View, w Wiring) Entries {
	var all Entries
	seen := map[flow.Key]uint64{}
	for _, s := range Subjects(v) {
		all.add(CompileSubject(v, w, s), seen)
	}
	return all
}
