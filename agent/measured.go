package agent

import (
	"context"
	"log/slog"
	"net/netip"
	"time"

	"github.com/overlane/overlane/dataplane"
	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/model"
)

// measured is what was found of the host and of the network around it, for status.
type measured struct {
	conditions *conditions

	every     time.Duration // is measured
	endpoints endpointLiveness
	tunnels   tunnelLiveness
	counters  *counters
	since     map[string]model.EndpointStatus // of endpoints, as last reported by name

	mtu       int          // of the underlay, bytes of IP; 0: not known
	addresses []netip.Addr // by which others may reach this host, besides its VTEP, as last found
	lookedAt  time.Time    // when these two were found
}

func newMeasured(log *slog.Logger, problems *conditions) measured {
	return measured{conditions: problems, every: time.Second, endpoints: endpointLiveness{}, tunnels: tunnelLiveness{}, counters: &counters{log: log}}
}

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
