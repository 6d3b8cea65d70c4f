// Package agent is the loop on each host: it follows the host's view, keeps the switch at what the view compiles to,
// plugs endpoints in and out, and measures. It decides nothing about packets, and while it is down the switch goes on
// as it is.
package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/overlane/overlane/agent/local"
	"github.com/overlane/overlane/attach"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/server/api"
	"github.com/overlane/overlane/view"
)

// Server is what the agent needs of the API; client.Client has it.
type Server interface {
	// FollowView calls each with every delta of the host's view, reconnecting for ever, until ctx ends. The first delta
	// of each connection is complete. down is told when a connection ends, and why.
	FollowView(ctx context.Context, host string, each func(view.Delta), down func(error))
	Put(ctx context.Context, o model.Object) (model.Object, error)
	Delete(ctx context.Context, key model.Key) error
	// PutStatus gives the keys that the server has no use for: those objects are not there (any more), or not plugged
	// in anywhere.
	PutStatus(ctx context.Context, updates []model.StatusUpdate) (ignored []model.Key, err error)
	Version(ctx context.Context) (api.Version, error)
}

// Agent is one host's. All its state belongs to the goroutine of Run; others hand it functions through the queue.
type Agent struct {
	config local.Config
	server Server
	log    *slog.Logger
	queue  *queue

	intent     *intent     // the view, as the server has sent it
	bridge     *bridge     // the switch's database
	flows      *switchSync // the switch
	host       *hostKernel // the host's kernel
	border     borderHost
	zones      *zones
	measured   measured
	conditions *conditions

	attachments *attachments
	leases      *leases
	reports     *reports
}

// New makes an agent; Run starts it. Without a log, nothing is logged.
func New(c local.Config, s Server, log *slog.Logger) *Agent {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	q, i, problems, drift := newQueue(), newIntent(c), newConditions(log), &model.Drift{}
	a := &Agent{
		config: c, server: s, log: log, queue: q,
		intent:     i,
		bridge:     &bridge{config: c, server: s, log: log, conditions: problems, drift: drift},
		flows:      newSwitchSync(c, log, drift),
		host:       newHostKernel(c, log, q, problems, drift),
		zones:      newZones(c, log, q, problems),
		measured:   newMeasured(log, problems),
		conditions: problems,
		reports:    newReports(s, log, q, problems),
	}
	a.attachments = &attachments{config: c, server: s, log: log, queue: q, intent: i, bridge: a.bridge, flows: a.flows,
		busy: map[string]bool{}, ended: a.reports.expect}
	a.leases = newLeases(c, s, log, q, i, a.flows, a.attachments)
	a.border = newBorderHost(c, borderLoop{do: q.do, setCondition: problems.set}, log)
	return a
}

// Run works until stop ends, and then until calls of the local API that are under way have ended too. It leaves the
// switch as it is.
func (a *Agent) Run(stop context.Context) error {
	ctx, end := context.WithCancel(context.WithoutCancel(stop))
	defer end()
	if err := os.MkdirAll(a.config.State, 0o700); err != nil {
		return fmt.Errorf("state folder: %w", err)
	}
	if err := a.intent.loadView(); err != nil {
		a.log.Warn("starting without the last view, or with a part of it", "err", err)
	}
	if err := a.zones.load(); err != nil {
		return err
	}
	if err := a.border.load(); err != nil {
		return err
	}
	if err := a.host.load(); err != nil {
		return err
	}
	a.bridge.restoreUplink()
	a.host.clean(ctx)
	gone, err := attach.Watch(ctx)
	if err != nil {
		return fmt.Errorf("watch network interfaces: %w", err)
	}
	stopLocal, err := a.serveLocal(ctx)
	if err != nil {
		return err
	}
	if a.config.Ready != nil {
		a.config.Ready()
	}
	go func() {
		<-stop.Done()
		stopLocal()
		end()
	}()
	go a.server.FollowView(ctx, a.config.Host,
		func(d view.Delta) { a.queue.do(ctx, func() { a.apply(d) }) },
		func(err error) { a.queue.do(ctx, func() { a.lostServer(err) }) })
	a.loop(ctx, gone)
	return a.close()
}

func (a *Agent) close() error {
	if a.flows.sw != nil {
		a.flows.sw.Close()
	}
	a.bridge.close()
	return a.intent.saveView()
}

const auditEvery = 5 * time.Minute

// loop takes what has happened, all of it, and then brings everything up to date in one step.
func (a *Agent) loop(ctx context.Context, gone <-chan attach.LinkGone) {
	a.measured.look(a.intent.view.VTEP, time.Now()) // before the first flows, which guard this host
	ticker := time.NewTicker(a.measured.every)
	defer ticker.Stop()
	audit := time.NewTicker(auditEvery)
	defer audit.Stop()
	for packets := false; ctx.Err() == nil; {
		if !packets {
			a.prepare(ctx, time.Now())
		}
		a.step(ctx, time.Now())
		packets = false
		select {
		case <-ctx.Done():
			return
		case call := <-a.queue.calls:
			packets = a.queue.run(call)
		case <-a.bridge.changed():
			a.bridge.dirty = true
		case event := <-a.flows.driftEvents():
			a.flows.driftFound(event)
		case <-a.flows.done():
			a.disconnect(a.flows.sw.Err())
		case link := <-gone:
			a.attachments.unplugged(ctx, link)
		case <-ticker.C:
			a.everySecond(ctx, time.Now())
		case <-audit.C:
			a.audit(ctx)
		}
	}
}

// audit doubts everything, although nothing seems to have happened.
func (a *Agent) audit(ctx context.Context) {
	a.flows.wantResync(resyncAudit)
	a.reports.forgetAll()
	if a.flows.sw != nil {
		a.bridge.ensureUnderlay(ctx, a.intent.view.VTEP)
	}
}

// apply takes a delta into the view.
func (a *Agent) apply(d view.Delta) {
	if d.Complete && a.intent.away != "" {
		a.log.Info("server reached", "revision", d.Revision)
		a.intent.away = ""
	}
	vtep := a.intent.view.VTEP
	a.reports.outdate(d, a.intent.concerned(d))
	undo, left, err := a.intent.receive(d)
	if err != nil {
		a.log.Error("keep the view", "err", err)
	}
	a.zones.leave(left)
	if d.Complete || a.intent.view.VTEP != vtep {
		a.flows.wantResync("complete view")
	}
	a.flows.touch(&a.intent.view, undo, a.flows.wiring)
}

func (a *Agent) lostServer(err error) {
	if a.intent.away != err.Error() {
		a.log.Warn("server unreachable; the network goes on as it is", "err", err)
	}
	a.intent.away = err.Error()
}

// everySecond looks at what nobody tells of.
func (a *Agent) everySecond(ctx context.Context, now time.Time) {
	a.attachments.due = true
	a.leases.end(ctx, now)
	if a.flows.sw != nil {
		a.bridge.keepUnderlay(ctx, a.intent.view.VTEP)
		a.zones.limit(ctx, a.bridge.state.Datapath)
	}
	if a.flows.upToDate() && a.intent.complete { // no flow names what is gone
		a.zones.flushGone(ctx, a.flows.sw)
		a.zones.flushSources(ctx, a.flows.sw, &a.intent.view)
	}
	a.measure(ctx, now)
	a.keepOnDisk()
}

// keepOnDisk writes what has not been written yet of the files that a restart needs.
func (a *Agent) keepOnDisk() {
	a.conditions.set(condDisk, errors.Join(a.intent.saveView(),
		a.zones.disk.again(a.zones.save), a.border.disk.again(a.border.save), a.host.disk.again(a.host.save)))
}
