package dataplane

import "github.com/overlane/overlane/dataplane/flow"

// Entries are the flows and groups that a switch must contain for a subject.
type Entries struct {
	Flows  []flow.Flow
	Groups []flow.Group
}

// add adds entries, except for flows that are in seen, since another subject has asked for them.
func (e *Entries) add(more Entries, seen map[flow.Key]uint64) {
	for _, f := range more.Flows {
		if cookie, ok := seen[f.Key()]; ok && cookie == f.Cookie() {
			continue
		}
		seen[f.Key()] = f.Cookie()
		e.Flows = append(e.Flows, f)
	}
	e.Groups = append(e.Groups, more.Groups...)
}

// ownedBy names the owner of the entries that have none.
func (e Entries) ownedBy(owner string) Entries {
	for i := range e.Flows {
		if e.Flows[i].Owner == "" {
			e.Flows[i].Owner = owner
		}
	}
	for i := range e.Groups {
		if e.Groups[i].Owner == "" {
			e.Groups[i].Owner = owner
		}
	}
	return e
}
