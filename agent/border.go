package agent

import (
	"context"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"time"

	"github.com/overlane/overlane/agent/local"
	"github.com/overlane/overlane/attach"
	"github.com/overlane/overlane/border"
	"github.com/overlane/overlane/dataplane"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/view"
)

// borderHost is this host's part in public traffic, if its view has a next hop of its own. Package border decides;
// borderHost remembers what was seen and what was decided. It belongs to the loop.
type borderHost struct {
	disk stateFile // of what is kept
	kept borderKept

	nic      string    // that the switch is given; empty: none
	nicErr   error     // why the switch is not given the one that the view names
	nicDue   time.Time // of the next look at it
	nicTried string    // the NIC that was looked at last

	state     border.State
	flows     border.Flows
	link      border.Link // of the NIC
	arp       border.ARP
	arpSince  time.Time // when arp became what it is
	announcer *announcer
	answers   chan model.MAC // of the router, past the loop to the announcer

	announceEvery time.Duration
	hasLink       func(nic string) (bool, error)
	loop          borderLoop
	log           *slog.Logger
}

// borderLoop is what a border host needs of the loop that it belongs to.
type borderLoop struct {
	do           func(context.Context, func())     // runs a function on the loop
	setCondition func(condition string, err error) // keeps what is wrong, or that nothing is
}

// borderKept must outlast an agent: the router, so that packets leave while the next agent has yet to ask, and how
// the NIC was.
type borderKept struct {
	Router    netip.Addr  `json:"router,omitzero"`
	RouterMAC model.MAC   `json:"routerMAC,omitzero"`
	NIC       string      `json:"nic,omitempty"`
	Was       *attach.NIC `json:"was,omitempty"` // before it was the switch's
}

// borderFacts is what a border host needs to know of the rest of the agent.
type borderFacts struct {
	view     *view.View
	complete bool // a complete view has come since the agent started
	wiring   *dataplane.Wiring
	upToDate bool // the switch has confirmed what view and wiring ask for

	bfd      func(peer string) map[string]string // status of the session, see [ovs.DB.BFD]
	underlay func() (nic string, link border.Link)
}

func newBorderHost(c local.Config, loop borderLoop, log *slog.Logger) borderHost {
	return borderHost{
		disk:    stateFile{path: filepath.Join(c.State, "passage.json"), what: "what is known of the upstream network"}, // the name that 0.1.0 reads
		answers: make(chan model.MAC, 1), announceEvery: announceIntervals * time.Duration(c.BFDInterval), hasLink: attach.HasLink, loop: loop, log: log,
	}
}

func (b *borderHost) load() error {
	_, err := b.disk.read(&b.kept)
	return err
}

// save tells of an error those who must not go on with it. It is tried again, and told, each second.
func (b *borderHost) save() error { return b.disk.write(b.kept) }

// ownHop is this host's next hop; ok is false if it is no border host.
func ownHop(v *view.View) (own view.NextHop, ok bool) {
	own, ok = v.NextHops[v.Host]
	return own, ok && own.Interface != ""
}

// routerMAC is how the upstream router has answered last, in this agent's time or before; zero if it never has.
func (b *borderHost) routerMAC(own view.NextHop) (mac model.MAC) {
	if b.kept.Router == own.Router {
		mac = b.kept.RouterMAC
	}
	return mac
}

// isShut tells whether the peers are to send public traffic elsewhere.
func (b *borderHost) isShut(v *view.View) bool {
	_, ok := ownHop(v)
	return ok && !b.state.Open
}

// observe puts together what a decision depends on.
func (b *borderHost) observe(f borderFacts) border.Observation {
	own, ok := ownHop(f.view)
	if !ok {
		return border.Observation{ViewComplete: f.complete}
	}
	o := border.Observation{
		IsBorder: true, ViewComplete: f.complete, Drained: own.Drain,
		NIC:     border.NIC{Name: own.Interface, Claimed: b.nic != "", HasPort: f.wiring.UpstreamPort != 0, Link: b.link},
		Router:  border.Router{Address: own.Router.String(), ARP: b.arp},
		Flows:   b.flows,
		Tunnels: observeTunnels(f, !b.state.Open),
	}
	if b.nicErr != nil {
		o.NIC.Refused = b.nicErr.Error()
	}
	if b.flows == border.FlowsConfirmed && !f.upToDate {
		o.Flows = border.FlowsPending
	}
	return o
}

// observeTunnels looks at no more sessions than it must, for it does so at each step of the loop. Whether others
// are open is asked for while this one is shut.
func observeTunnels(f borderFacts, shut bool) border.Tunnels {
	t := border.Tunnels{Peers: len(f.wiring.BFDPorts)}
	for host := range f.wiring.BFDPorts {
		if t.AnyUp = bfdUp(f.bfd(host)); t.AnyUp {
			break
		}
	}
	for host := range f.view.NextHops {
		t.OtherOpen = t.OtherOpen || shut && host != f.view.Host && bfdForwards(f.bfd(host))
	}
	if t.UnderlayMatters() {
		t.Underlay, t.UnderlayLink = f.underlay()
	}
	return t
}

// bfdUp tells that the peer is there.
func bfdUp(status map[string]string) bool { return status["state"] == "up" }

// bfdForwards tells that the peer is there and, if it is a border host, open.
func bfdForwards(status map[string]string) bool { return status["forwarding"] == "true" }

// linkOf gives what is known of an interface's link.
func linkOf(nic string) border.Link {
	switch has, err := attach.HasLink(nic); {
	case err != nil:
		return border.LinkUnknown
	case has:
		return border.LinkUp
	}
	return border.LinkDown
}

// decide brings the state up to date, and tells whether the border host has opened or shut.
func (b *borderHost) decide(f borderFacts, now time.Time) (changed bool) {
	before := b.state
	b.state = border.Decide(before, b.observe(f), now)
	own, ok := ownHop(f.view)
	switch {
	case !ok:
		if f.complete {
			b.loop.setCondition(condBorder, nil)
		}
		return false
	case before.Open && !b.state.Open:
		b.log.Warn("public traffic is sent by other hosts from now on", "why", b.state.Why.Text)
	case !before.Open && b.state.Open:
		b.log.Info("public traffic passes here", "router", b.kept.Router, "mac", b.kept.RouterMAC)
	}
	b.loop.setCondition(condBorder, b.warning(own))
	return before.Open != b.state.Open
}

// carryOut has the switch and the peers follow the state. Once the peers hear that the border host is open, none of
// them answers for its next hop any more; so its switch begins before they hear, and ends after: for a moment two
// answer, and traffic that comes by either passes.
func (b *borderHost) carryOut(loadSwitch, tellPeers func()) {
	if b.state.Open {
		loadSwitch()
		tellPeers()
		return
	}
	tellPeers()
	loadSwitch()
}

// warning is what somebody should put right. Who drains a host knows that it is shut.
func (b *borderHost) warning(own view.NextHop) error {
	if why := b.state.Why; b.state.FlowsLoaded && !b.state.Open && !own.Drain && why.Cause != border.Settling {
		return reasonError(why.Text)
	}
	return nil
}

type reasonError string

func (e reasonError) Error() string { return string(e) }

// inherit takes over what the agent before has left: a border host that is open carries traffic, and stays so
// unless a fault is found.
func (b *borderHost) inherit(open bool) { b.state.Open = b.state.Open || open }

// connected has the flows read.
func (b *borderHost) connected() { b.flows = border.FlowsUnread }

// flowsRead takes down whether a switch that was read back has the flow to the upstream router. One that has not
// starts anew.
func (b *borderHost) flowsRead(exit bool) {
	b.flows = border.FlowsMissing
	if exit {
		b.flows = border.FlowsInherited
	}
}

func (b *borderHost) flowsLoaded() { b.flows = border.FlowsConfirmed }

// disconnected is when the switch has gone, and its flows perhaps with it: one that starts again is to find the
// border host shut.
func (b *borderHost) disconnected() {
	b.flows, b.link, b.arp, b.arpSince = border.FlowsLost, border.LinkUnknown, border.ARPUnasked, time.Time{}
	b.silence()
}

// take takes down what the announcer has found.
func (b *borderHost) take(found upstreamEvent, now time.Time) {
	if found.link != border.LinkUnknown {
		b.link = found.link
	}
	if found.arp == border.ARPUnasked {
		return
	}
	b.arp, b.arpSince = found.arp, now
	router := b.announcer.own.Router
	if found.arp != border.ARPAnswers || b.kept.Router == router && b.kept.RouterMAC == found.mac {
		return
	}
	b.kept.Router, b.kept.RouterMAC = router, found.mac
	b.log.Info("found the upstream router", "router", router, "mac", found.mac)
	_ = b.save()
}

// status is nil on a host that is no border host.
func (b *borderHost) status(f borderFacts) *model.BorderStatus {
	own, ok := ownHop(f.view)
	if !ok {
		return nil
	}
	s := &model.BorderStatus{Open: b.state.Open, Router: own.Router.String(), Answers: b.arp == border.ARPAnswers, Since: b.arpSince}
	if b.kept.Router == own.Router {
		s.RouterMAC = b.kept.RouterMAC.String()
	}
	if !b.state.Open {
		s.Reason = b.state.Why.Text
	}
	alive := func(host string) bool { return bfdForwards(f.bfd(host)) }
	for host, n := range f.view.NextHops {
		if dataplane.NextHopActive(f.view, *f.wiring, n, alive) {
			s.ActiveNextHops = append(s.ActiveNextHops, host)
		}
	}
	slices.Sort(s.ActiveNextHops)
	return s
}
