// Package agent is the loop on each host: it follows the host's view, keeps the switch at what the view compiles to, plugs endpoints in
// and out, and measures. It decides nothing about packets, and while it is down the switch goes on as it is.
package agent

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/overlane/overlane/attach"
	"github.com/overlane/overlane/dataplane"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/ovs"
	"github.com/overlane/overlane/server/api"
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
	Version(ctx context.Context) (api.Version, error)
}

// Agent is one host's. All its state belongs to the goroutine of Run; others hand it functions through do.
type Agent struct {
	config Config
	server Server
	log    *slog.Logger

	calls chan func() // run by the loop, one at a time

	view     view.View
	revision int64 // of the view
	complete bool  // a complete delta has come since the start: from now on what is not in the view may be removed
	journal  journal
	mine     map[view.AddressKey]view.Address // those of the view that are on this host
	away     string                           // why the server is not reached; empty: it is

	db      *ovs.DB
	sw      *ovs.Switch
	layout  ovs.State
	ensured ovs.Layout // what the database was last made to say
	wiring  dataplane.Wiring
	desired *desired

	touched   map[dataplane.Subject]bool // to be compiled again
	resync    string                     // why the whole must be read back and compared; empty: it need not
	retryAt   time.Time                  // of what has gone wrong
	troubles  troubles                   // for status
	foreign   int                        // flows of others in our bridge
	mtu       int                        // of the underlay, bytes of IP; 0: not known
	lookedAt  time.Time                  // when it was measured
	addresses []netip.Addr               // by which others may reach this host, besides its VTEP, as last found
	servers   []netip.Addr               // as last found
	applied   int64                      // revision that the switch has
	pipelined bool                       // the switch has had this version's pipeline since the start
	stranger  bool                       // it was found to have another version's
	waiters   []*waiter
	attaching map[string]bool // endpoints that a call is plugging in or out right now

	links   map[string]*link  // probes to peers, by host
	alive   map[string]*pulse // ARP to endpoints, by name
	drift   model.Drift
	host    hostKernel
	zones   zones
	dynamic dynamic
	border  borderHost
	missed  atomic.Uint64 // packets of the switch that the loop had no time for; those of the connection that there is now, it counts itself
	reports reports

	hurry bool          // somebody has attached or detached, and may look at the status next
	tick  time.Duration // between looks at what nobody tells of
}

// queued is how much may wait for the loop. What the switch hands over beyond it is lost: a tick sends a probe to each peer, and the answers come at once.
const queued = 2048

// New makes an agent; Run starts it.
func New(c Config, s Server, log *slog.Logger) *Agent {
	a := &Agent{
		config: c, server: s, log: log,
		calls:     make(chan func(), queued),
		view:      view.View{Host: c.Host, VTEP: c.Address},
		wiring:    dataplane.Wiring{UDPPort: c.UDPPort},
		desired:   newDesired(),
		touched:   map[dataplane.Subject]bool{},
		resync:    "start",
		attaching: map[string]bool{},
		links:     map[string]*link{},
		alive:     map[string]*pulse{},
		troubles:  troubles{},
		mine:      map[view.AddressKey]view.Address{},
		away:      "not reached since the start",
		reports:   reports{sent: map[model.Key]any{}},
		tick:      time.Second,
		zones:     newZones(c),
		dynamic:   newDynamic(),
		host:      newHostKernel(c),
	}
	a.border = newBorderHost(c, borderLoop{do: a.do, note: a.note, routerMoved: a.wireBorder}, log)
	a.journal.path = a.journalPath()
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
	a.rezone()
	if restored, err := ovs.RestoreUplink(a.uplinkJournal()); err != nil {
		a.log.Error("a move of the uplink was interrupted and cannot be put back", "err", err)
	} else if restored {
		a.log.Warn("a move of the uplink was interrupted; put back")
	}
	a.cleanHost(ctx)
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
		func(d view.Delta) { a.do(ctx, func() { a.apply(ctx, d) }) },
		func(err error) { a.do(ctx, func() { a.lostServer(err) }) })
	a.loop(ctx, gone)
	return a.close()
}

func (a *Agent) close() error {
	if a.sw != nil {
		a.sw.Close()
	}
	if a.db != nil {
		a.db.Close()
	}
	return a.saveView()
}

// do has the loop run a function. It returns when the function is queued, or when ctx ends.
func (a *Agent) do(ctx context.Context, f func()) {
	select {
	case a.calls <- f:
	case <-ctx.Done():
	}
}

// ask has the loop run a function and waits for it.
func (a *Agent) ask(ctx context.Context, f func()) error {
	done := make(chan struct{})
	a.do(ctx, func() { f(); close(done) })
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
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
		a.forgetLeavers(ctx)
		a.keepBorder(ctx, time.Now())
		a.hurryUp(ctx)
		select {
		case <-ctx.Done():
			return
		case f := <-a.calls:
			f()
			a.drain()
		case <-a.dbChanged():
			a.databaseChanged(ctx)
		case event := <-a.driftEvents():
			a.noteDrift(event)
		case <-a.switchDone():
			a.disconnect(a.sw.Err())
		case link := <-gone:
			a.unplugged(ctx, link)
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
	clear(a.reports.sent)
	if a.sw != nil {
		a.ensureUnderlay(ctx)
	}
}

// drain runs the calls that have queued up meanwhile, so that a burst of changes becomes one bundle.
func (a *Agent) drain() {
	for n := 0; n < cap(a.calls); n++ {
		select {
		case f := <-a.calls:
			f()
		default:
			return
		}
	}
}

// apply takes a delta into the view.
func (a *Agent) apply(ctx context.Context, d view.Delta) {
	if d.Complete && a.away != "" {
		a.log.Info("server reached", "revision", d.Revision)
		a.away = ""
	}
	vtep := a.view.VTEP
	a.outdate(d)
	undo := a.take(d)
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
		a.ensureUnderlay(ctx)
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

// take is what a delta does to what the agent remembers. It returns the delta that undoes what has changed in the view.
func (a *Agent) take(d view.Delta) (undo view.Delta) {
	left := map[view.AddressKey]view.Address{}
	for key, address := range a.mine {
		if d.Complete || slices.Contains(d.GoneSegments, key.VNI) {
			left[key] = address
		}
	}
	for _, key := range d.GoneAddresses {
		left[key] = a.mine[key]
	}
	for _, address := range d.Addresses {
		left[address.AddressKey] = a.mine[address.AddressKey]
	}
	for key := range left {
		delete(a.mine, key)
	}
	for _, address := range d.Addresses {
		if address.Host == a.config.Host {
			a.mine[address.AddressKey] = address
		}
	}
	noted := false
	for key, address := range left {
		if address.Endpoint != "" && a.mine[key].Endpoint != address.Endpoint {
			noted = a.zones.leaves(leaver{a.view.Segments[key.VNI].VPC, key.IP}) || noted
		}
	}
	if noted {
		a.note(inDisk, a.zones.save())
	}
	a.revision = d.Revision
	return a.view.Apply(d)
}

func (a *Agent) lostServer(err error) {
	if a.away != err.Error() {
		a.log.Warn("server unreachable; the network goes on as it is", "err", err)
	}
	a.away = err.Error()
}

// hurryUp measures and reports before it is time.
func (a *Agent) hurryUp(ctx context.Context) {
	if !a.hurry || a.reports.sending {
		return
	}
	a.hurry = false
	a.probe(ctx)
	a.report(ctx)
}

func (a *Agent) everySecond(ctx context.Context) {
	a.tidy(ctx)
	a.endLeases(ctx, time.Now())
	a.keepBridge(ctx)
	a.keepHost(ctx, time.Now())
	a.limitZones(ctx)
	a.flushZones(ctx)
	a.flushSources(ctx)
	a.followGateways(ctx)
	a.probe(ctx)
	a.report(ctx)
	a.note(inDisk, a.saveView())
}
