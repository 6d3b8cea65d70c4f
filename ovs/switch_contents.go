package ovs

import (
	"context"
	"fmt"

	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/openflow"
)

// Groups and meters have no cookie: the IDs of ours are in a reserved range.
const (
	groupRange     uint32 = 0x4c000000
	groupRangeMask uint32 = 0xfc000000
	meterRange     uint32 = 0x4f00
	meterRangeMask uint32 = 0xffffff00
)

func ourGroup(id uint32) bool    { return id&groupRangeMask == groupRange }
func ourMeter(id uint32) bool    { return id&meterRangeMask == meterRange }
func ourFlow(cookie uint64) bool { return cookie&flow.CookieMask == flow.CookieOwner }

// Contents are Overlane's flows, groups and meters on a switch. Those of others are left out.
type Contents struct {
	Flows   []flow.Installed // flows whose content matches their cookie
	Strange []StrangeFlow    // flows with a cookie of ours that does not match their content: changed or made by others
	Groups  []flow.Group     // a group that we cannot have made has the type [GroupStrange] and no buckets
	Meters  []flow.Meter     // a meter that we cannot have made has the rate 0
}

// GroupStrange is the type of a group in [Contents] that has an ID of ours and a form that is not.
const GroupStrange flow.GroupType = 0xff

// StrangeFlow is a flow that has our cookie but not the content that the cookie stands for.
type StrangeFlow struct {
	key  flow.Key // if known: it can be a flow that we want, and then adding that replaces it
	desc openflow.FlowDesc
	Why  string
}

func (f StrangeFlow) String() string {
	return fmt.Sprintf("table=%d,priority=%d,cookie=%#x: %s", f.desc.Table, f.desc.Priority, f.desc.Cookie, f.Why)
}

// Read reads all flows, groups and meters of ours. The hash in each flow's cookie is checked against the flow, actions
// included.
func (s *Switch) Read(ctx context.Context) (Contents, error) {
	replies, err := s.ask(ctx,
		openflow.FlowRequest{Table: openflow.AllTables, Cookie: flow.CookieOwner, CookieMask: flow.CookieMask},
		openflow.GroupsRequest{}, openflow.MetersRequest{})
	if err != nil {
		return Contents{}, fmt.Errorf("read switch: %w", err)
	}
	var c Contents
	for _, m := range replies {
		c.add(m)
	}
	for _, f := range c.Flows {
		s.ours.add(f.Key)
	}
	return c, nil
}

func (c *Contents) add(m openflow.Message) {
	switch m := m.(type) {
	case openflow.FlowReply:
		for _, f := range m.Flows {
			c.addFlow(f)
		}
	case openflow.GroupsReply:
		for _, g := range m.Groups {
			c.addGroup(g)
		}
	case openflow.MetersReply:
		for _, meter := range m.Meters {
			c.addMeter(meter)
		}
	}
}

func (c *Contents) addFlow(d openflow.FlowDesc) {
	match, err := openflow.DecodeMatch(d.RawMatch)
	if err != nil {
		c.Strange = append(c.Strange, StrangeFlow{desc: d, Why: err.Error()})
		return
	}
	f := flow.Flow{Table: d.Table, Priority: d.Priority, Match: match}
	key := f.Key()
	f.Actions, err = openflow.DecodeInstructions(d.Instructions)
	switch {
	case err != nil:
		c.Strange = append(c.Strange, StrangeFlow{key, d, err.Error()})
	case f.Cookie() != d.Cookie:
		c.Strange = append(c.Strange, StrangeFlow{key, d, "not what the cookie stands for: " + f.String()})
	case d.IdleTimeout != 0 || d.HardTimeout != 0:
		c.Strange = append(c.Strange, StrangeFlow{key, d, "has a timeout"})
	default:
		c.Flows = append(c.Flows, flow.Installed{Key: key, Cookie: d.Cookie})
	}
}

func (c *Contents) addGroup(d openflow.GroupDesc) {
	g := d.Group
	if !ourGroup(g.ID) {
		return
	}
	if d.Err != nil {
		g.Type = GroupStrange
	}
	c.Groups = append(c.Groups, g)
}

func (c *Contents) addMeter(d openflow.MeterDesc) {
	m := d.Meter
	if !ourMeter(m.ID) {
		return
	}
	if d.Err != nil {
		m.Rate, m.Burst = 0, 0
	}
	c.Meters = append(c.Meters, m)
}

// ForeignFlows counts the flows that others have put on the bridge. They are never touched, but they may take packets
// past ours.
func (s *Switch) ForeignFlows(ctx context.Context) (int, error) {
	replies, err := s.ask(ctx,
		openflow.AggregateRequest{Table: openflow.AllTables},
		openflow.AggregateRequest{Table: openflow.AllTables, Cookie: flow.CookieOwner, CookieMask: flow.CookieMask})
	if err != nil {
		return 0, fmt.Errorf("count flows: %w", err)
	}
	var flows []uint32
	for _, m := range replies {
		if a, ok := m.(openflow.AggregateReply); ok {
			flows = append(flows, a.Stats.Flows)
		}
	}
	if len(flows) != 2 {
		return 0, fmt.Errorf("count flows: %d answers to 2 questions", len(flows))
	}
	return int(flows[0]) - int(flows[1]), nil
}

// FlowCounts gives the number of packets that matched the flows with a cookie, for each cookie.
func (s *Switch) FlowCounts(ctx context.Context, cookies ...uint64) (map[uint64]uint64, error) {
	requests := make([]openflow.Message, len(cookies))
	for i, cookie := range cookies {
		requests[i] = openflow.AggregateRequest{Table: openflow.AllTables, Cookie: cookie, CookieMask: openflow.EveryBit}
	}
	replies, err := s.ask(ctx, requests...)
	if err != nil {
		return nil, fmt.Errorf("count packets: %w", err)
	}
	counts := make(map[uint64]uint64, len(cookies))
	n := 0
	for _, m := range replies {
		if a, ok := m.(openflow.AggregateReply); ok && n < len(cookies) {
			counts[cookies[n]] = a.Stats.Packets
			n++
		}
	}
	return counts, nil
}
