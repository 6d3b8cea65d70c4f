package model

import "slices"

// draft is a state that one goroutine is still working on.
type draft struct {
	State
	edit *edit
}

func (s *State) draft() *draft {
	d := &draft{State: *s, edit: new(edit)}
	d.kinds = slices.Clone(s.kinds)
	return d
}

// put stores an object, in place of the one with the same key, and updates the indexes.
func (d *draft) put(o *Object) {
	i := kindIndex(o.Kind)
	before, ok := d.kinds[i].get(o.Name)
	if ok {
		before.Spec.unindex(d, before, o)
	}
	d.kinds[i].put(d.edit, o.Name, o)
	o.Spec.index(d, o, before)
}

// remove removes an object, if it exists.
func (d *draft) remove(key Key) {
	i := kindIndex(key.Kind)
	if i < 0 {
		return
	}
	if o, ok := d.kinds[i].get(key.Name); ok {
		o.Spec.unindex(d, o, nil)
		d.kinds[i].remove(d.edit, key.Name)
	}
}

// release removes key from an index if its entry is still name: within one request another object may have taken the
// key over.
func release[K any](d *draft, index *tree[K, string], key K, name string) {
	if holder, ok := index.get(key); ok && holder == name {
		index.remove(d.edit, key)
	}
}
