package model

import (
	"cmp"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// A tree must do what a sorted map does, and a copy must never see what is done to the other one.
func TestTreeAgainstMap(t *testing.T) {
	type version struct {
		tree tree[int, int]
		want map[int]int
	}
	rapid.Check(t, func(t *rapid.T) {
		now := version{tree[int, int]{compare: cmp.Compare[int]}, map[int]int{}}
		var old []version
		e := new(edit)
		for range rapid.IntRange(0, 200).Draw(t, "steps") {
			key := rapid.IntRange(0, 100).Draw(t, "key")
			switch rapid.SampledFrom([]string{"put", "put", "remove", "copy"}).Draw(t, "what") {
			case "put":
				value := rapid.Int().Draw(t, "value")
				now.tree.put(e, key, value)
				now.want[key] = value
			case "remove":
				now.tree.remove(e, key)
				delete(now.want, key)
			case "copy":
				old = append(old, version{now.tree, maps.Clone(now.want)})
				e = new(edit)
			}
		}
		for _, v := range append(old, now) {
			sameAsMap(t, v.tree, v.want)
		}
	})
}

func sameAsMap(t *rapid.T, tree tree[int, int], want map[int]int) {
	keys := slices.Sorted(maps.Keys(want))
	if got := maps.Collect(tree.all()); !maps.Equal(got, want) {
		t.Fatalf("has %v, want %v", got, want)
	}
	for i, k := range keys {
		if got, value, ok := tree.at(i); got != k || value != want[k] || !ok {
			t.Fatalf("at(%d) is %d, want %d", i, got, k)
		}
	}
	for k := -1; k <= 101; k++ {
		rank, _ := slices.BinarySearch(keys, k)
		if got := tree.rank(k); got != rank {
			t.Fatalf("rank(%d) is %d, want %d", k, got, rank)
		}
		var from []int
		for key := range tree.from(k) {
			from = append(from, key)
		}
		if !slices.Equal(from, keys[rank:]) {
			t.Fatalf("from(%d) is %v, want %v", k, from, keys[rank:])
		}
	}
	balanced(t, tree.root)
}

func balanced(t *rapid.T, n *node[int, int]) {
	if n == nil {
		return
	}
	l, r := n.left.len()+1, n.right.len()+1
	if n.size != l+r-1 || l > heavy*r || r > heavy*l {
		t.Fatalf("node %d of size %d has %d to the left and %d to the right", n.key, n.size, l-1, r-1)
	}
	balanced(t, n.left)
	balanced(t, n.right)
}

func TestTreeStopsWhenAsked(t *testing.T) {
	tree := tree[int, int]{compare: cmp.Compare[int]}
	for i := range 10 {
		tree.put(new(edit), i, i)
	}
	var seen []int
	for k := range tree.from(3) {
		if seen = append(seen, k); len(seen) == 2 {
			break
		}
	}
	if !slices.Equal(seen, []int{3, 4}) {
		t.Errorf("saw %v, want [3 4]", seen)
	}
}
