package agent

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestNumbers(t *testing.T) {
	const most = 3
	for _, tt := range []struct {
		name string
		do   func(*numbers[string])
		of   map[string]int
		gone []int
		full bool // nobody else gets a number
	}{
		{"nobody has one", func(*numbers[string]) {}, map[string]int{}, nil, false},
		{"one for each owner", func(n *numbers[string]) { n.give("a"); n.give("b") }, map[string]int{"a": 1, "b": 2}, nil, false},
		{"an owner keeps its own", func(n *numbers[string]) { n.give("a"); n.give("b"); n.give("a") }, map[string]int{"a": 1, "b": 2}, nil, false},
		{"all are taken", func(n *numbers[string]) { n.give("a"); n.give("b"); n.give("c"); n.give("d") },
			map[string]int{"a": 1, "b": 2, "c": 3}, nil, true},
		{"one is lost, and not flushed", func(n *numbers[string]) { n.give("a"); n.give("b"); n.give("c"); n.keep([]string{"a", "c"}) },
			map[string]int{"a": 1, "c": 3}, []int{2}, true},
		{"an owner that comes back gets another one", func(n *numbers[string]) { n.give("a"); n.keep(nil); n.give("a") },
			map[string]int{"a": 2}, []int{1}, false},
		{"one is flushed", func(n *numbers[string]) {
			n.give("a")
			n.give("b")
			n.give("c")
			n.keep([]string{"a", "c"})
			n.flushed(2)
		},
			map[string]int{"a": 1, "c": 3}, nil, false},
		{"they go round", func(n *numbers[string]) { n.last = 2; n.give("a"); n.give("b") }, map[string]int{"a": 3, "b": 1}, nil, false},
		{"one that has an owner is not flushed", func(n *numbers[string]) { n.give("a"); n.flushed(1); n.give("b") },
			map[string]int{"a": 1, "b": 2}, nil, false},
		{"an earlier run gave a number to two", func(n *numbers[string]) { n.restore("a", 2); n.restore("b", 2); n.restoreGone(2); n.restoreGone(3) },
			map[string]int{"a": 2}, []int{3}, false},
		{"an earlier run gave two, or none, to one", func(n *numbers[string]) { n.restore("a", 2); n.restore("a", 3); n.restore("b", 0) },
			map[string]int{"a": 2}, nil, false},
	} {
		n := newNumbers[string](most)
		tt.do(n)
		if gone := slices.Sorted(maps.Keys(n.gone)); !maps.Equal(n.of, tt.of) || !slices.Equal(gone, tt.gone) {
			t.Errorf("%s: %v, to be flushed %v; want %v, %v", tt.name, n.of, gone, tt.of, tt.gone)
		}
		if _, ok := n.give("x"); ok == tt.full {
			t.Errorf("%s: another owner gets one: %t", tt.name, ok)
		}
	}
}

func TestKeepTellsWhatIsLost(t *testing.T) {
	n := newNumbers[string](3)
	n.give("a")
	n.give("b")
	if lost := n.keep([]string{"b", "c"}); !maps.Equal(lost, map[string]int{"a": 1}) {
		t.Errorf("lost %v", lost)
	}
	if lost := n.keep([]string{"b"}); len(lost) > 0 {
		t.Errorf("then %v", lost)
	}
}

// No two owners ever have one number, none is given again before it was flushed, and the next one is the first behind
// the last that is free; all of that over restarts, by the file.
func TestZoneNumbersOfManyOwners(t *testing.T) {
	owner := rapid.Custom(func(t *rapid.T) zoneOwner {
		return zoneOwner{rapid.SampledFrom([]string{ownerVPC, "endpoint"}).Draw(t, "kind"), rapid.SampledFrom([]string{"1", "2", "3", "4"}).Draw(t, "key")}
	})
	rapid.Check(t, func(t *rapid.T) {
		const most = 6
		z := testZones("")
		z.numbers = newNumbers[zoneOwner](most)
		users, last := map[int]zoneOwner{}, 0 // by number, until it is flushed
		next := func() int {
			for i := range most {
				if n := (last+i)%most + 1; users[n] == (zoneOwner{}) {
					return n
				}
			}
			return 0
		}
		t.Repeat(map[string]func(*rapid.T){
			"give": func(t *rapid.T) {
				o := owner.Draw(t, "owner")
				had, want := z.numbers.of[o], next()
				added, ok := z.numbers.give(o)
				switch got := z.numbers.of[o]; {
				case had != 0 && (added || !ok || got != had):
					t.Fatalf("%s had %d, and has %d", o, had, got)
				case had == 0 && (added != ok || ok != (want != 0) || got != want):
					t.Fatalf("%s gets %d, want %d", o, got, want)
				case added:
					users[got], last = o, got
				}
			},
			"keep": func(t *rapid.T) {
				owners := rapid.SliceOf(owner).Draw(t, "owners")
				z.numbers.keep(owners)
				for o := range z.numbers.of {
					if !slices.Contains(owners, o) {
						t.Fatalf("%s has kept its number", o)
					}
				}
			},
			"flush": func(t *rapid.T) {
				n := rapid.IntRange(1, most).Draw(t, "number")
				if z.numbers.gone[n] {
					delete(users, n)
				}
				z.numbers.flushed(n)
			},
			"translate": func(t *rapid.T) { // some VPCs that have a zone
				if vpc, ok := owner.Draw(t, "owner").vpc(); ok {
					z.giveAddresses(vpcList(vpc), true)
				}
			},
			"restart": func(t *rapid.T) {
				data, err := json.Marshal(z.file())
				var f zonesFile
				if err == nil {
					err = json.Unmarshal(data, &f)
				}
				if err != nil {
					t.Fatal(err)
				}
				z = testZones("")
				z.numbers = newNumbers[zoneOwner](most)
				z.restore(f)
			},
			"": func(t *rapid.T) {
				for o, n := range z.numbers.of {
					if users[n] != o {
						t.Fatalf("%s has %d, by which something of %s is found", o, n, users[n])
					}
				}
				if len(users) != len(z.numbers.of)+len(z.numbers.gone) {
					t.Fatalf("%v have a number and %v are to be flushed, of %v", z.numbers.of, z.numbers.gone, users)
				}
			},
		})
	})
}
