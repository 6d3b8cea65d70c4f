package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"reflect"
	"slices"
	"time"

	"github.com/overlane/overlane/agent/local"
	"github.com/overlane/overlane/hostnet"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/view"
)

// hostKernel is the host's kernel as the loop knows it: what it was asked to be, what works of that, and when it is to
// be looked at again. The kernel may take tens of milliseconds to change, which the loop has not, so [hostKernel.set]
// runs beside it.
type hostKernel struct {
	config     local.Config
	log        *slog.Logger
	queue      *queue
	conditions *conditions
	drift      *model.Drift

	kernel *hostnet.Kernel
	server string // URL

	asked hostnet.Config // what the last call was for, without facts of the machine
	state hostnet.State  // after it
	due   time.Time      // of the next call, even if nothing has changed
	busy  bool           // a call is under way
	known bool           // one has ended since the start, so that the state is true

	servers []netip.Addr   // as last found
	facts   *hostnet.Facts // of the machine, as last found whole; only for the call that is under way
	failed  int            // looks at the machine before the first whole one; likewise

	disk   stateFile // of what outlasts a restart:
	Opened []string  `json:"opened"` // interfaces that forward because of SNAT, or public traffic
}

func newHostKernel(c local.Config, log *slog.Logger, q *queue, problems *conditions, drift *model.Drift) *hostKernel {
	return &hostKernel{config: c, log: log, queue: q, conditions: problems, drift: drift,
		server: c.Server, disk: stateFile{path: filepath.Join(c.State, "forwarding.json"), what: "which interfaces forward because of Overlane"}, kernel: hostnet.New(nil)}
}

func (h *hostKernel) load() error {
	_, err := h.disk.read(h)
	h.kernel = hostnet.New(h.Opened)
	return err
}

// save keeps what is to outlast a restart. What goes wrong is tried again, and told, each second.
func (h *hostKernel) save() error { return h.disk.write(h) }

// keep has the host's kernel be what view and facts ask for, and puts back what somebody has removed. Flows lead to the
// kernel afterwards only.
func (h *hostKernel) keep(ctx context.Context, v *view.View, f facts, now time.Time) {
	if h.config.NoFirewall {
		h.conditions.set(condExit, unguarded(v, f.translations))
		h.findServers(ctx, now)
		return
	}
	if !f.connected || !f.known { // what another run has set is better
		h.due = time.Time{} // a switch that comes back has made its ports anew
		return
	}
	c := hostConfig(v, f)
	if !h.begin(now, c) {
		return
	}
	go func() {
		o := h.set(ctx, c)
		h.queue.do(ctx, func() { h.take(o, time.Now()) })
	}()
}

// take takes what a call has found and done.
func (h *hostKernel) take(o hostOutcome, now time.Time) {
	if o.state.Tampered {
		h.log.Warn("somebody had removed Overlane's nftables table, or rules of it", "put back", o.guard() == nil)
		h.drift.Last = now
	}
	h.end(o, now)
	h.conditions.set(condFirewall, o.guard())
	h.conditions.set(condExit, o.exit())
	h.conditions.set(condDirect, o.direct())
	h.takeServers(o.servers, o.unknown)
}

// findServers is for hosts without a table, whose switch guards all the same.
func (h *hostKernel) findServers(ctx context.Context, now time.Time) {
	if h.busy || now.Before(h.due) {
		return
	}
	h.busy, h.due = true, now.Add(countEvery)
	go func() {
		servers, err := addressesOf(ctx, h.server)
		h.queue.do(ctx, func() {
			h.busy, h.known = false, true
			h.takeServers(servers, err)
		})
	}()
}

// takeServers keeps the servers' last known addresses while a name leads nowhere.
func (h *hostKernel) takeServers(servers []netip.Addr, err error) {
	if err == nil {
		h.servers = servers
	}
}

// unguarded refuses to translate without a table: endpoints would reach whatever the host does.
func unguarded(v *view.View, translations map[model.VNI]netip.Addr) error {
	if len(translations) == 0 && !isEdge(v) {
		return nil
	}
	return errors.New("the agent's configuration says noFirewall; take that out, or turn SNAT off and let no public traffic pass")
}

// clean takes away what an agent with another configuration has left.
func (h *hostKernel) clean(ctx context.Context) {
	if !h.config.NoFirewall {
		return
	}
	if err := h.kernel.Cleanup(ctx); err != nil {
		h.log.Warn("something of an agent with a firewall is still there", "err", err)
		return
	}
	if len(h.Opened) > 0 { // from now on the administrator's
		h.Opened = nil
		_ = h.save()
	}
}

// begin tells whether a call is due, and if so that it is under way.
func (h *hostKernel) begin(now time.Time, c hostnet.Config) bool {
	if h.busy || now.Before(h.due) && reflect.DeepEqual(c, h.asked) {
		return false
	}
	h.busy, h.due, h.asked = true, now.Add(countEvery), c
	return true
}

// hostOutcome is what a call has found and done.
type hostOutcome struct {
	servers []netip.Addr
	unknown error // why not all servers are known
	unseen  error // why not all facts of the machine are known
	set     bool  // the kernel was, so that these two are known:
	state   hostnet.State
	refused error // by the kernel as a whole
}

// set has the kernel be as asked. It runs beside the loop, between begin and end.
func (h *hostKernel) set(ctx context.Context, c hostnet.Config) (o hostOutcome) {
	o.servers, o.unknown = addressesOf(ctx, h.server)
	facts, err := hostnet.Look(c)
	o.unseen = err
	if h.blind(err) {
		return o
	}
	o.set = true
	o.state, o.refused = h.kernel.Set(ctx, completed(c, h.seen(facts, err), o.servers))
	return o
}

// blindLooks is how many looks at the machine may fail before the kernel is set without them.
const blindLooks = 5

// blind tells that nothing is known of the machine yet, so that what the agent before has set is better.
func (h *hostKernel) blind(err error) bool {
	if err == nil || h.facts != nil {
		return false
	}
	h.failed++
	return h.failed < blindLooks
}

// seen gives the facts of the machine. A look that failed half way says less than the one before: it would take a
// neighbour for a host behind a router, and a host that forwards for others for one that does not.
func (h *hostKernel) seen(f hostnet.Facts, err error) hostnet.Facts {
	switch {
	case err == nil:
		h.facts = &f
	case h.facts != nil:
		return *h.facts
	}
	return f
}

// end takes the outcome.
func (h *hostKernel) end(o hostOutcome, now time.Time) {
	h.busy = false
	if errors.Join(o.guard(), o.exit(), o.direct()) != nil {
		h.due = now.Add(retryAfter)
	}
	if !o.set {
		return
	}
	h.known, h.state = true, o.state
	if !slices.Equal(h.Opened, o.state.Opened) {
		h.Opened = o.state.Opened
		_ = h.save()
	}
}

// What is wrong, by what it affects.
func (o hostOutcome) guard() error  { return errors.Join(o.refused, o.state.Err(hostnet.TunnelGuard)) }
func (o hostOutcome) exit() error   { return errors.Join(o.state.Err(hostnet.Exit), o.unseen, o.unknown) }
func (o hostOutcome) direct() error { return o.state.Err(hostnet.Direct) }

// resolveTimeout is how long flows and table may have to wait for a name.
const resolveTimeout = 2 * time.Second

// addressesOf are the server's.
func addressesOf(ctx context.Context, server string) ([]netip.Addr, error) {
	u, err := url.Parse(server)
	if err != nil || u.Hostname() == "" { // on this host
		return nil, nil
	}
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil {
		return []netip.Addr{ip}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	addresses, err := net.DefaultResolver.LookupNetIP(ctx, "ip4", u.Hostname())
	if err != nil {
		return nil, fmt.Errorf("find the server, which endpoints must not reach: %w", err)
	}
	for i := range addresses {
		addresses[i] = addresses[i].Unmap()
	}
	return addresses, nil
}
