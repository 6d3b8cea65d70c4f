package agent

import (
	"context"
	"time"

	"github.com/overlane/overlane/attach"
	"github.com/overlane/overlane/internal/same"
	"github.com/overlane/overlane/ovs"
	"github.com/overlane/overlane/view"
)

// keep tidies if there is reason to: the ports have changed, or a second has passed.
func (a *attachments) keep(ctx context.Context) {
	if !a.bridge.reachable() || !a.intent.complete {
		return
	}
	ports := a.bridge.db.Ports()
	if !a.due && same.List(a.seen, ports) {
		return
	}
	there := func(string) bool { return true }
	if a.due {
		interfaces, err := attach.Interfaces()
		if err != nil {
			a.log.Error("list interfaces", "err", err)
			return
		}
		there = func(name string) bool { return interfaces[name] }
	}
	a.due, a.seen = false, ports
	a.tidy(ctx, ports, there)
}

// tidy compares what is plugged in with what intent says: it puts back ports that somebody removed, removes those of
// endpoints that are gone, and releases endpoints whose interface is not there, which nobody told of if the agent was
// away or busy with them, and those behind them. Before the first complete view nothing is removed.
func (a *attachments) tidy(ctx context.Context, ports []ovs.Port, there func(name string) bool) {
	own := a.intent.own()
	plugged, making := map[string]bool{}, a.making(own)
	for _, p := range ports {
		name := p.ExternalIDs[portEndpoint]
		if name == "" || a.busy[name] {
			continue
		}
		plugged[name] = true
		address, ok := own[name]
		switch {
		case !ok && making[p.Name]: // the call makes room for itself
		case !ok:
			a.log.Info("unplugging an endpoint that is not on this host any more", "endpoint", name, "port", p.Name)
			a.unplug(ctx, p)
		case !there(p.Name):
			a.vanished(ctx, address, p.Name)
		}
	}
	for name, address := range own {
		if plugged[name] || a.busy[name] || address.Attachment == nil {
			continue
		}
		if address.Via() == "" {
			a.replug(ctx, address)
		} else if _, ok := front(own, address); !ok {
			a.release(ctx, address)
		}
	}
}

// making are the names of the ports that calls under way may be making for endpoints of this host. Until such a call has
// removed it, a port by that name may be that of the endpoint that had the address before.
func (a *attachments) making(own map[string]view.Address) map[string]bool {
	names := map[string]bool{}
	for endpoint := range a.busy {
		if address, ok := own[endpoint]; ok {
			names[newPortName(address)] = true
		}
	}
	return names
}

// unplug removes the interface first: one without a port would stay if the agent died in between.
func (a *attachments) unplug(ctx context.Context, p ovs.Port) {
	if err := attach.Unplumb(ctx, p.Name); err != nil {
		a.log.Error("remove interface", "interface", p.Name, "err", err)
		return
	}
	if err := a.bridge.db.RemovePort(ctx, p.Name); err != nil {
		a.log.Error("remove port", "port", p.Name, "err", err)
	}
}

// replug puts a port back whose interface is still there. If that is gone too, the container is, and so is the
// endpoint. An attach that was killed may have made no more than the interface, so the host is kept out of it first;
// what is missing inside, the next attach finds.
func (a *attachments) replug(ctx context.Context, address view.Address) {
	name, err := leftInterface(address)
	if err != nil {
		a.log.Error("look for the endpoint's interface", "endpoint", address.Endpoint, "err", err)
		return
	}
	if name == "" {
		a.clearUnowned(ctx, newPortName(address))
		a.release(ctx, address)
		return
	}
	if a.bridge.state.Datapath == "" { // how depends on it
		return
	}
	if err := attach.MendHost(name, a.bridge.state.Datapath != ovs.Userspace); err != nil {
		a.log.Error("keep the host out of an endpoint's network", "endpoint", address.Endpoint, "err", err)
		return
	}
	if _, err := a.bridge.db.AddPort(ctx, endpointPort(address, name)); err != nil {
		a.log.Error("put the port back", "endpoint", address.Endpoint, "err", err)
		return
	}
	a.flows.drift.PortsRepaired++
	a.flows.drift.Last = time.Now()
	a.log.Warn("port was missing in the switch; put back", "endpoint", address.Endpoint, "port", name)
}

// clearUnowned removes an interface of which nobody knows whose it is, since its attach was killed just then. It would be
// in the way of the next attach to its container, which may get another address.
func (a *attachments) clearUnowned(ctx context.Context, name string) {
	if owner, err := attach.Owner(name); err != nil || owner != "" {
		return
	}
	if err := attach.Unplumb(ctx, name); err != nil {
		a.log.Error("remove interface", "interface", name, "err", err)
	}
}

// unplugged hears that an interface of ours has vanished: its container died, or its namespace did. By now it may have
// been made anew.
func (a *attachments) unplugged(ctx context.Context, link attach.LinkGone) {
	ports := a.bridge.endpoints()
	for _, address := range a.intent.own() {
		if ports.name(address) == link.Name && !a.busy[address.Endpoint] && !attach.Exists(link.Name) {
			a.vanished(ctx, address, link.Name)
		}
	}
}

func (a *attachments) vanished(ctx context.Context, address view.Address, port string) {
	a.log.Info("endpoint has vanished from its namespace", "endpoint", address.Endpoint)
	if a.bridge.db != nil {
		if err := a.bridge.db.RemovePort(ctx, port); err != nil {
			a.log.Error("remove port", "port", port, "err", err)
		}
	}
	a.release(ctx, address)
}

// front is the endpoint that another one is behind, if that is attached to this host.
func front(own map[string]view.Address, address view.Address) (view.Address, bool) {
	f, ok := own[address.Via()]
	return f, ok && f.Attachment != nil && f.Via() == "" && f.VNI == address.VNI
}
