// Package agent is the loop on each host: it follows the host's view, keeps the switch at what the view compiles to, plugs endpoints in
// and out, and measures. It decides nothing about packets, and while it is down the switch goes on as it is.
package agent

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"time"

	"github.com/overlane/overlane/attach"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/server/wire"
	"github.com/overlane/overlane/view"
)

// Server is what the agent needs of the API; client.Client has it.
type Server interface {
	// FollowView calls each with every delta of the host's view, reconnecting for ever, until ctx ends. The first delta of each
	// connection is complete. down is told when a connection ends, and why.
	FollowView(ctx context.Context, host string, each func(view.Delta), down func(error))
	Put(ctx context.Context, o model.Object) (model.Object, error)
	Delete(ctx context.Context, key model.Key) error
	// PutStatus gives the keys that the server has no use for: those objects are not there (any more), or not plugged in anywhere.
	PutStatus(ctx context.Context, updates []model.StatusUpdate) (ignored []model.Key, err error)
	Version(ctx context.Context) (wire.Version, error)
}

// Agent is one host's. All its state belongs to the goroutine of Run; others hand it functions through do.
type Agent struct {
	config Config
	server Server
	log    *slog.Logger

	*queue

	*intent

	*bridge
	*switchSync

	*conditions
	mtu         int          // of the underlay, bytes of IP; 0: not known
	lookedAt    time.Time    // when it was measured
	addresses   []netip.Addr // by which others may reach this host, besides its VTEP, as last found
	servers     []netip.Addr // as last found
	attachments *attachments

	tunnels   tunnelLiveness
	endpoints endpointLiveness
	host      hostKernel
	zones     *zones
	leases    *leases
	responder *responder
	border    borderHost
	reports   *reports
	counters  *counters
	since     map[string]model.EndpointStatus // of endpoints, as last measured

	tick time.Duration // between looks at what nobody tells of
}

// New makes an agent; Run starts it. Without a log, nothing is logged.
func New(c Config, s Server, log *slog.Logger) *Agent {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	drift := &model.Drift{}
	a := &Agent{
		config: c, server: s, log: log,
		queue:      newQueue(),
		intent:     newIntent(c),
		switchSync: newSwitchSync(c, log, drift),
		tunnels:    tunnelLiveness{},
		endpoints:  endpointLiveness{},
		conditions: newConditions(log),
		counters:   &counters{log: log},
		tick:       time.Second,
		host:       newHostKernel(c),
	}
	a.reports = newReports(s, log, a.queue, a.conditions)
	a.bridge = &bridge{config: c, server: s, log: log, conditions: a.conditions, repaired: drift}
	a.attachments = &attachments{config: c, server: s, log: log, queue: a.queue, intent: a.intent, bridge: a.bridge, flows: a.switchSync,
		busy: map[string]bool{}, ended: a.reports.expect}
	a.zones = newZones(c, log, a.queue, a.conditions)
	a.leases = &leases{config: c, server: s, log: log, queue: a.queue, intent: a.intent, flows: a.switchSync, attachments: a.attachments,
		until: map[string]time.Time{}, asked: map[string]time.Time{}, making: map[string]string{}}
	a.responder = &responder{intent: a.intent, flows: a.switchSync, endpoints: a.endpoints, tunnels: a.tunnels, leases: a.leases}
	a.border = newBorderHost(c, borderLoop{do: a.do, note: a.note, routerMoved: a.wireBorder}, log)
	return a
}

// Run works until stop ends, and then until calls of the local API that are under way have ended too. It leaves the switch as it is.
func (a *Agent) Run(stop context.Context) error {
	ctx, end := context.WithCancel(context.WithoutCancel(stop))
	defer end()
	if err := os.MkdirAll(a.config.State, 0o700); err != nil {
		return fmt.Errorf("state folder: %w", err)
	}
	if err := a.loadView(); err != nil {
		a.log.Warn("starting without the last view", "err", err)
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
	a.zones.follow(&a.view, a.complete)
	a.wireZones()
	a.restoreUplink()
	a.cleanHost(ctx)
	gone, err := attach.Watch(ctx)
	if err != nil {
		return fmt.Errorf("watch network interfaces: %w", err)
	}
	stopLocal, err := a.serveLocal(ctx)
	if err != nil {
		return err
	}
	go func() {
		<-stop.Done()
		stopLocal()
		end()
	}()
	go a.server.FollowView(ctx, a.config.Host,
		func(d view.Delta) { a.do(ctx, func() { a.apply(ctx, d) }) },
		func(err error) { a.do(ctx, func() { a.lostServer(err) }) })
	a.loop(ctx, gone)
	return a.close()
}

func (a *Agent) close() error {
	if a.sw != nil {
		a.sw.Close()
	}
	a.bridge.close()
	return a.saveView()
}

const auditEvery = 5 * time.Minute

// loop takes what has happened, all of it, and then brings the switch up to date in one step.
func (a *Agent) loop(ctx context.Context, gone <-chan attach.LinkGone) {
	a.lookAtHost(time.Now()) // before the first flows, which guard this host
	ticker := time.NewTicker(a.tick)
	defer ticker.Stop()
	audit := time.NewTicker(auditEvery)
	defer audit.Stop()
	for ctx.Err() == nil {
		a.connect(ctx)
		a.flush(ctx)
		if a.complete && a.upToDate() && a.zones.forgetLeavers(ctx, a.sw, time.Now()) {
			a.offer(func() {}) // the loop goes on at once
		}
		a.keepBorder(ctx, time.Now())
		a.hurryUp(ctx)
		select {
		case <-ctx.Done():
			return
		case f := <-a.calls:
			f()
			a.drain()
		case <-a.bridge.changed():
			a.databaseChanged(ctx)
		case event := <-a.driftEvents():
			a.driftFound(event)
		case <-a.switchSync.done():
			a.disconnect(a.sw.Err())
		case link := <-gone:
			a.attachments.unplugged(ctx, link)
		case <-ticker.C:
			a.everySecond(ctx)
		case <-audit.C:
			a.audit(ctx)
		}
	}
}

// audit doubts everything, although nothing seems to have happened.
func (a *Agent) audit(ctx context.Context) {
	a.wantResync(resyncAudit)
	a.reports.forgetAll()
	if a.sw != nil {
		a.ensureUnderlay(ctx, a.view.VTEP)
	}
}

// apply takes a delta into the view.
func (a *Agent) apply(ctx context.Context, d view.Delta) {
	if d.Complete && a.away != "" {
		a.log.Info("server reached", "revision", d.Revision)
		a.away = ""
	}
	vtep := a.view.VTEP
	a.reports.outdate(d, a.concerned(d))
	undo, left := a.take(d)
	a.zones.leave(left)
	if err := a.journal.note(d); err != nil {
		a.log.Error("keep the view", "err", err)
	}
	a.complete = a.complete || d.Complete
	if d.Complete || a.view.VTEP != vtep {
		a.wantResync("complete view")
	}
	a.touch(undo, a.wiring)
	if a.view.VTEP != vtep && a.db != nil {
		a.databaseChanged(ctx)
		a.ensureUnderlay(ctx, a.view.VTEP)
	}
	if d.Complete || len(d.Hosts)+len(d.GoneHosts) > 0 {
		a.followReserved()
	}
	a.followGateways(ctx)
	if len(d.Peers)+len(d.GonePeers)+len(d.Gateways)+len(d.GoneGateways)+len(d.Hosts)+len(d.GoneHosts)+len(d.Publics)+len(d.GonePublics)+len(d.NextHops)+len(d.GoneNextHops) > 0 {
		a.keepHost(ctx, time.Now())
	}
	a.wirePorts()
}

func (a *Agent) lostServer(err error) {
	if a.away != err.Error() {
		a.log.Warn("server unreachable; the network goes on as it is", "err", err)
	}
	a.away = err.Error()
}

// hurryUp measures and reports before it is time.
func (a *Agent) hurryUp(ctx context.Context) {
	if !a.reports.hurry || a.reports.sending {
		return
	}
	a.reports.hurry = false
	a.probe(ctx)
	a.report(ctx)
}

func (a *Agent) everySecond(ctx context.Context) {
	a.attachments.tidy(ctx)
	a.leases.end(ctx, time.Now())
	a.keepBridge(ctx)
	a.keepHost(ctx, time.Now())
	if a.sw != nil {
		a.zones.limit(ctx, a.layout.Datapath)
	}
	if a.upToDate() {
		a.zones.flushGone(ctx, a.sw)
	}
	if a.upToDate() && a.complete {
		a.zones.flushSources(ctx, a.sw, &a.view)
	}
	a.followGateways(ctx)
	a.probe(ctx)
	a.report(ctx)
	a.note(inDisk, a.saveView())
}
