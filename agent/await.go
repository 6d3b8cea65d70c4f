package agent

import (
	"context"
	"time"

	"github.com/overlane/overlane/view"
)

// awaitFlows waits until the switch has confirmed the flows of an address of this host for its port.
func (a *Agent) awaitFlows(ctx context.Context, key view.AddressKey, port uint32) error {
	return a.await(ctx, "the switch to take the endpoint's flows", func() bool {
		return a.wiring.Ports[key] == port && len(a.touched) == 0 && a.resync == ""
	})
}

// releaseTold is how long the view usually needs at most to follow.
const releaseTold = 2 * time.Second

// awaitRelease waits until this host's view has followed. Until then the endpoint counts as being detached: the loop, which is yet to hear that
// the interface is gone, would release it once more, and perhaps the one that is attached next.
func (a *Agent) awaitRelease(ctx context.Context, address view.Address) {
	ctx, cancel := context.WithTimeout(ctx, releaseTold)
	defer cancel()
	err := a.await(ctx, "the server to tell this host that an endpoint is gone", func() bool {
		now, ok := a.mine[address.AddressKey]
		return !ok || now.Endpoint != address.Endpoint || now.Attachment == nil
	})
	if err != nil {
		a.log.Debug("detached, but the view still has it", "endpoint", address.Endpoint, "err", err)
	}
}
