package openflow

import (
	"github.com/overlane/overlane/dataplane/flow"
)

// GroupCommand says what a [GroupMod] does.
type GroupCommand uint16

const (
	GroupAdd    GroupCommand = 0
	GroupModify GroupCommand = 1 // the whole group, in place
	GroupDelete GroupCommand = 2 // and with it every flow that names the group
)

func (c GroupCommand) String() string { return nameOf(c, "added", "modified", "removed") }

// AllGroups is the ID of a request that concerns all groups.
const AllGroups uint32 = 0xfffffffc

const (
	allBuckets    = 0xffffffff
	noGroup       = 0xffffffff
	bucketWeight  = 0
	bucketWatch   = 1
	bucketHeadLen = 8
)

// GroupMod adds, changes or removes a group (OpenFlow 1.5.1 section 7.3.4.3, in the form of Open vSwitch's
// openflow-1.5.h).
type GroupMod struct {
	Command GroupCommand
	Group   flow.Group // of which Delete looks at the ID only
}

func (GroupMod) kind() kind { return kindGroupMod }

func (m GroupMod) encode(w *buffer) {
	w.u16(uint16(m.Command))
	w.u8(uint8(m.Group.Type), 0)
	w.u32(m.Group.ID)
	at := len(w.b)
	w.u16(0)
	w.u16(0)
	w.u32(allBuckets)
	if m.Command != GroupDelete {
		w.buckets(at, m.Group)
	}
}

func decodeGroupMod(c *cursor) Message {
	m := GroupMod{Command: GroupCommand(c.u16()), Group: flow.Group{Type: flow.GroupType(c.u8())}}
	c.skip(1)
	m.Group.ID = c.u32()
	n := int(c.u16())
	c.skip(2 + 4)
	buckets := c.sub(n)
	m.Group.Buckets = buckets.buckets()
	c.adopt(buckets)
	c.rest() // properties of the group
	return m
}

// buckets writes a group's buckets, numbered from 0, and their length into the 16 bits at the given place.
func (w *buffer) buckets(at int, g flow.Group) {
	start := len(w.b)
	for i, b := range g.Buckets {
		w.bucket(uint32(i), g.Type, b)
	}
	w.length(at, start)
}

func (w *buffer) bucket(id uint32, typ flow.GroupType, b flow.Bucket) {
	start := len(w.b)
	w.u16(0)
	w.u16(0)
	w.u32(id)
	w.actions(b.Actions)
	w.length(start+2, start+bucketHeadLen)
	if typ == flow.GroupSelect {
		w.property(bucketWeight, func() { w.u16(b.Weight); w.u16(0) })
	}
	if b.WatchPort != 0 {
		w.property(bucketWatch, func() { w.u32(b.WatchPort) })
	}
	w.length(start, start)
}

func (c *cursor) buckets() []flow.Bucket {
	var buckets []flow.Bucket
	for c.more() {
		body := c.entry()
		buckets = append(buckets, body.bucket())
		c.adopt(body)
	}
	return buckets
}

func (c *cursor) bucket() (b flow.Bucket) {
	actions := int(c.u16())
	c.skip(4)
	list := c.sub(actions)
	b.Actions = list.actions()
	c.adopt(list)
	for c.more() {
		typ, body := c.property()
		switch typ {
		case bucketWeight:
			b.Weight = body.u16()
		case bucketWatch:
			if b.WatchPort = body.u32(); b.WatchPort == anyPort {
				b.WatchPort = 0
			}
		}
		c.adopt(body)
	}
	return b
}
