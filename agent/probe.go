package agent

import (
	"context"
	"time"

	"github.com/overlane/overlane/dataplane"
	"github.com/overlane/overlane/dataplane/flow"
)

// probe asks the endpoints and peers that are due.
func (m *measured) probe(ctx context.Context, flows *switchSync, i *intent, now time.Time) {
	if flows.sw == nil {
		return
	}
	for _, p := range m.tunnels.due(i.view.Peers, now) {
		actions := dataplane.SendProbe(flows.wiring, flow.Addr(p.vtep))
		if err := flows.sw.PacketOut(ctx, flow.PortLocal, actions, probeFrame(p.nonce, p.number)); err != nil {
			flows.log.Warn("probe a peer", "peer", p.host, "err", err)
		}
	}
	for _, q := range m.endpoints.due(i.own(), flows.wiring.Ports, now) {
		question := arpRequest(i.view.Segments[q.address.VNI].Gateway, q.address.IP, q.address.MAC)
		if err := flows.sw.PacketOut(ctx, flow.PortLocal, []flow.Action{flow.Output{Port: q.port}}, question); err != nil {
			flows.log.Warn("ask an endpoint", "endpoint", q.address.Endpoint, "err", err)
		}
	}
}
