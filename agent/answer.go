package agent

import (
	"context"
	"net/netip"
	"time"

	"github.com/overlane/overlane/answer"
	"github.com/overlane/overlane/dataplane"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/ovs"
	"github.com/overlane/overlane/view"
)

// responder takes the packets that the switch hands to the agent: reflections of probes, answers to ARP, and packets
// that it answers itself, as the sender's gateway or as the host that public traffic passes.
type responder struct {
	intent    *intent
	flows     *switchSync
	endpoints endpointLiveness
	tunnels   tunnelLiveness
	leases    *leases
}

// packetIn takes what the switch hands to the agent; it runs on the loop.
func (r *responder) packetIn(ctx context.Context, p ovs.PacketIn) {
	if len(p.Userdata) == 0 {
		return
	}
	switch p.Userdata[0] {
	case dataplane.ForAgentEndpointARP:
		r.endpointAnswered(p)
	case dataplane.ForAgentProbe:
		r.probeReturned(p)
	case dataplane.ForAgentTTLExpired, dataplane.ForAgentUnreachable, dataplane.ForAgentGatewayClosed:
		r.tellSender(p)
	case dataplane.ForAgentBorderTTLExpired:
		r.tellPassing(p, answer.Expired)
	case dataplane.ForAgentExceedsMTU:
		r.tellTooLong(p)
	case dataplane.ForAgentPublicTTLExpired:
		r.tellArrived(p)
	case dataplane.ForAgentDHCP:
		r.leases.answer(ctx, p)
	case dataplane.ForAgentUnknownMAC:
		r.leases.welcome(ctx, p)
	case dataplane.ForAgentICMPError:
		r.leadQuoted(p)
	}
}

// endpointAnswered believes an answer only from the port of the endpoint that was asked.
func (r *responder) endpointAnswered(p ovs.PacketIn) {
	_, ip, ok := arpSender(p.Frame)
	if !ok {
		return
	}
	address, ok := endpointAt(&r.intent.view, r.flows.wiring.Ports, p.InPort, withIP(ip))
	if !ok {
		return
	}
	r.endpoints.answered(address.Endpoint, time.Now())
}

func (r *responder) probeReturned(p ovs.PacketIn) {
	if nonce, number, ok := readProbe(p.Frame); ok {
		r.tunnels.returned(nonce, number, time.Now())
	}
}

// tellSender answers a packet that cannot be routed, to the port that it came in by. The switch has judged the sender
// already.
func (r *responder) tellSender(p ovs.PacketIn) {
	from, to, ok := answer.Addresses(p.Frame)
	if !ok {
		return
	}
	sender, ok := endpointAt(&r.intent.view, r.flows.wiring.Ports, p.InPort, withIP(from))
	if !ok {
		return
	}
	why, ok := r.whyNot(p.Userdata[0], sender, to)
	if !ok {
		return
	}
	reply, ok := answer.ICMP(p.Frame, r.intent.view.Segments[sender.VNI].Gateway, why)
	if !ok {
		return
	}
	r.flows.sendBack(p, reply)
}

// tellPassing answers public traffic that goes no further than here, from this host's next hop: in whichever direction
// it was going.
func (r *responder) tellPassing(p ovs.PacketIn, why answer.Trouble) {
	own, ok := ownHop(&r.intent.view)
	if !ok {
		return
	}
	if reply, ok := answer.ICMP(p.Frame, own.Address.Addr(), why); ok {
		r.flows.sendOut(dataplane.SendFromBorder(), reply)
	}
}

// tellTooLong answers what has passed here, or comes from an endpoint of this host that leaves in its name.
func (r *responder) tellTooLong(p ovs.PacketIn) {
	from, to, ok := answer.Addresses(p.Frame)
	if !ok {
		return
	}
	mtu, nearby := mtuTowards(&r.intent.view, to), false
	for vpc, address := range r.flows.wiring.Translations {
		if address == to {
			mtu, nearby = r.intent.view.Gateways[vpc].MTU, true
		}
		nearby = nearby || address == from
	}
	switch {
	case mtu == 0:
	case nearby:
		if reply, ok := answer.ICMP(p.Frame, to, answer.TooLong(mtu)); ok {
			r.flows.sendOut(dataplane.SendByHairpin(), reply)
		}
	default:
		r.tellPassing(p, answer.TooLong(mtu))
	}
}

// mtuTowards is the least of the VPCs that a public address leads to, 0 if it leads to none: senders keep one MTU for
// an address, not for a port.
func mtuTowards(v *view.View, address netip.Addr) (least int) {
	meet := func(vpc model.VNI) {
		if mtu := v.Gateways[vpc].MTU; mtu != 0 && (least == 0 || mtu < least) {
			least = mtu
		}
	}
	if p, ok := v.Publics[address]; ok {
		meet(p.VPC)
	}
	for key, f := range v.Forwards {
		if key.Address == address {
			meet(f.VPC)
		}
	}
	for key, b := range v.Blocks {
		if key.Address == address {
			meet(b.VPC)
		}
	}
	return least
}

// tellArrived answers what has come from outside with its TTL used up, from the public address that it is for, which is
// all that the outside knows of this host. What answers a connection by SNAT dies in silence.
func (r *responder) tellArrived(p ovs.PacketIn) {
	_, to, ok := answer.Addresses(p.Frame)
	if !ok {
		return
	}
	address, way, ok := dataplane.SendFromPublicIP(&r.intent.view, to)
	if !ok {
		return
	}
	if reply, ok := answer.ICMP(answer.Readdressed(p.Frame, address), address, answer.Expired); ok {
		r.flows.sendOut(way, reply)
	}
}

// leadQuoted sends an ICMP error on to the host whose packet it quotes, where conntrack translates that.
func (r *responder) leadQuoted(p ovs.PacketIn) {
	protocol, sender, ok := answer.Quoted(p.Frame)
	if !ok {
		return
	}
	if way, ok := dataplane.SendToPortOwner(&r.intent.view, r.flows.wiring, protocol, sender); ok {
		r.flows.sendOut(way, p.Frame)
	}
}

// whyNot is what to tell. Nothing is said of a packet to a subnet's broadcast address (RFC 1122 section 3.2.2).
func (r *responder) whyNot(forAgent byte, sender view.Address, to netip.Addr) (why answer.Trouble, ok bool) {
	why = answer.NetUnreachable
	vpc := r.intent.view.Segments[sender.VNI].VPC
	for _, s := range r.intent.view.Segments {
		if s.VPC == vpc && s.CIDR.Contains(to) {
			why = answer.HostUnreachable
			if to == model.Broadcast(s.CIDR) {
				return why, false
			}
		}
	}
	switch forAgent {
	case dataplane.ForAgentTTLExpired:
		why = answer.Expired
	case dataplane.ForAgentGatewayClosed:
		why = answer.PortUnreachable
	}
	return why, true
}
