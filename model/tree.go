package model

import "iter"

// tree is an ordered map that an assignment copies, in constant time: nodes are shared and immutable, except for the
// edit that created them. It counts its nodes, so that a gap in a sequence of keys is found without a walk. A
// weight-balanced tree with the parameters of Hirai and Yamamoto, "Balancing weight-balanced trees" (2011).
type tree[K, V any] struct {
	root    *node[K, V]
	compare func(a, b K) int
}

type node[K, V any] struct {
	key         K
	value       V
	left, right *node[K, V]
	size        int
	made        *edit // the edit that created the node; only that edit may modify it in place
}

// edit marks the nodes that one writer created. The writer uses it until it publishes the tree.
type edit struct{ _ byte }

// These are the parameters: a sibling weighs at most heavy times the other, and a rotation is a double one when the
// inner grandchild weighs double or more of the outer.
const (
	heavy  = 3
	double = 2
)

func (t tree[K, V]) len() int { return t.root.len() }

func (n *node[K, V]) len() int {
	if n == nil {
		return 0
	}
	return n.size
}

func (t tree[K, V]) get(key K) (value V, ok bool) {
	for n := t.root; n != nil; {
		switch c := t.compare(key, n.key); {
		case c < 0:
			n = n.left
		case c > 0:
			n = n.right
		default:
			return n.value, true
		}
	}
	return value, false
}

// rank is the number of keys below key.
func (t tree[K, V]) rank(key K) int {
	rank := 0
	for n := t.root; n != nil; {
		if t.compare(n.key, key) < 0 {
			rank += n.left.len() + 1
			n = n.right
		} else {
			n = n.left
		}
	}
	return rank
}

// at is the entry of that rank; ok is false if there are fewer.
func (t tree[K, V]) at(rank int) (key K, value V, ok bool) {
	if rank < 0 {
		return key, value, false
	}
	for n := t.root; n != nil; {
		switch below := n.left.len(); {
		case rank < below:
			n = n.left
		case rank == below:
			return n.key, n.value, true
		default:
			rank -= below + 1
			n = n.right
		}
	}
	return key, value, false
}

// from goes over the entries at key and above, in order.
func (t tree[K, V]) from(key K) iter.Seq2[K, V] {
	return func(yield func(K, V) bool) { t.walk(t.root, &key, yield) }
}

// all goes over every entry, in order.
func (t tree[K, V]) all() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) { t.walk(t.root, nil, yield) }
}

func (t tree[K, V]) walk(n *node[K, V], from *K, yield func(K, V) bool) bool {
	if n == nil {
		return true
	}
	if from != nil && t.compare(n.key, *from) < 0 {
		return t.walk(n.right, from, yield)
	}
	return t.walk(n.left, from, yield) && yield(n.key, n.value) && t.walk(n.right, nil, yield)
}

func (t *tree[K, V]) put(e *edit, key K, value V) { t.root = t.insert(e, t.root, key, value) }

func (t *tree[K, V]) insert(e *edit, n *node[K, V], key K, value V) *node[K, V] {
	if n == nil {
		return &node[K, V]{key: key, value: value, size: 1, made: e}
	}
	n = n.own(e)
	switch c := t.compare(key, n.key); {
	case c < 0:
		n.left = t.insert(e, n.left, key, value)
	case c > 0:
		n.right = t.insert(e, n.right, key, value)
	default:
		n.key, n.value = key, value
		return n
	}
	return n.balance(e)
}

// remove removes key, if the tree has it.
func (t *tree[K, V]) remove(e *edit, key K) {
	if _, ok := t.get(key); ok {
		t.root = t.delete(e, t.root, key)
	}
}

func (t *tree[K, V]) delete(e *edit, n *node[K, V], key K) *node[K, V] {
	switch c := t.compare(key, n.key); {
	case c < 0:
		n = n.own(e)
		n.left = t.delete(e, n.left, key)
	case c > 0:
		n = n.own(e)
		n.right = t.delete(e, n.right, key)
	default:
		return join(e, n.left, n.right)
	}
	return n.balance(e)
}

// join makes one tree of two, every key of left being below every key of right.
func join[K, V any](e *edit, left, right *node[K, V]) *node[K, V] {
	if left == nil {
		return right
	}
	if right == nil {
		return left
	}
	first, rest := takeFirst(e, right)
	first = first.own(e)
	first.left, first.right = left, rest
	return first.balance(e)
}

func takeFirst[K, V any](e *edit, n *node[K, V]) (first, rest *node[K, V]) {
	if n.left == nil {
		return n, n.right
	}
	n = n.own(e)
	first, n.left = takeFirst(e, n.left)
	return first, n.balance(e)
}

// own is the node itself if the edit made it, else a copy.
func (n *node[K, V]) own(e *edit) *node[K, V] {
	if n.made == e {
		return n
	}
	mine := *n
	mine.made = e
	return &mine
}

// balance sets the size of an own node, and restores the balance after one key went in or out below it.
func (n *node[K, V]) balance(e *edit) *node[K, V] {
	l, r := n.left.len()+1, n.right.len()+1
	switch {
	case r > heavy*l:
		n.right = n.right.own(e)
		if n.right.left.len()+1 >= double*(n.right.right.len()+1) {
			n.right = n.right.rotateRight(e)
		}
		return n.rotateLeft(e)
	case l > heavy*r:
		n.left = n.left.own(e)
		if n.left.right.len()+1 >= double*(n.left.left.len()+1) {
			n.left = n.left.rotateLeft(e)
		}
		return n.rotateRight(e)
	}
	n.size = l + r - 1
	return n
}

// rotateLeft lifts the right child of an own node above it.
func (n *node[K, V]) rotateLeft(e *edit) *node[K, V] {
	top := n.right.own(e)
	n.right, top.left = top.left, n
	n.resize()
	top.resize()
	return top
}

// rotateRight lifts the left child of an own node above it.
func (n *node[K, V]) rotateRight(e *edit) *node[K, V] {
	top := n.left.own(e)
	n.left, top.right = top.right, n
	n.resize()
	top.resize()
	return top
}

func (n *node[K, V]) resize() { n.size = n.left.len() + n.right.len() + 1 }
