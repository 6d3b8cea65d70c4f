package agent

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/overlane/overlane/dataplane"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/view"
)

// keep has the host's kernel be what view and facts ask for, and puts back what somebody has removed. Flows lead to the
// kernel afterwards only.
func (h *hostKernel) keep(ctx context.Context, v *view.View, f facts, now time.Time) {
	if h.config.NoFirewall {
		h.conditions.set(condExit, unguarded(v, f.zones))
		h.findServers(ctx, now)
		return
	}
	if !f.connected || !f.known { // what another run has set is better
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
	if saved, err := h.end(o, now); saved {
		h.conditions.set(condDisk, err)
	}
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

// takeServers keeps those that were found last where the server's name leads nowhere just now.
func (h *hostKernel) takeServers(servers []netip.Addr, err error) {
	if err == nil {
		h.servers = servers
	}
}

// unguarded refuses to translate without a table: endpoints would reach whatever the host does.
func unguarded(v *view.View, translations map[model.VNI]dataplane.Translation) error {
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
	}
}
