package agent

import (
	"context"
	"time"

	"github.com/overlane/overlane/attach"
	"github.com/overlane/overlane/dataplane"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/ovs"
	"github.com/overlane/overlane/view"
)

// What a port is for is written beside it in OVSDB, so that an agent that starts finds its ports again.
const portEndpoint = "overlane-endpoint"

// own gives the addresses of this host by endpoint.
func (a *Agent) own() map[string]view.Address {
	own := make(map[string]view.Address, len(a.mine))
	for _, address := range a.mine {
		own[address.Endpoint] = address
	}
	return own
}

// touch notes what a change of the view, which undo undoes, and of the wiring asks the switch for.
func (a *Agent) touch(undo view.Delta, next dataplane.Wiring) {
	subjects, all := dataplane.Touched(dataplane.Before{Undo: undo, Wiring: a.wiring}, dataplane.Input{View: &a.view, Wiring: next})
	a.wiring = next
	if all {
		a.wantResync("new wiring")
	}
	for _, s := range subjects {
		a.touched[s] = true
	}
}

// rewire changes the wiring, and nothing else does. The maps of a wiring are not written any more once it is handed
// over.
func (a *Agent) rewire(next dataplane.Wiring) { a.touch(view.Delta{}, next) }

// wirePorts takes the ports of endpoints that the switch has into the wiring.
func (a *Agent) wirePorts() {
	if a.db == nil {
		return
	}
	own := a.own()
	ports := map[view.AddressKey]uint32{}
	for _, p := range a.db.Ports() {
		if address, ok := own[p.ExternalIDs[portEndpoint]]; ok && portNumber(p) != 0 {
			ports[address.AddressKey] = portNumber(p)
		}
	}
	for _, address := range own {
		if f, ok := front(own, address); ok && ports[f.AddressKey] != 0 {
			ports[address.AddressKey] = ports[f.AddressKey]
		}
	}
	next := a.wiring
	next.Ports = ports
	a.rewire(next)
}

// portNumber is that which the port has or, while ovs-vswitchd is making it, will have: flows may come first, and need
// not wait then.
func portNumber(p ovs.Port) uint32 {
	if p.OFPort == 0 && p.Err == "" {
		return p.OFPortRequest
	}
	return p.OFPort
}

// tidy compares what is plugged in with what intent says, once a second: it puts back ports that somebody removed,
// removes those of endpoints that are gone, and releases endpoints whose interface is gone, which nobody told of if the
// agent was away or busy with them, and those behind them. Before the first complete view it removes nothing.
func (a *Agent) tidy(ctx context.Context) {
	if a.db == nil || !a.db.Connected() || !a.complete {
		return
	}
	own := a.own()
	interfaces, err := attach.Interfaces()
	if err != nil {
		a.log.Error("list interfaces", "err", err)
		return
	}
	plugged := map[string]bool{}
	for _, p := range a.db.Ports() {
		name := p.ExternalIDs[portEndpoint]
		if name == "" || a.attaching[name] {
			continue
		}
		plugged[name] = true
		address, ok := own[name]
		switch {
		case !ok:
			a.log.Info("unplugging an endpoint that is not on this host any more", "endpoint", name, "port", p.Name)
			a.unplug(ctx, p)
		case !interfaces[p.Name]:
			a.vanished(ctx, address, p.Name)
		}
	}
	for name, address := range own {
		if plugged[name] || a.attaching[name] || address.Attachment == nil {
			continue
		}
		if address.Via() == "" {
			a.replug(ctx, address)
		} else if _, ok := front(own, address); !ok {
			a.release(ctx, address)
		}
	}
}

func (a *Agent) unplug(ctx context.Context, p ovs.Port) {
	if err := a.db.RemovePort(ctx, p.Name); err != nil {
		a.log.Error("remove port", "port", p.Name, "err", err)
		return
	}
	if err := attach.Unplumb(ctx, p.Name); err != nil {
		a.log.Error("remove interface", "interface", p.Name, "err", err)
	}
}

// replug puts a port back whose interface is still there. If that is gone too, the container is, and so is the
// endpoint. An attach that was killed may have made no more than the interface, so the host is kept out of it first;
// what is missing inside, the next attach finds.
func (a *Agent) replug(ctx context.Context, address view.Address) {
	name := attach.HostIf(address.Endpoint)
	if !attach.Exists(name) {
		a.release(ctx, address)
		return
	}
	if a.layout.Datapath == "" { // how depends on it
		return
	}
	if err := attach.MendHost(name, a.layout.Datapath != ovs.Userspace); err != nil {
		a.log.Error("keep the host out of an endpoint's network", "endpoint", address.Endpoint, "err", err)
		return
	}
	if _, err := a.db.AddPort(ctx, endpointPort(address)); err != nil {
		a.log.Error("put the port back", "endpoint", address.Endpoint, "err", err)
		return
	}
	a.drift.PortsRepaired++
	a.drift.Last = time.Now()
	a.log.Warn("port was missing in the switch; put back", "endpoint", address.Endpoint, "port", name)
}

func endpointPort(address view.Address) ovs.Port {
	return ovs.Port{
		Name: attach.HostIf(address.Endpoint),
		ExternalIDs: map[string]string{
			portEndpoint:   address.Endpoint,
			"attached-mac": address.MAC.String(),
		},
	}
}

// unplugged hears that an interface of ours has vanished: its container died, or its namespace did. By now it may have
// been made anew.
func (a *Agent) unplugged(ctx context.Context, link attach.LinkGone) {
	for _, address := range a.own() {
		if attach.HostIf(address.Endpoint) == link.Name && !a.attaching[address.Endpoint] && !attach.Exists(link.Name) {
			a.vanished(ctx, address, link.Name)
		}
	}
}

func (a *Agent) vanished(ctx context.Context, address view.Address, port string) {
	a.log.Info("endpoint has vanished from its namespace", "endpoint", address.Endpoint)
	if a.db != nil {
		if err := a.db.RemovePort(ctx, port); err != nil {
			a.log.Error("remove port", "port", port, "err", err)
		}
	}
	a.release(ctx, address)
}

// release tells the server that an endpoint is not plugged in any more. It runs beside the loop; if the server is away,
// tidy comes here again.
func (a *Agent) release(ctx context.Context, address view.Address) {
	a.attaching[address.Endpoint] = true
	go func() {
		err := a.releaseNow(ctx, address.Endpoint, address.Ephemeral)
		if err != nil {
			a.log.Warn("the server does not know yet that an endpoint is gone", "endpoint", address.Endpoint, "err", err)
		} else {
			a.awaitRelease(ctx, address)
		}
		a.do(ctx, func() { delete(a.attaching, address.Endpoint) })
	}()
}

// releaseNow deletes an endpoint that attach had made, and unplugs any other.
func (a *Agent) releaseNow(ctx context.Context, name string, ephemeral bool) error {
	if ephemeral {
		return ignoreNotFound(a.server.Delete(ctx, model.Key{Kind: "Endpoint", Name: name}))
	}
	_, err := a.server.Put(ctx, model.Object{Kind: "Endpoint", Name: name, Spec: &model.EndpointSpec{Attachment: &model.Attachment{}}})
	return ignoreNotFound(err)
}
