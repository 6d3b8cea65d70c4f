package view

import (
	"iter"
	"maps"
	"slices"
)

// Row is an element of a table. It contains its own key.
type Row[K comparable] interface{ Key() K }

// Table has the rows of one kind by key. Its zero value is empty and read-only. The tables of a view can be written
// after the first [View.Apply].
type Table[K comparable, V Row[K]] map[K]V

// Put adds a row, or replaces the one with its key.
func (t Table[K, V]) Put(row V) { t[row.Key()] = row }

// Delete removes the row of a key, if there is one.
func (t Table[K, V]) Delete(key K) { delete(t, key) }

// Clone returns an independent table with the same rows.
func (t Table[K, V]) Clone() Table[K, V] { return maps.Clone(t) }

// Equal reports whether two tables have the same rows, which equal compares.
func (t Table[K, V]) Equal(other Table[K, V], equal func(a, b V) bool) bool {
	return maps.EqualFunc(t, other, equal)
}

// Ordered iterates over the rows in the order of their keys.
func (t Table[K, V]) Ordered(compare func(a, b K) int) iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		for _, key := range slices.SortedFunc(maps.Keys(t), compare) {
			if !yield(key, t[key]) {
				return
			}
		}
	}
}

// Delta lists, in no order, the difference to another table: the rows that are new or different there, and the keys of
// the rows that are gone.
func (t Table[K, V]) Delta(next Table[K, V], equal func(a, b V) bool) (rows []V, gone []K) {
	for key, row := range next {
		if old, had := t[key]; !had || !equal(old, row) {
			rows = append(rows, row)
		}
	}
	for key := range t {
		if _, has := next[key]; !has {
			gone = append(gone, key)
		}
	}
	return rows, gone
}

// kind describes the elements of one table: their place in a view and in a delta, their order and their comparison.
type kind[K comparable, V Row[K]] struct {
	table   func(*View) *Table[K, V]
	changes func(*Delta) (rows *[]V, gone *[]K)
	compare func(a, b K) int
	equal   func(a, b V) bool
	receive func(v *View, row *V)                  // prepares a received row for the view; nil: unchanged
	track   func(t *Tracker, k *kind[K, V]) source // makes the rows in the server; nil: the source of another kind does
}

// element is a kind without its type parameters.
type element interface {
	apply(v *View, d, undo *Delta)
	clone(from, to *View)
	same(a, b *View) bool
	collect(v *View, d *Delta)
	sort(d *Delta)
	count(d *Delta) int
	follow(t *Tracker) source
}

// apply changes the rows of a view, and adds the reverse changes to undo.
func (k *kind[K, V]) apply(v *View, d, undo *Delta) {
	rows, gone := k.changes(d)
	table := k.table(v)
	if *table == nil {
		*table = make(Table[K, V], len(*rows))
	}
	if len(*rows)+len(*gone) == 0 && !d.Complete {
		return
	}
	e := edit[K, V]{*table, map[K]*V{}}
	if d.Complete {
		e.keepOnly(*rows)
	}
	for _, key := range *gone {
		e.delete(key)
	}
	for _, row := range *rows {
		if k.receive != nil {
			k.receive(v, &row)
		}
		if old, had := e.table[row.Key()]; !had || !k.equal(old, row) {
			e.put(row)
		}
	}
	k.revert(e, undo)
}

// edit changes a table and remembers the rows before.
type edit[K comparable, V Row[K]] struct {
	table Table[K, V]
	was   map[K]*V // nil: no row
}

func (e edit[K, V]) put(row V) {
	e.remember(row.Key())
	e.table.Put(row)
}

func (e edit[K, V]) delete(key K) {
	e.remember(key)
	e.table.Delete(key)
}

func (e edit[K, V]) keepOnly(rows []V) {
	keep := make(map[K]bool, len(rows))
	for _, row := range rows {
		keep[row.Key()] = true
	}
	for key := range e.table {
		if !keep[key] {
			e.delete(key)
		}
	}
}

func (e edit[K, V]) remember(key K) {
	if _, known := e.was[key]; known {
		return
	}
	if row, had := e.table[key]; had {
		e.was[key] = &row
	} else {
		e.was[key] = nil
	}
}

// revert adds the changes to undo that revert an edit.
func (k *kind[K, V]) revert(e edit[K, V], undo *Delta) {
	rows, gone := k.changes(undo)
	for key, was := range e.was {
		now, has := e.table[key]
		switch {
		case was == nil && has:
			*gone = append(*gone, key)
		case was != nil && (!has || !k.equal(*was, now)):
			*rows = append(*rows, *was)
		}
	}
}

func (k *kind[K, V]) clone(from, to *View) { *k.table(to) = k.table(from).Clone() }
func (k *kind[K, V]) same(a, b *View) bool { return k.table(a).Equal(*k.table(b), k.equal) }

func (k *kind[K, V]) collect(v *View, d *Delta) {
	rows, _ := k.changes(d)
	*rows = slices.Collect(maps.Values(*k.table(v)))
}

func (k *kind[K, V]) sort(d *Delta) {
	rows, gone := k.changes(d)
	slices.SortFunc(*rows, func(a, b V) int { return k.compare(a.Key(), b.Key()) })
	slices.SortFunc(*gone, k.compare)
}

func (k *kind[K, V]) count(d *Delta) int {
	rows, gone := k.changes(d)
	return len(*rows) + len(*gone)
}

// follow returns the source of the rows; nil if the source of another kind has them.
func (k *kind[K, V]) follow(t *Tracker) source {
	if k.track == nil {
		return nil
	}
	return k.track(t, k)
}

// equals compares comparable rows.
func equals[V comparable](a, b V) bool { return a == b }
