package agent

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/overlane/overlane/attach"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/view"
)

// Status is what the agent knows of its host.
type Status struct {
	Name      string                          `json:"name"` // of the host
	Away      string                          `json:"serverUnreachable,omitempty"`
	Unheard   string                          `json:"reportsRefused,omitempty"` // why the server does not take this host's reports
	Host      model.HostStatus                `json:"host"`
	Endpoints map[string]model.EndpointStatus `json:"endpoints"`
}

// status measures, as far as a look at what has been measured is enough.
func (a *Agent) status(now time.Time) Status {
	s := Status{Name: a.config.Host, Away: a.away, Unheard: a.troubles[inReports], Host: a.hostStatus(now), Endpoints: map[string]model.EndpointStatus{}}
	for name, address := range a.own() {
		e := a.endpointStatus(address)
		e.Since = now
		if was, ok := a.since[name]; ok && was.State == e.State {
			e.Since = was.Since
		}
		s.Endpoints[name] = e
	}
	a.since = s.Endpoints
	return s
}

func (a *Agent) hostStatus(now time.Time) model.HostStatus {
	s := model.HostStatus{
		Ready:        a.reason() == "",
		Reason:       a.reason(),
		Datapath:     a.layout.Datapath,
		AgentVersion: a.config.Version,
		UnderlayMTU:  a.mtu,
		Passage:      a.border.status(a.borderFacts()),
		Addresses:    a.addresses,
		Flows:        len(a.desired.flows),
		Groups:       len(a.desired.groups),
		Drift:        *a.drift,
		Drops:        a.drops(),
		Warnings:     a.warnings(),
		Revision:     a.applied,
		Tunnels:      a.tunnels.status(),
		Time:         now,
	}
	for i := range s.Tunnels {
		t := &s.Tunnels[i]
		if _, ok := a.wiring.Watched[t.Peer]; ok {
			t.Watched = model.TunnelDown
			if bfdForwards(a.bfd(t.Peer)) {
				t.Watched = model.TunnelUp
			}
		}
	}
	return s
}

// drops are those of the switch, as they were last read, of the host's firewall, and of the agent itself.
func (a *Agent) drops() map[string]uint64 {
	all := map[string]uint64{dropBusy: a.missed.Load()}
	for _, counted := range []map[string]uint64{a.host.dropped(), a.counters.drops} { // both guard hosts
		for name, n := range counted {
			all[name] += n
		}
	}
	if a.sw != nil {
		all[dropBusy] += a.sw.Dropped()
	}
	maps.DeleteFunc(all, func(_ string, n uint64) bool { return n == 0 })
	return all
}

func (a *Agent) reason() string {
	switch {
	case a.sw == nil:
		return cmp.Or(a.sentence(inSwitch), inSwitch)
	case a.unavailable() != "":
		return "no connection to the switch's database: " + a.unavailable()
	case a.troubles[inBridge] != "":
		return a.sentence(inBridge)
	case a.troubles[inUnderlay] != "":
		return a.sentence(inUnderlay)
	case !a.complete:
		return "the server has not been reached since the agent started"
	case a.resync != "":
		return "the switch is being compared with intent: " + a.resync
	}
	if a.counters.foreign > 0 {
		return fmt.Sprintf("%d flows of others in %s, which may take packets past ours", a.counters.foreign, a.config.Bridge)
	}
	return a.tooLong()
}

// endpointStatus is Ready when the endpoint's port has answered and the way to another host's switch and back was found free. With
// nobody else on its segment there is no such way, and the answer is enough.
func (a *Agent) endpointStatus(address view.Address) model.EndpointStatus {
	s := model.EndpointStatus{State: model.Attached, Host: a.config.Host, Port: attach.HostIf(cmp.Or(address.Via(), address.Endpoint))}
	_, wired := a.wiring.Ports[address.AddressKey]
	switch {
	case !wired:
		return model.EndpointStatus{State: model.Pending, Host: a.config.Host, Reason: "not plugged in on this host"}
	case a.sw == nil || a.resync != "":
		s.Reason = "the switch has not confirmed its flows"
	case !a.endpoints.alive(address.Endpoint):
		s.Reason = "its port has not answered ARP"
	case !a.peerReached(address.VNI):
		s.Reason = "no peer host of its subnet has reflected a probe"
	default:
		s.State = model.Ready
	}
	return s
}

func (a *Agent) peerReached(vni model.VNI) bool {
	peers := 0
	for _, host := range a.view.Segments[vni].Members {
		if host == a.config.Host {
			continue
		}
		peers++
		if a.tunnels.up(host) {
			return true
		}
	}
	return peers == 0
}

// report tells the server what is new.
func (a *Agent) report(ctx context.Context) {
	if a.reports.sending || !a.complete {
		return
	}
	now := time.Now()
	a.lookAtHost(now)
	if a.counters.due(now) {
		a.count(ctx)
	}
	a.reports.send(ctx, a.status(now), now)
}

// count reads the counters of a switch that has our flows.
func (a *Agent) count(ctx context.Context) {
	if a.sw != nil && a.resync == "" {
		a.counters.read(ctx, a.sw, &a.view, a.wiring, a.layout.Datapath)
	}
}
