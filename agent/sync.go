package agent

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/overlane/overlane/agent/local"
	"github.com/overlane/overlane/dataplane"
	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/ovs"
	"github.com/overlane/overlane/view"
)

const (
	retryAfter   = time.Second
	applyTimeout = 30 * time.Second
)

// Why everything is read back. Only what was found by these two is somebody else's doing.
const (
	resyncDrift = "drift"
	resyncAudit = "audit"
)

// switchSync keeps the flows, groups and meters of the switch at what view and wiring compile to.
type switchSync struct {
	log *slog.Logger

	sw      *ovs.Switch      // nil: not connected
	wiring  dataplane.Wiring // that flows are compiled for
	desired *desired
	touched map[dataplane.Subject]bool // to be compiled again
	resync  string                     // why all of the switch must be read back and compared; empty: it need not
	retryAt time.Time                  // of what has gone wrong

	applied         int64 // revision of the view that the switch has
	pipelined       bool  // the switch has had this version's pipeline since the start
	foreignPipeline bool  // it was found to have another version's
	drift           *model.Drift
}

func newSwitchSync(c local.Config, log *slog.Logger, drift *model.Drift) *switchSync {
	return &switchSync{
		log:     log,
		drift:   drift,
		wiring:  dataplane.Wiring{UDPPort: c.UDPPort},
		desired: newDesired(),
		touched: map[dataplane.Subject]bool{},
		resync:  "start",
	}
}

// wantResync has everything read back at the next flush. The first reason is kept, unless it blames others and the next
// one does not: then not all that differs is their doing.
func (s *switchSync) wantResync(why string) {
	if s.resync == "" || blamesOthers(s.resync) && !blamesOthers(why) {
		s.resync = why
	}
}

func blamesOthers(why string) bool { return why == resyncDrift || why == resyncAudit }

// touch notes what a change of the view, which undo undoes, and of the wiring asks the switch for. The maps of a wiring
// are not written any more once it is handed over.
func (s *switchSync) touch(v *view.View, undo view.Delta, next dataplane.Wiring) {
	subjects, all := dataplane.Touched(dataplane.Before{Undo: undo, Wiring: s.wiring}, dataplane.Input{View: v, Wiring: next})
	s.wiring = next
	if all {
		s.wantResync("new wiring")
	}
	for _, subject := range subjects {
		s.touched[subject] = true
	}
}

// settled tells that nothing is to be changed in the switch.
func (s *switchSync) settled() bool { return s.resync == "" && len(s.touched) == 0 }

// upToDate tells that the switch has what view and wiring ask for.
func (s *switchSync) upToDate() bool { return s.sw != nil && s.settled() }

// connected begins with a switch whose contents are not known.
func (s *switchSync) connected(sw *ovs.Switch) {
	s.sw, s.foreignPipeline = sw, false
	s.wantResync("connect")
}

// disconnect gives the switch up, and returns how many of its packets the agent had no time for.
func (s *switchSync) disconnect() (missed uint64) {
	s.sw.Close()
	missed = s.sw.Dropped()
	s.sw = nil
	return missed
}

// flush brings the switch up to date: by what was touched or, where there is reason to doubt, by reading all of it
// back. It is tried again a second after a failure. before sees what the switch has before that is changed by a
// read-back.
func (s *switchSync) flush(ctx context.Context, i *intent, before func(context.Context, ovs.Contents) error) error {
	if s.sw == nil || s.leaveAlone(i) || time.Now().Before(s.retryAt) {
		return nil
	}
	if err := s.update(ctx, i, before); err != nil {
		s.wantResync("an update went wrong")
		s.retryAt = time.Now().Add(retryAfter)
		return err
	}
	if !s.leaveAlone(i) {
		s.applied = i.revision
	}
	return nil
}

func (s *switchSync) update(ctx context.Context, i *intent, before func(context.Context, ovs.Contents) error) error {
	ctx, cancel := context.WithTimeout(ctx, applyTimeout)
	defer cancel()
	if s.resync != "" {
		return s.readBack(ctx, i, before)
	}
	if len(s.touched) == 0 {
		return nil
	}
	c := newChanges()
	for subject := range s.touched {
		s.desired.replace(subject, dataplane.CompileSubject(&i.view, s.wiring, subject), c)
	}
	clear(s.touched)
	return s.sw.Apply(ctx, c.forSwitch())
}

// readBack is the reference: everything that the view compiles to, against everything of ours that the switch holds.
// Until the view is complete, nothing is taken away.
func (s *switchSync) readBack(ctx context.Context, i *intent, before func(context.Context, ovs.Contents) error) error {
	have, err := s.sw.Read(ctx)
	if err != nil {
		return fmt.Errorf("read back: %w", err)
	}
	if err := before(ctx, have); err != nil {
		return err
	}
	want := newDesired()
	for _, subject := range dataplane.Subjects(&i.view) {
		want.replace(subject, dataplane.CompileSubject(&i.view, s.wiring, subject), newChanges())
	}
	if !i.complete && !s.pipelined && want.anotherVersion(have) {
		s.foreignPipeline = true
		s.log.Warn("the switch has the flows of another version of Overlane; it stays as it is until the server is reached")
		return nil
	}
	c := want.against(have)
	if !i.complete {
		c.addOnly(have)
	}
	if err := s.sw.Apply(ctx, c.forSwitch()); err != nil {
		return fmt.Errorf("after %s: %w", s.resync, err)
	}
	if blamesOthers(s.resync) && len(s.touched) == 0 {
		s.countRepairs(c)
	}
	s.desired, s.resync, s.pipelined = want, "", true
	clear(s.touched)
	debug.FreeOSMemory() // a read-back takes several times what stays, and is rare
	return nil
}

// leaveAlone tells that the switch is to stay as another version has made it: what it forwards now is consistent, and
// so is what replaces it in one step when the view is complete, but the flows of two versions together are not.
func (s *switchSync) leaveAlone(i *intent) bool { return s.foreignPipeline && !i.complete }

// driftFound hears that somebody has changed what is ours in the switch. What it was, the read-back finds out.
func (s *switchSync) driftFound(e ovs.DriftEvent) {
	s.log.Info("somebody has changed the switch", "what", e.What)
	s.wantResync(resyncDrift)
}

// countRepairs keeps the count of what others changed in the switch.
func (s *switchSync) countRepairs(c *changes) {
	flows, groups := c.repairs()
	if flows+groups == 0 {
		return
	}
	s.drift.FlowsRepaired += uint64(flows)
	s.drift.GroupsRepaired += uint64(groups)
	s.drift.Last = time.Now()
	s.log.Warn("the switch was changed by somebody else; repaired", "flows", flows, "groups", groups)
}

// These channels are nil while there is no connection: nothing ever comes out of a nil channel.

func (s *switchSync) driftEvents() <-chan ovs.DriftEvent {
	if s.sw == nil {
		return nil
	}
	return s.sw.Drift()
}

func (s *switchSync) done() <-chan struct{} {
	if s.sw == nil {
		return nil
	}
	return s.sw.Done()
}

// sendBack sends a frame out of the port that another came in by.
func (s *switchSync) sendBack(p ovs.PacketIn, frame []byte) {
	s.sendOut([]flow.Action{flow.Output{Port: p.InPort}}, frame)
}

// sendOut has the switch do something with a frame.
func (s *switchSync) sendOut(actions []flow.Action, frame []byte) {
	if s.sw == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), sendTimeout)
	defer cancel()
	if err := s.sw.PacketOut(ctx, flow.PortLocal, actions, frame); err != nil {
		s.log.Debug("send a frame", "err", err)
	}
}

// sendTimeout is how long the loop waits for a switch that takes nothing.
const sendTimeout = time.Second
