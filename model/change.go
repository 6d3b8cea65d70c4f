package model

// Request asks for objects to be created, updated or deleted. It is admitted whole, or not at all. A put's Revision, if
// not zero, is the revision that the object must be stored at.
type Request struct {
	Put    []Object `json:"put,omitempty"`
	Delete []Key    `json:"delete,omitempty"`
}

// Action is what a change does to one object.
type Action string

const (
	Create Action = "create"
	Update Action = "update"
	Delete Action = "delete"
	None   Action = "none" // put, and equal to what is stored
)

// Change is the change of one object. Before is nil for a create, After for a delete; for none they are equal. After's
// Revision is Before's (0 for a create) until the server that commits it sets the new one.
type Change struct {
	Action Action  `json:"action"`
	Before *Object `json:"before,omitempty"`
	After  *Object `json:"after,omitempty"`

	// Derived: no put or delete asked for the change, and it follows from others: NAT addresses of public IPs, and
	// every change of a port block.
	Derived bool `json:"derived,omitempty"`
}

// Key is of the object that changes.
func (c Change) Key() Key {
	if c.After != nil {
		return c.After.Key()
	}
	return c.Before.Key()
}

// ChangeTo is the change that an event of the store reports: the object as stored or, with a nil after, that key was
// deleted.
func ChangeTo(key Key, after *Object) Change {
	if after == nil {
		return Change{Action: Delete, Before: &Object{Kind: key.Kind, Name: key.Name}}
	}
	return Change{Action: Update, After: after}
}
