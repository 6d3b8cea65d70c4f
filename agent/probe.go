package agent

import (
	"context"
	crypto "crypto/rand"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/overlane/overlane/answer"
	"github.com/overlane/overlane/dataplane"
	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/ovs"
	"github.com/overlane/overlane/view"
)

// How often is asked, and what no answer means.
const (
	askUnanswered  = time.Second
	askAnswered    = 15 * time.Second
	probeUp        = 3 * time.Second
	probeUnsettled = time.Second
	missesToDown   = 3 // in a row

	fewPeers = 32 // are asked at once when they are new
)

// link is what is known of the way to a peer's switch and back.
type link struct {
	nonce  uint64    // in all its probes: nobody else can make a reflection up
	number uint64    // of the last probe
	sent   time.Time // when
	due    time.Time
	status model.TunnelStatus
}

// pulse is what is known of an endpoint on this host.
type pulse struct {
	due    time.Time
	misses int
	alive  bool
}

func newNonce() uint64 {
	var b [8]byte
	crypto.Read(b[:]) // never fails (crypto/rand)
	return binary.BigEndian.Uint64(b[:])
}

// probe asks the endpoints and peers that are due.
func (a *Agent) probe(ctx context.Context) {
	if a.sw == nil {
		return
	}
	now := time.Now()
	a.probePeers(ctx, now)
	a.probeEndpoints(ctx, now)
}

func (a *Agent) probePeers(ctx context.Context, now time.Time) {
	for host := range a.links {
		if _, ok := a.view.Peers[host]; !ok {
			delete(a.links, host)
		}
	}
	for host, peer := range a.view.Peers {
		l := a.links[host]
		if l == nil || l.status.VTEP != peer.VTEP.String() {
			l = &link{nonce: newNonce(), status: model.TunnelStatus{Peer: host, VTEP: peer.VTEP.String(), State: model.TunnelUnknown, Since: now}}
			if len(a.links) > fewPeers { // so that not all are asked in the same moment for ever
				l.due = now.Add(rand.N(probeUp))
			}
			a.links[host] = l
		}
		if now.Before(l.due) {
			continue
		}
		l.missed(now)
		l.number++
		l.sent, l.due = now, now.Add(l.pause())
		if err := a.sw.PacketOut(ctx, flow.PortLocal, dataplane.SendProbe(a.wiring, flow.Addr(peer.VTEP)), probeFrame(l.nonce, l.number)); err != nil {
			a.log.Warn("probe a peer", "peer", host, "err", err)
		}
	}
}

func (l *link) pause() time.Duration {
	if l.status.State == model.TunnelUp && l.status.LostProbes == 0 {
		return probeUp
	}
	return probeUnsettled
}

// missed counts the last probe as lost if it has not come back by the time of the next.
func (l *link) missed(now time.Time) {
	if l.sent.IsZero() {
		return
	}
	l.status.LostProbes++
	if l.status.LostProbes >= missesToDown {
		l.become(model.TunnelDown, now)
	}
}

func (l *link) become(s model.TunnelState, now time.Time) {
	if l.status.State != s {
		l.status.State, l.status.Since = s, now
	}
}

func (a *Agent) probeEndpoints(ctx context.Context, now time.Time) {
	own := a.own()
	for name := range a.alive {
		if _, ok := own[name]; !ok {
			delete(a.alive, name)
		}
	}
	for name, address := range own {
		port, wired := a.wiring.Ports[address.AddressKey]
		if !wired {
			delete(a.alive, name)
			continue
		}
		p := a.alive[name]
		if p == nil {
			p = &pulse{}
			a.alive[name] = p
		}
		if now.Before(p.due) {
			continue
		}
		p.misses++
		if p.misses > missesToDown {
			p.alive = false
		}
		p.due = now.Add(askUnanswered)
		a.askEndpoint(ctx, address, port)
	}
}

func (a *Agent) askEndpoint(ctx context.Context, address view.Address, port uint32) {
	gateway := a.view.Segments[address.VNI].Gateway
	err := a.sw.PacketOut(ctx, flow.PortLocal, []flow.Action{flow.Output{Port: port}}, arpRequest(gateway, address.IP, address.MAC))
	if err != nil {
		a.log.Warn("ask an endpoint", "endpoint", address.Endpoint, "err", err)
	}
}

// packetIn takes what the switch hands to the agent; it runs on the loop.
func (a *Agent) packetIn(ctx context.Context, p ovs.PacketIn) {
	if len(p.Userdata) == 0 {
		return
	}
	switch p.Userdata[0] {
	case dataplane.ForAgentARP:
		a.endpointAnswered(p)
	case dataplane.ForAgentProbe:
		a.probeReturned(p)
	case dataplane.ForAgentExpired, dataplane.ForAgentUnreachable, dataplane.ForAgentRefused:
		a.tellSender(p)
	case dataplane.ForAgentPassing:
		a.tellPassing(p, answer.Expired)
	case dataplane.ForAgentTooLong:
		a.tellTooLong(p)
	case dataplane.ForAgentArrived:
		a.tellArrived(p)
	case dataplane.ForAgentDHCP:
		a.answerDHCP(ctx, p)
	case dataplane.ForAgentUnknown:
		a.welcome(ctx, p)
	case dataplane.ForAgentQuoted:
		a.leadQuoted(p)
	}
}

// endpointAnswered believes an answer only from the port of the endpoint that was asked.
func (a *Agent) endpointAnswered(p ovs.PacketIn) {
	_, ip, ok := arpSender(p.Frame)
	if !ok {
		return
	}
	address, ok := a.addressAt(p.InPort, ip)
	if !ok {
		return
	}
	if pulse := a.alive[address.Endpoint]; pulse != nil {
		pulse.alive, pulse.misses = true, 0
		pulse.due = time.Now().Add(askAnswered)
	}
}

func (a *Agent) addressAt(port uint32, ip netip.Addr) (view.Address, bool) {
	for key, at := range a.wiring.Ports {
		if at == port && key.IP == ip {
			address, ok := a.view.Addresses[key]
			return address, ok
		}
	}
	return view.Address{}, false
}

func (a *Agent) probeReturned(p ovs.PacketIn) {
	nonce, number, ok := readProbe(p.Frame)
	if !ok {
		return
	}
	for _, l := range a.links {
		if nonce != l.nonce || number != l.number {
			continue
		}
		now := time.Now()
		l.status.RTTMicros = now.Sub(l.sent).Microseconds()
		l.status.LostProbes = 0
		l.sent = time.Time{}
		l.become(model.TunnelUp, now)
	}
}
