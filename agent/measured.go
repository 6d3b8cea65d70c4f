package agent

import (
	"log/slog"
	"net/netip"
	"time"

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
