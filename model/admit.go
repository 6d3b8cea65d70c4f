package model

import (
	"iter"
	"reflect"
	"slices"
	"strings"
)

// Admit judges a request against all there is, and says what it would change: every default and allocation filled in,
// what is referred to before what refers to it, deletes last. It changes nothing itself, s included.
//
// An update replaces the spec, but what may be left out of a new object (an address, a VNI, an MTU) and is left out of
// the update stays as it is stored; so applying the same file twice changes nothing. A put's Status is ignored.
//
// The error is a [Conflict], or else [Problems]: all of the request's, apart from those of an object that depends on
// another one with problems.
func Admit(s *State, r Request) ([]Change, error) {
	for _, o := range r.Put {
		if err := checkRevision(s, o); err != nil {
			return nil, err
		}
	}
	a := &admission{stored: s, draft: s.draft(), refused: map[Key]bool{}, deleted: map[Key]bool{}, missing: map[Key]advice{}, chosen: map[VNI]bool{}}
	a.deletes = a.acceptDeletes(r)
	a.puts = a.acceptPuts(r)
	for i, kind := range Kinds {
		kind.admit(a, changed(a.puts[i]))
	}
	for _, kind := range Kinds {
		if kind.derive != nil {
			kind.derive(a)
		}
	}
	for _, check := range a.checks {
		check()
	}
	for _, o := range a.deletes {
		a.refuseIfUsed(o)
	}
	if len(a.problems) > 0 {
		return nil, a.problems
	}
	return changes(a.puts, a.deletes, a.ended), nil
}

func checkRevision(s *State, o Object) error {
	if o.Revision == 0 {
		return nil
	}
	c := Conflict{Key: o.Key(), Given: o.Revision}
	if stored := s.Get(o.Key()); stored != nil {
		c.Stored = stored.Revision
	}
	if c.Given != c.Stored {
		return c
	}
	return nil
}

// admission is a request on its way.
type admission struct {
	stored   *State
	draft    *draft // what will be
	problems Problems
	refused  map[Key]bool // puts with problems, and those that depend on one
	deleted  map[Key]bool
	missing  map[Key]advice
	chosen   map[VNI]bool // by subnets of the request, which are settled after the VPCs
	checks   []func()     // to be made when every put is in the draft

	puts    [][]*put  // by kind
	deletes []*Object // as stored
	ended   []*Object // deleted although nobody asked for it

	lessors map[string]bool // pools that may have port blocks for those that wait
	leased  map[string]bool // port blocks that change
}

// put is an object of the request, or one that changes with those: as stored, if it is, and as it shall be.
type put struct {
	before, after *Object
	derived       bool // nobody asked for it
}

func (p *put) key() Key { return p.after.Key() }

func (p *put) action() Action {
	switch p.before {
	case nil:
		return Create
	case p.after:
		return None
	}
	return Update
}

func (a *admission) refuse(p *put, field string, value any, reason, remedy string) {
	a.refused[p.key()] = true
	a.report(p.key(), field, value, reason, remedy)
}

func (a *admission) report(key Key, field string, value any, reason, remedy string) {
	f := findingsOf(key)
	f.add(field, value, reason, remedy)
	a.problems = append(a.problems, f.problems...)
}

func (a *admission) afterPuts(check func()) { a.checks = append(a.checks, check) }

// acceptDeletes takes what is deleted out of the draft.
func (a *admission) acceptDeletes(r Request) []*Object {
	var deletes []*Object
	for _, key := range r.Delete {
		o := a.stored.Get(key)
		kind, known := kindNamed(key.Kind)
		switch {
		case a.deleted[key]:
			a.report(key, "", nil, "is deleted twice in the request", "leave one out")
		case !known:
			a.report(key, "kind", key.Kind, "is not a kind", suggestKind(key.Kind))
		case o == nil:
			reason, remedy := a.absent(key)
			a.report(key, "name", key.Name, strings.TrimPrefix(reason, key.String()+" "), remedy)
		case kind.Derived:
			a.report(key, "", nil, kind.derived.reason, kind.derived.remedy)
		default:
			a.draft.remove(key)
			deletes = append(deletes, o)
		}
		a.deleted[key] = true
	}
	return deletes
}

// acceptPuts are the puts whose own fields are right, completed, by kind.
func (a *admission) acceptPuts(r Request) [][]*put {
	puts := make([][]*put, len(Kinds))
	seen := make(map[Key]bool, len(r.Put))
	for i := range r.Put {
		o := &r.Put[i]
		if problems := a.checkPut(o, seen[o.Key()]); len(problems) > 0 {
			a.problems = append(a.problems, problems...)
			a.refused[o.Key()] = true
		} else {
			k := kindIndex(o.Kind)
			puts[k] = append(puts[k], a.withDefaults(o))
			if reserve := Kinds[k].reserve; reserve != nil {
				reserve(a, o.Spec)
			}
		}
		seen[o.Key()] = true
	}
	return puts
}

func (a *admission) checkPut(o *Object, again bool) Problems {
	f := findingsOf(Key{o.Kind, clip(o.Name)})
	kind, ok := kindNamed(o.Kind)
	switch {
	case !ok:
		f.add("kind", o.Kind, "is not a kind", suggestKind(o.Kind))
	case again:
		f.add("", nil, "is given twice in the request", "leave one out")
	case a.deleted[o.Key()]:
		f.add("", nil, "is both put and deleted in the request", "do one after the other")
	case o.Spec == nil || reflect.TypeOf(o.Spec) != reflect.TypeOf(kind.New()) || reflect.ValueOf(o.Spec).IsNil():
		f.add("spec", nil, "is missing, or is another kind's", "give the spec of "+kind.Name)
	default:
		return append(kind.CheckName(o.Name), o.Spec.Check(o.Name)...)
	}
	return f.problems
}

// complete fills in what the put leaves out, as far as that needs no other object.
func (a *admission) withDefaults(o *Object) *put {
	p := &put{before: a.stored.Get(o.Key()), after: &Object{Kind: o.Kind, Name: o.Name, Spec: o.Spec.copy()}}
	if p.before == nil {
		p.after.Spec.setDefaults(nil)
		return p
	}
	p.after.Revision = p.before.Revision
	p.after.Spec.setDefaults(p.before.Spec)
	if reflect.DeepEqual(p.before.Spec, p.after.Spec) {
		p.after = p.before
	}
	return p
}

// changed are the puts that ask for something new. The others need no judging: they were admitted when they were stored,
// and whatever would make them wrong now is in the request, and is judged there.
func changed(puts []*put) []*put {
	return slices.DeleteFunc(slices.Clone(puts), func(p *put) bool { return p.action() == None })
}

// accepted are the puts without problems so far.
func (a *admission) accepted(puts []*put) []*put {
	return slices.DeleteFunc(puts, func(p *put) bool { return a.refused[p.key()] })
}

// withParents are the puts whose parent is there.
func (a *admission) withParents(puts []*put, kind string) []*put {
	return a.withAbove(puts, kind, Parent)
}

// withAbove are the puts for which that object is there which above names.
func (a *admission) withAbove(puts []*put, kind string, above func(string) string) []*put {
	for _, p := range puts {
		parent := Key{kind, above(p.after.Name)}
		switch {
		case a.refused[parent]:
			a.refused[p.key()] = true
		case a.draft.Get(parent) == nil:
			reason, remedy := a.absent(parent)
			a.refuse(p, "name", p.after.Name, reason, remedy)
		}
	}
	return a.accepted(puts)
}

// advice is what to say of an object that is not there.
type advice struct{ reason, remedy string }

// absent says so of an object that somebody refers to. What was meant is looked for in a few cases only, and kept: that is
// slow, and thousands may be missing, or refer to one that is.
func (a *admission) absent(key Key) (reason, remedy string) {
	if said, ok := a.missing[key]; ok {
		return said.reason, said.remedy
	}
	said := advice{key.String() + " does not exist", "create it first, or in the same request"}
	if a.deleted[key] {
		said = advice{key.String() + " is deleted in the same request", "keep it, or name another one"}
	} else if len(a.missing) < 10 {
		var names []string
		for o := range a.draft.List(key.Kind) {
			names = append(names, o.Name)
		}
		said.remedy = suggest(key.Name, names, said.remedy)
	}
	a.missing[key] = said
	return said.reason, said.remedy
}

// unused refuses the deletion of what others still refer to when everything else is done.
func (a *admission) refuseIfUsed(o *Object) {
	for _, u := range Kinds[kindIndex(o.Kind)].users {
		if names, total := namesOf(u.of(&a.draft.State, o.Name)); total > 0 {
			a.report(o.Key(), "", nil, "is in use: it has "+count(total, u.noun)+": "+names,
				"move or delete "+itOrThem(total)+" first, or in the same request")
		}
	}
}

// naming is the names of the first few objects, and how many there are.
func namesOf(objects iter.Seq[*Object]) (names string, total int) {
	var first []string
	for o := range objects {
		if total++; total <= maxNames {
			first = append(first, o.Name)
		}
	}
	return firstFew(first, total), total
}

// changes are what an admitted request comes to.
func changes(puts [][]*put, deletes, ended []*Object) []Change {
	var cs []Change
	for _, p := range slices.Concat(puts...) {
		cs = append(cs, Change{Action: p.action(), Before: p.before, After: p.after, Derived: p.derived})
	}
	kept := len(cs)
	for _, o := range deletes {
		cs = append(cs, Change{Action: Delete, Before: o})
	}
	for _, o := range ended {
		cs = append(cs, Change{Action: Delete, Before: o, Derived: true})
	}
	slices.SortStableFunc(cs[kept:], func(x, y Change) int { return kindIndex(y.Before.Kind) - kindIndex(x.Before.Kind) })
	return cs
}
