package agent

import (
	"context"
	"net/netip"
	"time"

	"github.com/overlane/overlane/answer"
	"github.com/overlane/overlane/dataplane"
	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/ovs"
	"github.com/overlane/overlane/view"
)

// tellSender answers a packet that cannot be routed, to the port that it came in by. The switch has judged the sender already.
func (a *Agent) tellSender(p ovs.PacketIn) {
	from, to, ok := answer.Addresses(p.Frame)
	if !ok {
		return
	}
	sender, ok := a.addressAt(p.InPort, from)
	if !ok {
		return
	}
	why, ok := a.whyNot(p.Userdata[0], sender, to)
	if !ok {
		return
	}
	reply, ok := answer.ICMP(p.Frame, a.view.Segments[sender.VNI].Gateway, why)
	if !ok {
		return
	}
	a.sendBack(p, reply)
}

// tellPassing answers public traffic that goes no further than here, from this host's next hop: in whichever direction it was going.
func (a *Agent) tellPassing(p ovs.PacketIn, why answer.Trouble) {
	own, ok := ownHop(&a.view)
	if !ok {
		return
	}
	if reply, ok := answer.ICMP(p.Frame, own.Address.Addr(), why); ok {
		a.sendOut(dataplane.Pass(), reply)
	}
}

// tellTooLong answers what has passed here, or comes from an endpoint of this host that leaves in its name.
func (a *Agent) tellTooLong(p ovs.PacketIn) {
	from, to, ok := answer.Addresses(p.Frame)
	if !ok {
		return
	}
	mtu, nearby := mtuTowards(&a.view, to), false
	for vpc, t := range a.wiring.Translations {
		if t.Address == to {
			mtu, nearby = a.view.Gateways[vpc].MTU, true
		}
		nearby = nearby || t.Address == from
	}
	switch {
	case mtu == 0:
	case nearby:
		if reply, ok := answer.ICMP(p.Frame, to, answer.TooLong(mtu)); ok {
			a.sendOut(dataplane.Nearby(), reply)
		}
	default:
		a.tellPassing(p, answer.TooLong(mtu))
	}
}

// mtuTowards is the least of the VPCs that a public address leads to, 0 if it leads to none: senders keep one MTU for an address, not for a port.
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

// tellArrived answers what has come from outside with its TTL used up, from the public address that it is for, which is all that the outside knows of
// this host. What answers a connection by SNAT dies in silence.
func (a *Agent) tellArrived(p ovs.PacketIn) {
	_, to, ok := answer.Addresses(p.Frame)
	if !ok {
		return
	}
	address, way, ok := dataplane.InTheNameOf(&a.view, to)
	if !ok {
		return
	}
	if reply, ok := answer.ICMP(answer.Readdressed(p.Frame, address), address, answer.Expired); ok {
		a.sendOut(way, reply)
	}
}

// answerDHCP leases an endpoint its address. The switch has seen to it that the message is from the MAC of one that the port leads to.
func (a *Agent) answerDHCP(ctx context.Context, p ovs.PacketIn) {
	q, ok := answer.ReadDHCP(p.Frame)
	if !ok {
		return
	}
	if address, ok := a.macAt(p.InPort, q.MAC()); ok {
		a.answerLease(ctx, p, q, address)
	}
}

// answerLease also keeps the time of a dynamic endpoint's lease, and lets go of one whose client does; any other has its address for as long as intent says.
func (a *Agent) answerLease(ctx context.Context, p ovs.PacketIn, q answer.Question, address view.Address) {
	s := a.view.Segments[address.VNI]
	lease := answer.Lease{MAC: address.MAC, Address: netip.PrefixFrom(address.IP, s.CIDR.Bits()), Gateway: s.Gateway, MTU: s.MTU, Options: s.DHCP}
	dynamic := address.Via() != "" && address.Ephemeral
	if dynamic && a.attachments.busy[address.Endpoint] { // it is being released
		return
	}
	if dynamic && q.GivesUp(lease) {
		a.log.Debug("DHCP", "endpoint", address.Endpoint, "asked", q.Asked(), "released", true)
		a.attachments.release(ctx, address)
		return
	}
	reply, leased := q.Answer(lease)
	a.log.Debug("DHCP", "endpoint", address.Endpoint, "asked", q.Asked(), "answered", reply != nil)
	if reply != nil {
		a.sendBack(p, reply)
	}
	if dynamic && leased {
		a.leased(address, time.Now())
	}
}

// leadQuoted sends an ICMP error on to the host whose packet it quotes, where conntrack translates that.
func (a *Agent) leadQuoted(p ovs.PacketIn) {
	protocol, sender, ok := answer.Quoted(p.Frame)
	if !ok {
		return
	}
	if way, ok := dataplane.ToOwner(&a.view, a.wiring, protocol, sender); ok {
		a.sendOut(way, p.Frame)
	}
}

// sendBack sends a frame out of the port that another came in by.
func (a *Agent) sendBack(p ovs.PacketIn, frame []byte) {
	a.sendOut([]flow.Action{flow.Output{Port: p.InPort}}, frame)
}

// sendOut has the switch do something with a frame.
func (a *Agent) sendOut(actions []flow.Action, frame []byte) {
	if a.sw == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), sendTimeout)
	defer cancel()
	if err := a.sw.PacketOut(ctx, flow.PortLocal, actions, frame); err != nil {
		a.log.Debug("send a frame", "err", err)
	}
}

// sendTimeout is how long the loop waits for a switch that takes nothing.
const sendTimeout = time.Second

// whyNot is what to tell. Nothing is said of a packet to a subnet's broadcast address (RFC 1122 section 3.2.2).
func (a *Agent) whyNot(forAgent byte, sender view.Address, to netip.Addr) (why answer.Trouble, ok bool) {
	why = answer.NetUnreachable
	vpc := a.view.Segments[sender.VNI].VPC
	for _, s := range a.view.Segments {
		if s.VPC == vpc && s.CIDR.Contains(to) {
			why = answer.HostUnreachable
			if to == model.Broadcast(s.CIDR) {
				return why, false
			}
		}
	}
	switch forAgent {
	case dataplane.ForAgentExpired:
		why = answer.Expired
	case dataplane.ForAgentRefused:
		why = answer.PortUnreachable
	}
	return why, true
}
