package flow

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Soundness says what is wrong with flows and groups as a whole: a flow or group that its Check refuses, a goto or resubmit to a table
// without a miss flow (priority 0, matching everything), a resubmit that comes back to its own table, two flows that overlap, an unknown or
// doubled group. Tables that names has must have a miss too; nil asks that only of tables that are gone to, and of table 0.
// The error joins all that was found.
func Soundness(flows []Flow, groups []Group, names TableNames) error {
	s := soundness{names: names, groups: map[uint32]bool{}, misses: map[uint8]bool{}, targets: map[uint8]map[uint8]bool{}}
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
	misses   map[uint8]bool
	targets  map[uint8]map[uint8]bool // table -> tables that it leads to
	problems []error
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
			for _, id := range s.follow(bucketTable, b.Actions) {
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

// bucketTable stands for "any table" as the place from which a bucket resubmits.
const bucketTable uint8 = 255

func (s *soundness) checkFlows(flows []Flow) {
	for _, f := range flows {
		if err := f.Check(); err != nil {
			s.complain("%s: %w", s.describe(f), err)
		}
		if f.Priority == 0 && len(f.Match) == 0 {
			s.misses[f.Table] = true
		}
		for _, id := range s.follow(f.Table, f.Actions) {
			s.complain("%s: no group %d", s.describe(f), id)
		}
	}
}

// follow notes the tables that actions lead to, and returns the groups that they name in vain.
func (s *soundness) follow(from uint8, list []Action) (missing []uint32) {
	if s.targets[from] == nil {
		s.targets[from] = map[uint8]bool{}
	}
	for _, a := range list {
		switch a := a.(type) {
		case Goto:
			s.targets[from][a.Table] = true
		case Resubmit:
			s.targets[from][a.Table] = true
		case ToGroup:
			if !s.groups[a.ID] {
				missing = append(missing, a.ID)
			}
		}
	}
	return missing
}

// checkMisses looks at table 0, named tables and targets.
func (s *soundness) checkMisses() {
	tables := map[uint8]bool{0: true}
	for t := range s.names {
		tables[t] = true
	}
	for _, to := range s.targets {
		maps.Copy(tables, to)
	}
	for _, t := range slices.Sorted(maps.Keys(tables)) {
		if !s.misses[t] {
			s.complain("table %s: no miss flow", s.names.table(t))
		}
	}
}

// checkLoops finds tables that lead back to themselves, which only a resubmit can do.
func (s *soundness) checkLoops() {
	for _, t := range slices.Sorted(maps.Keys(s.targets)) {
		if s.reaches(t, t, map[uint8]bool{}) {
			s.complain("table %s: leads back to itself", s.names.table(t))
		}
	}
}

func (s *soundness) reaches(from, to uint8, seen map[uint8]bool) bool {
	for next := range s.targets[from] {
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
