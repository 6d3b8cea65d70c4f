package agent

import (
	"context"
	"reflect"
	"slices"
	"time"

	"github.com/overlane/overlane/ovs"
)

// followGateways gives what the view's gateways need on this host: numbers, ports, the table.
func (a *Agent) followGateways(ctx context.Context) {
	a.rezone()
	a.assignNIC(time.Now())
	if a.db != nil && !reflect.DeepEqual(a.wanted(), a.ensured) {
		a.databaseChanged(ctx)
	}
}

// ownPorts are those on the bridge that are no endpoint's. The one for SNAT stays while VPCs were translated when last
// heard of.
func (a *Agent) ownPorts() []ovs.BridgePort {
	return slices.Concat(hostPorts(&a.view, !a.complete && len(a.zones.Number) > 0), a.borderPorts())
}
