package agent

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"
)

// keepHost keeps the host's kernel as the view wants it, and puts back what somebody has removed.
func (a *Agent) keepHost(ctx context.Context, now time.Time) {
	if a.config.NoFirewall {
		a.note(inOutside, a.unguarded())
		a.findServers(ctx, now)
		return
	}
	if a.sw == nil || !a.complete && a.revision == 0 { // or nothing is known: what another run has set is better
		return
	}
	h := &a.host
	c := hostConfig(&a.view, a.hostFacts())
	if !h.begin(now, c) {
		return
	}
	go func() {
		o := h.set(ctx, c)
		a.do(ctx, func() { a.noteHost(o) })
	}()
}

func (a *Agent) hostFacts() hostFacts {
	return hostFacts{
		UDPPort: a.config.UDPPort, NATRange: a.config.NATRange, Uplink: a.config.Uplink,
		Datapath: a.layout.Datapath, Ports: a.layout.Ports, Translations: a.wiring.Translations,
	}
}

// noteHost takes what a call has found and done. Flows lead to the host's kernel afterwards only.
func (a *Agent) noteHost(o hostOutcome) {
	if o.state.Tampered {
		a.log.Warn("somebody had removed Overlane's nftables table, or rules of it", "put back", o.guard() == nil)
		a.drift.Last = time.Now()
	}
	if saved, err := a.host.end(o, time.Now()); saved {
		a.note(inDisk, err)
	}
	a.note(inFirewall, o.guard())
	a.note(inOutside, o.exit())
	a.note(inNative, o.direct())
	a.noteServers(o.servers, o.unknown)
	a.wireHost()
}

// findServers is for hosts without a table, whose switch guards all the same.
func (a *Agent) findServers(ctx context.Context, now time.Time) {
	h := &a.host
	if h.busy || now.Before(h.due) {
		return
	}
	h.busy, h.due = true, now.Add(countEvery)
	go func() {
		servers, err := addressesOf(ctx, h.server)
		a.do(ctx, func() {
			h.busy, h.known = false, true
			a.noteServers(servers, err)
		})
	}()
}

// noteServers keeps those that were found last where the server's name leads nowhere just now.
func (a *Agent) noteServers(servers []netip.Addr, err error) {
	if err == nil {
		a.servers = servers
	}
	a.followReserved()
}

// followReserved has the switch guard all hosts, this one included, and servers, whether the host's table does or not.
func (a *Agent) followReserved() {
	next := a.wiring
	next.Reserved = distinct(append(slices.Concat(hostAddresses(&a.view), a.addresses, a.servers), azureMetadata))
	a.rewire(next)
}

// unguarded refuses to translate without a table: endpoints would reach whatever the host does.
func (a *Agent) unguarded() error {
	if len(a.wiring.Translations) == 0 && !isEdge(&a.view) {
		return nil
	}
	return errors.New("the agent's configuration says noFirewall; take that out, or turn SNAT off and let no public traffic pass")
}

// wireHost leads the switch's flows to the host's kernel once that routes and guards what they bring, and away from
// there when no VPC wants it any more.
func (a *Agent) wireHost() {
	next := a.wiring
	next.Outside, next.Underlay, next.Edges = kernelPorts(a.host.state, a.layout.Ports)
	a.rewire(next)
}

// cleanHost takes away what an agent with another configuration has left.
func (a *Agent) cleanHost(ctx context.Context) {
	if !a.config.NoFirewall {
		return
	}
	if err := a.host.kernel.Cleanup(ctx); err != nil {
		a.log.Warn("something of an agent with a firewall is still there", "err", err)
	}
}
