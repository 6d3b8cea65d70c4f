package view

import "github.com/overlane/overlane/model"

// source has the rows of one kind for a tracker: it knows which rows a commit has changed, and which rows a host sees.
type source interface {
	// load makes all rows of the state.
	load(t *Tracker)
	// touch marks the rows that a changed object may change.
	touch(t *Tracker, key model.Key, r *touched)
	// update makes the marked rows anew.
	update(t *Tracker, r *touched)
	// tell adds the rows that are new or different for a host, and the keys of the rows that are gone for it.
	tell(t *Tracker, n *news)
	// settle ends a commit, after all hosts have been told its changes.
	settle()
}

// derived is the part of a source whose rows are made for each host, from the rows of other sources.
type derived struct{}

func (derived) load(*Tracker)                       {}
func (derived) touch(*Tracker, model.Key, *touched) {}
func (derived) update(*Tracker, *touched)           {}
func (derived) settle()                             {}

// news are the changes of one commit for one host.
type news struct {
	*touched
	*subscription
	delta *Delta
	vpcs  map[string]seen // VPCs that the commit has touched, and that the host saw or sees
}

// change is a row before and after a commit; nil if there was or is none.
type change[V any] struct{ was, now *V }

// scoped is a source whose rows are each made of one object of a VPC. It has each row once, for all hosts.
type scoped[K comparable, V Row[K]] struct {
	*kind[K, V]
	object string // the kind of the object
	// make makes the row of an object; false: the object does not exist, or has no row.
	make func(t *Tracker, name string) (row V, ok bool)
	// needs marks the objects whose rows depend on another object that has changed; nil: none do.
	needs func(t *Tracker, key model.Key, r *touched, mark func(name string))
	// sees reports whether a host sees a row, given what it sees of the row's VPC.
	sees func(v visibility, viewer string, row V) bool

	marked  map[string]bool                 // objects whose rows may have changed
	rows    map[string]map[string]V         // by VPC and object
	changed map[string]map[string]change[V] // in this commit, by VPC and object
}

func (s *scoped[K, V]) touch(t *Tracker, key model.Key, r *touched) {
	if key.Kind == s.object {
		s.mark(key.Name)
	}
	if s.needs != nil {
		s.needs(t, key, r, s.mark)
	}
}

func (s *scoped[K, V]) load(t *Tracker) {
	for o := range t.state.List(s.object) {
		s.mark(o.Name)
	}
}

func (s *scoped[K, V]) mark(name string) {
	if s.marked == nil {
		s.marked = map[string]bool{}
	}
	s.marked[name] = true
}

// rowVPC is the VPC of an object. A gateway has the name of its VPC.
func rowVPC(name string) string {
	if parent := model.Parent(name); parent != "" {
		return parent
	}
	return name
}

func (s *scoped[K, V]) update(t *Tracker, r *touched) {
	for name := range s.marked {
		was, had := s.rows[rowVPC(name)][name]
		now, has := s.make(t, name)
		if had == has && (!has || s.equal(was, now)) {
			continue
		}
		r.vpc(rowVPC(name))
		var c change[V]
		if had {
			c.was = &was
			delete(s.rows[rowVPC(name)], name)
		}
		if has {
			c.now = &now
			put(&s.rows, rowVPC(name), name, now)
		}
		put(&s.changed, rowVPC(name), name, c)
	}
	clear(s.marked)
}

func put[V any](m *map[string]map[string]V, vpc, name string, value V) {
	if *m == nil {
		*m = map[string]map[string]V{}
	}
	if (*m)[vpc] == nil {
		(*m)[vpc] = map[string]V{}
	}
	(*m)[vpc][name] = value
}

func (s *scoped[K, V]) tell(_ *Tracker, n *news) {
	for vpc, seen := range n.vpcs {
		for _, c := range s.changed[vpc] {
			s.tellRow(n, seen, c)
		}
		if seen.was == seen.now {
			continue
		}
		for name, row := range s.rows[vpc] {
			if _, told := s.changed[vpc][name]; !told {
				s.tellRow(n, seen, change[V]{&row, &row})
			}
		}
	}
}

// tellRow tells a host a row that has changed, or that it now sees or no longer sees.
func (s *scoped[K, V]) tellRow(n *news, seen seen, c change[V]) {
	rows, gone := s.changes(n.delta)
	saw := c.was != nil && s.sees(seen.was, n.host, *c.was)
	sees := c.now != nil && s.sees(seen.now, n.host, *c.now)
	if saw && (!sees || (*c.was).Key() != (*c.now).Key()) {
		*gone = append(*gone, (*c.was).Key())
	}
	if sees && (!saw || c.was != c.now) {
		*rows = append(*rows, *c.now)
	}
}

func (s *scoped[K, V]) settle() { clear(s.changed) }

// shared is a source whose keys may pass from one object to another within a commit. Such a key is not gone.
type shared[K comparable, V Row[K]] struct{ scoped[K, V] }

func (s *shared[K, V]) tell(t *Tracker, n *news) {
	s.scoped.tell(t, n)
	rows, gone := s.changes(n.delta)
	if len(*gone) == 0 || len(*rows) == 0 {
		return
	}
	kept := map[K]bool{}
	for _, row := range *rows {
		kept[row.Key()] = true
	}
	left := (*gone)[:0]
	for _, key := range *gone {
		if !kept[key] {
			left = append(left, key)
		}
	}
	*gone = left
}

// update makes all rows of a VPC anew if its gateway is new, gone or has another VNI, since the rows contain the VNI.
func (s *shared[K, V]) update(t *Tracker, r *touched) {
	for vpc, c := range t.gateways.changed {
		if g := c[vpc]; g.was != nil && g.now != nil && g.was.VPC == g.now.VPC {
			continue
		}
		for o := range t.state.Under(s.object, vpc) {
			s.mark(o.Name)
		}
	}
	s.scoped.update(t, r)
}
