package flow

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Soundness says what is wrong with flows and groups as a whole: a flow or group that its Check refuses, a goto,
// resubmit or ct to a table without a miss flow (priority 0, matching everything), a resubmit that comes back to its
// own table, two flows that overlap, an unknown or doubled group. Tables that names has must have a miss too, if they
// have any flow; nil asks that only of tables that are gone to, and of table 0. The error joins all that was found.
func Soundness(flows []Flow, groups []Group, names TableNames) error {
	s := soundness{names: names, groups: map[uint32]bool{}, used: map[uint8]bool{}, misses: map[uint8]bool{}, next: map[node]map[node]bool{}}
	s.checkGroups(groups)
	s.checkFlows(flows)
	s.checkMisses()
	s.checkLoops()
	for _, o := range Overlaps(flows) {
		s.complain("%s", o)
	}
	return errors.Join(s.problems...)
}

type soundness struct {
	names    TableNames
	groups   map[uint32]bool
	used     map[uint8]bool
	misses   map[uint8]bool
	next     map[node]map[node]bool
	problems []error
}

// node is a table, or a group.
type node struct {
	group bool
	id    uint32
}

func inTable(t uint8) node  { return node{false, uint32(t)} }
func inGroup(g uint32) node { return node{true, g} }

func (s *soundness) name(n node) string {
	if n.group {
		return fmt.Sprintf("group %d", n.id)
	}
	return "table " + s.names.table(uint8(n.id))
}

func (s *soundness) complain(format string, args ...any) {
	s.problems = append(s.problems, fmt.Errorf(format, args...))
}

func (s *soundness) checkGroups(groups []Group) {
	for _, g := range groups {
		if err := g.Check(); err != nil {
			s.complain("%w%s", err, forOwner(g.Owner))
		}
		if s.groups[g.ID] {
			s.complain("group %d%s: defined twice", g.ID, forOwner(g.Owner))
		}
		s.groups[g.ID] = true
	}
	for _, g := range groups {
		for _, b := range g.Buckets {
			for _, id := range s.follow(inGroup(g.ID), b.Actions) {
				s.complain("group %d%s: no group %d", g.ID, forOwner(g.Owner), id)
			}
		}
	}
}

func (s *soundness) describe(f Flow) string { return s.names.Flow(f) + forOwner(f.Owner) }

func forOwner(owner string) string {
	if owner == "" {
		return ""
	}
	return " (" + owner + ")"
}

func (s *soundness) checkFlows(flows []Flow) {
	for _, f := range flows {
		s.used[f.Table] = true
		if err := f.Check(); err != nil {
			s.complain("%s: %w", s.describe(f), err)
		}
		if f.Priority == 0 && len(f.Match) == 0 {
			s.misses[f.Table] = true
		}
		for _, id := range s.follow(inTable(f.Table), f.Actions) {
			s.complain("%s: no group %d", s.describe(f), id)
		}
	}
}

// follow notes where actions lead to, and returns the groups that they name in vain.
func (s *soundness) follow(from node, list []Action) (missing []uint32) {
	if s.next[from] == nil {
		s.next[from] = map[node]bool{}
	}
	for _, a := range list {
		switch a := a.(type) {
		case Goto:
			s.next[from][inTable(a.Table)] = true
		case Resubmit:
			s.next[from][inTable(a.Table)] = true
		case CT:
			if a.Table != 0 {
				s.next[from][inTable(a.Table)] = true
			}
		case ToGroup:
			s.next[from][inGroup(a.ID)] = true
			if !s.groups[a.ID] {
				missing = append(missing, a.ID)
			}
		}
	}
	return missing
}

// checkMisses looks at table 0, named tables and tables that are led to.
func (s *soundness) checkMisses() {
	tables := map[node]bool{inTable(0): true}
	for t := range s.names {
		if s.used[t] {
			tables[inTable(t)] = true
		}
	}
	for _, to := range s.next {
		maps.Copy(tables, to)
	}
	for _, n := range sortedNodes(tables) {
		if !n.group && !s.misses[uint8(n.id)] {
			s.complain("%s: no miss flow", s.name(n))
		}
	}
}

// checkLoops finds what leads back to itself, by resubmits or groups.
func (s *soundness) checkLoops() {
	for _, n := range sortedNodes(s.next) {
		if s.reaches(n, n, map[node]bool{}) {
			s.complain("%s: leads back to itself", s.name(n))
		}
	}
}

func (s *soundness) reaches(from, to node, seen map[node]bool) bool {
	for next := range s.next[from] {
		if next == to {
			return true
		}
		if !seen[next] {
			seen[next] = true
			if s.reaches(next, to, seen) {
				return true
			}
		}
	}
	return false
}

func sortedNodes[V any](set map[node]V) []node {
	return slices.SortedFunc(maps.Keys(set), func(a, b node) int {
		switch {
		case a.group != b.group && b.group:
			return -1
		case a.group != b.group:
			return 1
		}
		return cmp.Compare(a.id, b.id)
	})
}
