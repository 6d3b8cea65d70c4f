package agent

import (
	"context"
	"time"

	"github.com/overlane/overlane/view"
)

// A step of the loop has two halves. The first one plans: what the switch, its database and the host's kernel must be
// follows from the view and the facts. The second one brings the switch there.

// prepare has the host be what the view asks for, but for the flows: it connects, gives zones, sets the bridge, plans
// the flows and sets the host's kernel.
func (a *Agent) prepare(ctx context.Context, now time.Time) {
	a.connect(ctx)
	f := a.plan(ctx, now)
	a.host.keep(ctx, &a.intent.view, f, now)
	a.attachments.keep(ctx)
}

// plan sets the bridge, and notes which flows are to be compiled again.
func (a *Agent) plan(ctx context.Context, now time.Time) facts {
	a.zones.follow(&a.intent.view, a.intent.complete)
	if a.bridge.reachable() && !now.Before(a.bridge.retryAt) {
		a.conditions.set(condBridge, a.setBridge(ctx, now))
	}
	return a.rewire()
}

// setBridge has the database say what view and facts ask for.
func (a *Agent) setBridge(ctx context.Context, now time.Time) error {
	v := &a.intent.view
	a.border.assignNIC(v, a.bridge.state.Datapath, a.config.Uplink, now)
	changed, err := a.bridge.set(ctx, layout(v, a.facts()))
	if err != nil {
		return err
	}
	if changed { // ports to the host's kernel that were made anew have no addresses
		a.host.due = time.Time{}
	}
	a.border.releaseNIC(a.intent.complete)
	return nil
}

// rewire notes which flows the facts ask to be compiled again.
func (a *Agent) rewire() facts {
	f := a.facts()
	a.flows.touch(&a.intent.view, view.Delta{}, wiring(&a.intent.view, f))
	return f
}

// step brings the switch up to date, and does what waits for that.
func (a *Agent) step(ctx context.Context, now time.Time) {
	a.flush(ctx)
	if a.intent.complete && a.flows.upToDate() && a.zones.forgetLeavers(ctx, a.flows.sw, now) {
		a.queue.wake()
	}
	a.keepBorder(ctx, now)
	if a.reports.hurry && !a.reports.sending {
		a.reports.hurry = false
		a.measure(ctx, now)
	}
}

// flush brings the switch up to date, and then answers who waits for that. Where flows lead outside by this host, they
// are in the switch since before the start, and are neither to be taken away nor put back before the host's own part is
// known.
func (a *Agent) flush(ctx context.Context) {
	if a.kernelKnown() {
		had := a.flows.resync
		if err := a.flows.flush(ctx, a.intent, a.borderReadBack); err != nil {
			a.log.Error("bring the switch up to date", "err", err)
		} else if had != "" && a.flows.resync == "" {
			a.border.flowsLoaded()
		}
	}
	a.queue.answerWaiters()
}

// kernelKnown tells that the host's kernel has been looked at, if it is to lead outside.
func (a *Agent) kernelKnown() bool {
	return a.host.known || len(a.flows.wiring.Translations) == 0 && !isEdge(&a.intent.view)
}

// measure asks endpoints and peers, and tells the server what is new.
func (a *Agent) measure(ctx context.Context, now time.Time) {
	a.measured.probe(ctx, a.flows, a.intent, now)
	a.measured.look(a.intent.view.VTEP, now)
	if a.reports.sending || !a.intent.complete {
		return
	}
	if a.measured.counters.due(now) {
		a.count(ctx)
	}
	a.reports.send(ctx, a.status(now), now)
}
