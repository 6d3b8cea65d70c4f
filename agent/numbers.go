package agent

// numbers gives each owner a number of its own, round robin. A number that an owner has lost is given again only after
// it was flushed: until then, something of its last owner's may be found by it.
type numbers[O comparable] struct {
	most  int          // a number is from 1 to most
	last  int          // the number that was given last
	of    map[O]int    // the number of each owner
	gone  map[int]bool // lost, and not flushed yet
	taken map[int]bool // by an owner, or gone
}

func newNumbers[O comparable](most int) *numbers[O] {
	return &numbers[O]{most: most, of: map[O]int{}, gone: map[int]bool{}, taken: map[int]bool{}}
}

// give makes sure that the owner has a number. added tells that the number is new; ok is false if none is left.
func (n *numbers[O]) give(owner O) (added, ok bool) {
	if n.of[owner] != 0 {
		return false, true
	}
	for i := range n.most {
		if number := (n.last+i)%n.most + 1; !n.taken[number] {
			n.restore(owner, number)
			n.last = number
			return true, true
		}
	}
	return false, false
}

// keep takes the numbers of all other owners, and returns those.
func (n *numbers[O]) keep(owners []O) (lost map[O]int) {
	kept, lost := make(map[O]bool, len(owners)), map[O]int{}
	for _, owner := range owners {
		kept[owner] = true
	}
	for owner, number := range n.of {
		if !kept[owner] {
			lost[owner], n.gone[number] = number, true
			delete(n.of, owner)
		}
	}
	return lost
}

// flushed makes a lost number free.
func (n *numbers[O]) flushed(number int) {
	if n.gone[number] {
		delete(n.gone, number)
		delete(n.taken, number)
	}
}

// restore gives the owner the number that it had in an earlier run, unless another owner has the number now.
func (n *numbers[O]) restore(owner O, number int) {
	if number > 0 && !n.taken[number] && n.of[owner] == 0 {
		n.of[owner], n.taken[number] = number, true
	}
}

// restoreGone notes a number that was lost in an earlier run, unless an owner has the number now.
func (n *numbers[O]) restoreGone(number int) {
	if !n.taken[number] {
		n.gone[number], n.taken[number] = true, true
	}
}
