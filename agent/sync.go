package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/overlane/overlane/dataplane"
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

func (a *Agent) wantResync(why string) {
	if a.resync == "" {
		a.resync = why
	}
}

// upToDate tells that the switch has what view and wiring ask for.
func (a *Agent) upToDate() bool { return a.sw != nil && a.resync == "" && len(a.touched) == 0 }

// flush brings the switch up to date: by what was touched or, where there is reason to doubt, by reading all of it back.
func (a *Agent) flush(ctx context.Context) {
	if a.sw != nil && !a.handsOff() && a.knowsWay() && !time.Now().Before(a.retryAt) {
		if err := a.update(ctx); err != nil {
			a.log.Error("bring the switch up to date", "err", err)
			a.wantResync("an update went wrong")
			a.retryAt = time.Now().Add(retryAfter)
		} else if !a.handsOff() {
			a.applied = a.revision
		}
	}
	a.answerWaiters()
}

func (a *Agent) update(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, applyTimeout)
	defer cancel()
	if a.resync != "" {
		return a.readBack(ctx)
	}
	if len(a.touched) == 0 {
		return nil
	}
	c := newChanges()
	for s := range a.touched {
		a.desired.replace(s, dataplane.CompileSubject(&a.view, a.wiring, s), c)
	}
	clear(a.touched)
	return a.sw.Apply(ctx, c.forSwitch())
}

// readBack is the reference: everything that the view compiles to, against everything of ours that the switch holds.
func (a *Agent) readBack(ctx context.Context) error {
	have, err := a.sw.Read(ctx)
	if err != nil {
		return fmt.Errorf("read back: %w", err)
	}
	if err := a.borderReadBack(ctx, have); err != nil {
		return err
	}
	want := newDesired()
	for _, s := range dataplane.Subjects(&a.view) {
		want.replace(s, dataplane.CompileSubject(&a.view, a.wiring, s), newChanges())
	}
	if !a.complete && !a.pipelined && want.anotherVersion(have) {
		a.stranger = true
		a.log.Warn("the switch has the flows of another version of Overlane; it stays as it is until the server is reached")
		return nil
	}
	c := want.against(have)
	if !a.complete {
		c.addOnly(have)
	}
	if err := a.sw.Apply(ctx, c.forSwitch()); err != nil {
		return fmt.Errorf("after %s: %w", a.resync, err)
	}
	if a.resync == resyncDrift || a.resync == resyncAudit {
		a.countRepairs(c)
	}
	a.desired, a.resync, a.pipelined = want, "", true
	a.border.flowsLoaded()
	clear(a.touched)
	return nil
}

// handsOff tells that the switch is to be left as another version has made it: what it forwards now is a whole, and so is what replaces it
// in one step when the view is complete, but the flows of two versions together are neither.
func (a *Agent) handsOff() bool { return a.stranger && !a.complete }

// knowsWay tells that the host's way outside has been looked at, if there is to be one: flows that lead there are in the switch since before the start, and
// are neither to be taken away nor put back unguarded.
func (a *Agent) knowsWay() bool {
	return a.host.known || len(a.wiring.Translations) == 0 && !isEdge(&a.view)
}

// countRepairs keeps the count of what others changed in the switch.
func (a *Agent) countRepairs(c *changes) {
	flows, groups := c.repairs()
	if flows+groups == 0 {
		return
	}
	a.drift.FlowsRepaired += uint64(flows)
	a.drift.GroupsRepaired += uint64(groups)
	a.drift.Last = time.Now()
	a.log.Warn("the switch was changed by somebody else; repaired", "flows", flows, "groups", groups)
}
