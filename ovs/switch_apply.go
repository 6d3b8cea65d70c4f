package ovs

import (
	"context"
	"fmt"
	"strings"

	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/openflow"
)

// Change is a set of changes of a switch's flows, groups and meters.
type Change struct {
	AddMeters []flow.Meter
	ModMeters []flow.Meter
	DelMeters []uint32
	AddGroups []flow.Group
	ModGroups []flow.Group // in place: flows that name it stay
	DelGroups []uint32     // flows that name one of them go with it
	Add       []flow.Flow  // replaces a flow with the same key, which keeps its counters
	Del       []flow.Installed
	Strange   []StrangeFlow // to be removed, as [Switch.Read] has found them
}

// maxBundle bounds a bundle, because a switch forwards nothing new while it commits one.
const maxBundle = 5000

// Refusal is a part of a change that the switch refused.
type Refusal struct {
	What   string // the flow, group or meter, as ovs-ofctl writes it
	Owner  string // the object that asked for it, if known
	Reason error  // mostly an [openflow.Error]
}

// ChangeError is the error of a change that the switch refused. It has every refusal that the switch reported; some
// kinds of refusal it reports one at a time.
type ChangeError struct {
	Refused []Refusal
}

func (e *ChangeError) Error() string {
	const most = 3
	var b strings.Builder
	fmt.Fprintf(&b, "the switch refused %d", len(e.Refused))
	for _, r := range e.Refused[:min(most, len(e.Refused))] {
		fmt.Fprintf(&b, "; %s", r.What)
		if r.Owner != "" {
			fmt.Fprintf(&b, " (of %s)", r.Owner)
		}
		fmt.Fprintf(&b, ": %v", r.Reason)
	}
	if len(e.Refused) > most {
		b.WriteString("; ...")
	}
	return b.String()
}

// Unwrap gives the reasons.
func (e *ChangeError) Unwrap() []error {
	reasons := make([]error, len(e.Refused))
	for i, r := range e.Refused {
		reasons[i] = r.Reason
	}
	return reasons
}

// Apply makes a change and returns when the switch has made it. Groups and flows go into one atomic bundle: the switch
// takes all of it or nothing, and no packet sees a part. A change of more than 5,000 entries goes in several bundles,
// additions before removals. Meters cannot be in a bundle: new ones come before it, and old ones go after it. A refusal
// is a [*ChangeError]; parts that were applied before it stay. Changes are applied one after the other, in the order of
// the calls that got there first.
func (s *Switch) Apply(ctx context.Context, c Change) error {
	select {
	case s.applying <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-s.applying }()
	if err := s.apply(ctx, c); err != nil {
		return fmt.Errorf("change switch: %w", err)
	}
	return nil
}

func (s *Switch) apply(ctx context.Context, c Change) error {
	added := s.remember(c.Add)
	if err := s.meters(ctx, c.metersIn()); err != nil {
		return err
	}
	for rest := c.steps(added); len(rest) > 0; {
		n := min(maxBundle, len(rest))
		if err := s.bundle(ctx, rest[:n]); err != nil {
			return err
		}
		rest = rest[n:]
	}
	for _, f := range c.Del {
		if !added[f.Key] {
			s.ours.remove(f.Key)
		}
	}
	return s.meters(ctx, c.metersOut())
}

// remember records the flows that are about to be ours, and returns their keys.
func (s *Switch) remember(flows []flow.Flow) map[flow.Key]bool {
	keys := make(map[flow.Key]bool, len(flows))
	for _, f := range flows {
		key := f.Key()
		keys[key] = true
		s.ours.add(key)
	}
	return keys
}

// step is one message of a change, and the flow, group or meter that it is about.
type step struct {
	message openflow.Message
	what    func() string
	owner   string
}

func (c Change) metersIn() []step {
	var steps []step
	for _, m := range c.AddMeters {
		steps = append(steps, meterStep(openflow.MeterAdd, m))
	}
	for _, m := range c.ModMeters {
		steps = append(steps, meterStep(openflow.MeterModify, m))
	}
	return steps
}

func (c Change) metersOut() []step {
	var steps []step
	for _, id := range c.DelMeters {
		steps = append(steps, meterStep(openflow.MeterDelete, flow.Meter{ID: id}))
	}
	return steps
}

func meterStep(command openflow.MeterCommand, m flow.Meter) step {
	return step{openflow.MeterMod{Command: command, Meter: m}, m.String, ""}
}

// steps is a change's bundle. Groups come before the flows that name them; they go after those flows have gone or have
// been replaced, because a group takes the flows that name it along.
func (c Change) steps(added map[flow.Key]bool) []step {
	steps := make([]step, 0, len(c.AddGroups)+len(c.ModGroups)+len(c.Add)+len(c.Del)+len(c.Strange)+len(c.DelGroups))
	for _, g := range c.AddGroups {
		steps = append(steps, groupStep(openflow.GroupAdd, g))
	}
	for i := range c.Add {
		steps = append(steps, addStep(&c.Add[i]))
	}
	for _, g := range c.ModGroups { // in the bundle of the flows that are replaced, which are the last
		steps = append(steps, groupStep(openflow.GroupModify, g))
	}
	steps = c.removals(steps, added)
	for _, id := range c.DelGroups {
		steps = append(steps, groupStep(openflow.GroupDelete, flow.Group{ID: id}))
	}
	return steps
}

// removals leaves out flows that are being replaced: a removal would match the replacement if it has the same cookie.
func (c Change) removals(steps []step, added map[flow.Key]bool) []step {
	for _, f := range c.Del {
		if !added[f.Key] {
			was := f.Flow()
			steps = append(steps, step{removal(f.Table, f.Priority, f.Cookie, was.Match, nil), f.String, ""})
		}
	}
	for _, f := range c.Strange {
		if !added[f.key] {
			steps = append(steps, step{removal(f.desc.Table, f.desc.Priority, f.desc.Cookie, nil, f.desc.RawMatch), f.String, ""})
		}
	}
	return steps
}

func groupStep(command openflow.GroupCommand, g flow.Group) step {
	return step{openflow.GroupMod{Command: command, Group: g}, g.String, g.Owner}
}

func addStep(f *flow.Flow) step {
	return step{openflow.FlowMod{
		Command: openflow.FlowAdd, Table: f.Table, Priority: f.Priority, Cookie: f.Cookie(), Match: f.Match, Actions: f.Actions,
	}, f.String, f.Owner}
}

// removal removes the flow only if it still has this very cookie.
func removal(table uint8, priority uint16, cookie uint64, m flow.Match, raw []byte) openflow.Message {
	return openflow.FlowMod{
		Command: openflow.FlowDeleteStrict, Table: table, Priority: priority,
		Cookie: cookie, CookieMask: openflow.EveryBit, Match: m, RawMatch: raw,
	}
}

func (s *Switch) meters(ctx context.Context, steps []step) error {
	if len(steps) == 0 {
		return nil
	}
	t := newTally(steps)
	e := s.open(len(steps)+1, t.take)
	defer s.close(e)
	messages := make([]openflow.Message, 0, len(steps)+1)
	for _, step := range steps {
		messages = append(messages, step.message)
	}
	if err := s.send(ctx, e, 0, append(messages, openflow.BarrierRequest{})...); err != nil {
		return err
	}
	return s.outcome(ctx, t)
}
