package model

import (
	"iter"
	"reflect"
	"slices"
	"strings"
)

// Admit judges a request against the stored state, and gives the changes that it makes: with every default and
// allocation filled in, objects before the objects that refer to them, deletes last. Admit itself changes nothing, not
// even s.
//
// An update replaces the spec. A field that a new object may leave out (an address, a VNI, an MTU), and that the update
// leaves out, keeps its stored value; so applying the same file twice changes nothing. A put's Status is ignored.
//
// The error is a [Conflict], or else [Problems]: all problems of the request, but for objects that depend on an object
// with problems.
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

// admission is the state of one call of [Admit].
type admission struct {
	stored   *State
	draft    *draft // the state with the request's changes
	problems Problems
	refused  map[Key]bool // puts with problems, and puts that depend on them
	deleted  map[Key]bool
	missing  map[Key]advice
	chosen   map[VNI]bool // VNIs that subnets of the request fix; subnets are admitted after VPCs
	checks   []func()     // to be made when every put is in the draft

	puts    [][]*put  // by kind
	deletes []*Object // as stored
	ended   []*Object // deleted as a consequence of other changes

	lessors map[string]bool // pools that may have port blocks for hosts that wait
	leased  map[string]bool // port blocks that change
}

// put is an object that the request puts, or that changes as a consequence: as it is stored, if at all, and as it is to
// be.
type put struct {
	before, after *Object
	derived       bool // a consequence of other changes
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

// acceptDeletes takes deleted objects out of the draft.
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

// acceptPuts gives the puts whose own fields are valid, with defaults, by kind.
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

// withDefaults fills in the fields that a put leaves out and that depend on no other object.
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

// changed are the puts that differ from what is stored. The others need no judgement: they were admitted when they were
// stored, and a change that makes them invalid is itself in the request and judged there.
func changed(puts []*put) []*put {
	return slices.DeleteFunc(slices.Clone(puts), func(p *put) bool { return p.action() == None })
}

// accepted are the puts without problems so far.
func (a *admission) accepted(puts []*put) []*put {
	return slices.DeleteFunc(puts, func(p *put) bool { return a.refused[p.key()] })
}

// withParents are the puts whose parent exists. The others are refused.
func (a *admission) withParents(puts []*put, kind string) []*put {
	return a.withAbove(puts, kind, Parent)
}

// withAbove are the puts for which the object exists that above names. The others are refused.
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

// advice says of an object why a request is refused, and what to do.
type advice struct{ reason, remedy string }

// absent gives the advice for a reference to an object that does not exist. A similar name is looked up, which is slow,
// for the first few missing objects only, and the result is kept: thousands of references may be broken.
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

// refuseIfUsed refuses the deletion of an object to which other objects refer after the whole request.
func (a *admission) refuseIfUsed(o *Object) {
	for _, u := range Kinds[kindIndex(o.Kind)].users {
		if names, total := namesOf(u.of(&a.draft.State, o.Name)); total > 0 {
			a.report(o.Key(), "", nil, "is in use: it has "+count(total, u.noun)+": "+names,
				"move or delete "+itOrThem(total)+" first, or in the same request")
		}
	}
}

// namesOf is the names of the first few objects, and how many there are.
func namesOf(objects iter.Seq[*Object]) (names string, total int) {
	var first []string
	for o := range objects {
		if total++; total <= maxNames {
			first = append(first, o.Name)
		}
	}
	return firstFew(first, total), total
}

// changes are the changes that an admitted request makes.
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
