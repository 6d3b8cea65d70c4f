package agent

import (
	"context"
	"net/netip"
	"time"

	"github.com/overlane/overlane/answer"
	"github.com/overlane/overlane/dataplane"
	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/ovs"
	"github.com/overlane/overlane/view"
)

// probe asks the endpoints and peers that are due.
func (a *Agent) probe(ctx context.Context) {
	if a.sw == nil {
		return
	}
	now := time.Now()
	a.probePeers(ctx, now)
	a.askEndpoints(ctx, now)
}

func (a *Agent) probePeers(ctx context.Context, now time.Time) {
	for _, p := range a.tunnels.due(a.view.Peers, now) {
		actions := dataplane.SendProbe(a.wiring, flow.Addr(p.vtep))
		if err := a.sw.PacketOut(ctx, flow.PortLocal, actions, probeFrame(p.nonce, p.number)); err != nil {
			a.log.Warn("probe a peer", "peer", p.host, "err", err)
		}
	}
}

func (a *Agent) askEndpoints(ctx context.Context, now time.Time) {
	for _, q := range a.endpoints.due(a.own(), a.wiring.Ports, now) {
		question := arpRequest(a.view.Segments[q.address.VNI].Gateway, q.address.IP, q.address.MAC)
		if err := a.sw.PacketOut(ctx, flow.PortLocal, []flow.Action{flow.Output{Port: q.port}}, question); err != nil {
			a.log.Warn("ask an endpoint", "endpoint", q.address.Endpoint, "err", err)
		}
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
	a.endpoints.answered(address.Endpoint, time.Now())
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
	if nonce, number, ok := readProbe(p.Frame); ok {
		a.tunnels.returned(nonce, number, time.Now())
	}
}
