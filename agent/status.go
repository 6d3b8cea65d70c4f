package agent

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/overlane/overlane/agent/local"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/view"
)

// status measures, as far as a look at what has been measured is enough.
func (a *Agent) status(now time.Time) local.Status {
	s := local.Status{Name: a.config.Host, Away: a.intent.away, Unheard: a.conditions.causes[condReports], Host: a.hostStatus(now), Endpoints: map[string]model.EndpointStatus{}}
	own, ports := a.intent.own(), a.bridge.endpoints()
	for name, address := range own {
		e := a.endpointStatus(address, portOf(own, ports, address))
		e.Since = now
		if was, ok := a.measured.since[name]; ok && was.State == e.State {
			e.Since = was.Since
		}
		s.Endpoints[name] = e
	}
	a.measured.since = s.Endpoints
	return s
}

func (a *Agent) hostStatus(now time.Time) model.HostStatus {
	s := model.HostStatus{
		Ready:        a.reason() == "",
		Reason:       a.reason(),
		Datapath:     a.bridge.state.Datapath,
		AgentVersion: a.config.Version,
		UnderlayMTU:  a.measured.mtu,
		Border:       a.border.status(a.borderFacts()),
		Addresses:    a.measured.addresses,
		Flows:        len(a.flows.desired.flows),
		Groups:       len(a.flows.desired.groups),
		Drift:        *a.flows.drift,
		Drops:        a.drops(),
		Warnings:     a.conditions.warnings(),
		Revision:     a.flows.applied,
		Tunnels:      a.measured.tunnels.status(),
		Time:         now,
	}
	for i := range s.Tunnels {
		t := &s.Tunnels[i]
		if _, ok := a.flows.wiring.BFDPorts[t.Peer]; ok {
			t.BFD = model.TunnelDown
			if bfdForwards(a.bridge.bfd(t.Peer)) {
				t.BFD = model.TunnelUp
			}
		}
	}
	return s
}

// drops are the counters of the switch, as last read, of the host's firewall, and of the agent itself.
func (a *Agent) drops() map[string]uint64 {
	all := map[string]uint64{dropBusy: a.queue.missed.Load()}
	for _, counted := range []map[string]uint64{a.host.state.Dropped, a.measured.counters.drops} { // both guard hosts
		for name, n := range counted {
			all[name] += n
		}
	}
	if a.flows.sw != nil {
		all[dropBusy] += a.flows.sw.Dropped()
	}
	maps.DeleteFunc(all, func(_ string, n uint64) bool { return n == 0 })
	return all
}

func (a *Agent) reason() string {
	switch {
	case a.flows.sw == nil:
		return cmp.Or(a.conditions.sentence(condSwitch), condSwitch)
	case a.bridge.unavailable() != "":
		return "no connection to the switch's database: " + a.bridge.unavailable()
	case a.conditions.causes[condBridge] != "":
		return a.conditions.sentence(condBridge)
	case a.conditions.causes[condUnderlay] != "":
		return a.conditions.sentence(condUnderlay)
	case !a.intent.complete:
		return "the server has not been reached since the agent started"
	case a.flows.resync != "":
		return "the switch is being compared with intent: " + a.flows.resync
	}
	if a.measured.counters.foreign > 0 {
		return fmt.Sprintf("%d flows of others in %s, which may take packets past ours", a.measured.counters.foreign, a.config.Bridge)
	}
	return tooLong(&a.intent.view, a.measured.mtu)
}

// endpointStatus is Ready when the endpoint's port has answered and the way to another host's switch and back was found
// free. With nobody else on its segment there is no such way, and the answer is enough.
func (a *Agent) endpointStatus(address view.Address, port string) model.EndpointStatus {
	s := model.EndpointStatus{State: model.Attached, Host: a.config.Host, Port: port}
	_, wired := a.flows.wiring.Ports[address.AddressKey]
	switch {
	case !wired:
		return model.EndpointStatus{State: model.Pending, Host: a.config.Host, Reason: "not plugged in on this host"}
	case a.flows.sw == nil || a.flows.resync != "":
		s.Reason = "the switch has not confirmed its flows"
	case !a.measured.endpoints.alive(address.Endpoint):
		s.Reason = "its port has not answered ARP"
	case !a.peerReached(address.VNI):
		s.Reason = "no peer host of its subnet has reflected a probe"
	default:
		s.State = model.Ready
	}
	return s
}

// portOf is the port by which an address of this host is reached: its own, or its front endpoint's.
func portOf(own map[string]view.Address, ports endpointPorts, address view.Address) string {
	if f, ok := front(own, address); ok {
		address = f
	}
	return ports.name(address)
}

func (a *Agent) peerReached(vni model.VNI) bool {
	peers := 0
	for _, host := range a.intent.view.Segments[vni].Members {
		if host == a.config.Host {
			continue
		}
		peers++
		if a.measured.tunnels.up(host) {
			return true
		}
	}
	return peers == 0
}

// count reads the counters of a switch that has our flows.
func (a *Agent) count(ctx context.Context) {
	if a.flows.sw != nil && a.flows.resync == "" {
		a.measured.counters.read(ctx, a.flows.sw, &a.intent.view, a.flows.wiring, a.bridge.state.Datapath)
	}
}
