package agent

import (
	"context"
	"time"

	"github.com/overlane/overlane/dataplane"
	"github.com/overlane/overlane/dataplane/flow"
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
