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

// tellSender answers a packet that cannot be routed, to the port that it came in by. The switch has judged the sender already.
func (a *Agent) tellSender(p ovs.PacketIn) {
	if a.sw == nil {
		return
	}
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
	ctx, cancel := context.WithTimeout(context.Background(), tellTimeout)
	defer cancel()
	if err := a.sw.PacketOut(ctx, flow.PortLocal, []flow.Action{flow.Output{Port: p.InPort}}, reply); err != nil {
		a.log.Debug("tell a sender what became of a packet", "endpoint", sender.Endpoint, "err", err)
	}
}

// tellTimeout is how long the loop waits for a switch that takes nothing.
const tellTimeout = time.Second

// whyNot is what to tell. Nothing is said of a packet to a subnet's broadcast address (RFC 1122 section 3.2.2).
func (a *Agent) whyNot(forAgent byte, sender view.Address, to netip.Addr) (why answer.Trouble, ok bool) {
	why = answer.NetUnreachable
	vpc := a.view.Segments[sender.VNI].VPC
	for _, s := range a.view.Segments {
		if s.VPC == vpc && s.CIDR.Contains(to) {
			why = answer.HostUnreachable
			if to == s.Broadcast() {
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
