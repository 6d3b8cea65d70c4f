package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/overlane/overlane/attach"
	"github.com/overlane/overlane/dataplane"
	"github.com/overlane/overlane/hostnet"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/ovs"
	"github.com/overlane/overlane/server/api"
	"github.com/overlane/overlane/view"
)

// countEvery spares the switch: counting walks its tables.
const countEvery = 10 * time.Second

// hostReportEvery is how often a host's numbers go to the server when nothing of weight has happened.
const hostReportEvery = 30 * time.Second

// reports remembers what the server was told, so that only what is new is told.
type reports struct {
	sending bool
	sent    map[model.Key]any
	at      time.Time // when it was told of the host
	drops   map[string]uint64
	counted time.Time                       // when drops were read
	before  *uint64                         // what the kernel had not tracked when this agent first looked
	since   map[string]model.EndpointStatus // by endpoint: the last that was measured
}

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
		if was, ok := a.reports.since[name]; ok && was.State == e.State {
			e.Since = was.Since
		}
		s.Endpoints[name] = e
	}
	a.reports.since = s.Endpoints
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
		Drift:        a.drift,
		Drops:        a.drops(),
		Warnings:     a.troubles.warnings(),
		Revision:     a.applied,
		Time:         now,
	}
	for _, l := range a.links {
		t := l.status
		if _, ok := a.wiring.Watched[t.Peer]; ok {
			t.Watched = model.TunnelDown
			if bfdForwards(a.bfd(t.Peer)) {
				t.Watched = model.TunnelUp
			}
		}
		s.Tunnels = append(s.Tunnels, t)
	}
	slices.SortFunc(s.Tunnels, func(x, y model.TunnelStatus) int { return cmp.Compare(x.Peer, y.Peer) })
	return s
}

// dropBusy is the name of packets that the switch has handed to the agent, which was too busy to take them: answers to its probes, say.
const dropBusy = "agent-busy"

// dropUntracked is the name of packets that the kernel's conntrack drops because it cannot remember their connections. On its datapath so ends what finds no port: no
// flow gets to see it. The kernel counts for the host as a whole.
const dropUntracked = "conntrack-full"

// drops are those of the switch, as they were last read, of the host's firewall, and of the agent itself.
func (a *Agent) drops() map[string]uint64 {
	all := map[string]uint64{dropBusy: a.missed.Load()}
	for _, counted := range []map[string]uint64{a.host.dropped(), a.reports.drops} { // both guard hosts
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
		return cmp.Or(a.troubles.is(inSwitch), inSwitch)
	case a.noDatabase() != "":
		return "no connection to the switch's database: " + a.noDatabase()
	case a.troubles[inBridge] != "":
		return a.troubles.is(inBridge)
	case a.troubles[inUnderlay] != "":
		return a.troubles.is(inUnderlay)
	case !a.complete:
		return "the server has not been reached since the agent started"
	case a.resync != "":
		return "the switch is being compared with intent: " + a.resync
	}
	if a.foreign > 0 {
		return fmt.Sprintf("%d flows of others in %s, which may take packets past ours", a.foreign, a.config.Bridge)
	}
	return a.tooLong()
}

// endpointStatus is Ready when the endpoint's port has answered and the way to another host's switch and back was found free. With
// nobody else on its segment there is no such way, and the answer is enough.
func (a *Agent) endpointStatus(address view.Address) model.EndpointStatus {
	s := model.EndpointStatus{State: model.Attached, Host: a.config.Host, Port: attach.HostIf(cmp.Or(address.Via(), address.Endpoint))}
	_, wired := a.wiring.Ports[address.AddressKey]
	pulse := a.alive[address.Endpoint]
	switch {
	case !wired:
		return model.EndpointStatus{State: model.Pending, Host: a.config.Host, Reason: "not plugged in on this host"}
	case a.sw == nil || a.resync != "":
		s.Reason = "the switch has not confirmed its flows"
	case pulse == nil || !pulse.alive:
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
		if l := a.links[host]; l != nil && l.status.State == model.TunnelUp {
			return true
		}
	}
	return peers == 0
}

// report tells the server what has changed. One report is under way at a time; if it fails, the next one says the same.
func (a *Agent) report(ctx context.Context) {
	if a.reports.sending || !a.complete {
		return
	}
	now := time.Now()
	a.lookAtHost(now)
	if now.Sub(a.reports.counted) >= countEvery {
		a.countDrops(ctx)
	}
	updates := a.news(a.status(now), now)
	if len(updates) == 0 {
		return
	}
	a.reports.sending = true
	a.reports.note(updates, now)
	go func() {
		ignored, err := a.server.PutStatus(ctx, updates)
		a.do(ctx, func() { a.reported(updates, ignored, err) })
	}()
}

// note takes down what goes to the server now, and not when it has arrived: meanwhile there may be reason to forget it.
func (r *reports) note(updates []model.StatusUpdate, now time.Time) {
	for _, u := range updates {
		r.sent[u.Key] = u.Status
		if u.Key.Kind == "Host" {
			r.at = now
		}
	}
}

// reported forgets what did not arrive, and what the server had no object for.
func (a *Agent) reported(updates []model.StatusUpdate, ignored []model.Key, err error) {
	a.reports.sending = false
	for _, key := range ignored {
		delete(a.reports.sent, key)
	}
	if errors.Is(err, &api.Error{Kind: api.Unavailable}) {
		a.log.Debug("report status", "err", err) // it will be said of the server
	} else {
		a.note(inReports, err)
	}
	if err == nil {
		return
	}
	for _, u := range updates {
		if a.reports.sent[u.Key] == u.Status {
			delete(a.reports.sent, u.Key)
		}
	}
}

func (r *reports) forget(endpoint string) {
	delete(r.sent, model.Key{Kind: "Endpoint", Name: endpoint})
}

// outdate forgets what was reported of the endpoints that a delta is about, for the server forgets a status with its object. After a
// complete delta it may be another server, or one with an older store.
func (a *Agent) outdate(d view.Delta) {
	if d.Complete {
		clear(a.reports.sent)
	}
	for _, vni := range d.GoneSegments {
		for key, address := range a.mine {
			if key.VNI == vni {
				a.reports.forget(address.Endpoint)
			}
		}
	}
	for _, key := range d.GoneAddresses {
		a.reports.forget(a.mine[key].Endpoint)
	}
	for _, address := range d.Addresses {
		a.reports.forget(a.mine[address.AddressKey].Endpoint)
		a.reports.forget(address.Endpoint)
	}
}

// countDrops reads the drop counters of the switch; without a switch they stay as they were.
func (a *Agent) countDrops(ctx context.Context) {
	if a.sw == nil || a.resync != "" {
		return
	}
	names := dataplane.DropCounters(&a.view, a.wiring)
	counts, err := a.sw.FlowCounts(ctx, slices.Collect(maps.Keys(names))...)
	if err != nil {
		a.log.Warn("read drop counters", "err", err)
		return
	}
	if a.foreign, err = a.sw.ForeignFlows(ctx); err != nil {
		a.log.Warn("count flows of others", "err", err)
	}
	a.reports.drops, a.reports.counted = map[string]uint64{}, time.Now()
	for cookie, n := range counts {
		if n > 0 {
			a.reports.drops[names[cookie]] += n
		}
	}
	if err := a.countUntracked(); err != nil {
		a.log.Warn("count what conntrack drops", "err", err)
	}
}

func (a *Agent) countUntracked() error {
	if a.layout.Datapath != ovs.Kernel || len(a.wiring.Translations) == 0 {
		return nil
	}
	n, err := hostnet.ConntrackDrops()
	if err != nil {
		return err
	}
	if a.reports.before == nil {
		a.reports.before = &n
	}
	if n > *a.reports.before {
		a.reports.drops[dropUntracked] = n - *a.reports.before
	}
	return nil
}

// news are the statuses that the server has not been told.
func (a *Agent) news(s Status, now time.Time) []model.StatusUpdate {
	var updates []model.StatusUpdate
	host := model.Key{Kind: "Host", Name: a.config.Host}
	if old, ok := a.reports.sent[host].(*model.HostStatus); !ok || weighty(*old, s.Host) || now.Sub(a.reports.at) >= hostReportEvery {
		updates = append(updates, model.StatusUpdate{Key: host, Status: &s.Host})
	}
	for name, e := range s.Endpoints {
		key := model.Key{Kind: "Endpoint", Name: name}
		if old, ok := a.reports.sent[key].(*model.EndpointStatus); !ok || *old != e {
			updates = append(updates, model.StatusUpdate{Key: key, Status: &e})
		}
	}
	for key := range a.reports.sent {
		if _, ok := s.Endpoints[key.Name]; !ok && key.Kind == "Endpoint" {
			delete(a.reports.sent, key)
		}
	}
	return updates
}

// weighty tells a change that somebody may wait for from a number that moved.
func weighty(old, now model.HostStatus) bool {
	plain := func(s model.HostStatus) model.HostStatus {
		s.Time, s.Drops = time.Time{}, nil
		s.Tunnels = slices.Clone(s.Tunnels)
		for i := range s.Tunnels {
			s.Tunnels[i].RTTMicros, s.Tunnels[i].LostProbes = 0, 0
		}
		return s
	}
	return !reflect.DeepEqual(plain(old), plain(now))
}
