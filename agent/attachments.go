package agent

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/overlane/overlane/agent/local"
	"github.com/overlane/overlane/internal/same"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/ovs"
	"github.com/overlane/overlane/view"
)

// attachments are the endpoints that are plugged in on this host: calls of the local API plug them in and out, and the
// loop keeps what is plugged in at what intent says.
type attachments struct {
	config local.Config
	server Server
	log    *slog.Logger
	queue  *queue
	intent *intent
	bridge *bridge
	flows  *switchSync

	due   bool                  // a second has passed since tidy looked at interfaces
	seen  []ovs.Port            // the ports that tidy looked at last
	wired wiredPorts            // the last result of ports
	busy  map[string]bool       // endpoints that a call is plugging in or out right now
	ended func(endpoint string) // told on the loop when a call for an endpoint has ended
}

// wiredPorts are the OpenFlow ports of addresses, and the values that they follow from.
type wiredPorts struct {
	own   map[string]view.Address
	ports []ovs.Port
	all   map[view.AddressKey]uint32
}

// ports are the OpenFlow ports of this host's addresses. Nobody writes the map.
func (a *attachments) ports() map[view.AddressKey]uint32 {
	if a.bridge.db == nil {
		return nil
	}
	own, ports := a.intent.own(), a.bridge.db.Ports()
	if w := &a.wired; w.all == nil || !same.Map(w.own, own) || !same.List(w.ports, ports) {
		*w = wiredPorts{own, ports, portNumbers(own, a.bridge.endpoints())}
	}
	return a.wired.all
}

// busyPatience is how long a call waits for another one, or for the loop, to be done with its endpoint.
const busyPatience = 5 * time.Second

// begin keeps others off an endpoint: a second call for it, and the loop's tidying.
func (a *attachments) begin(ctx context.Context, name string) error {
	waiting, cancel := context.WithTimeout(ctx, busyPatience)
	defer cancel()
	var begun bool
	err := a.queue.await(waiting, "its turn", func() bool {
		if begun = !a.busy[name]; begun {
			a.busy[name] = true
		}
		return begun
	})
	if err == nil {
		return nil
	}
	a.queue.do(context.Background(), func() {
		if begun { // just when the time was up
			delete(a.busy, name)
		}
	})
	return conflict("endpoint %s is being attached or detached right now; try again", name)
}

func (a *attachments) end(name string) {
	a.queue.do(context.Background(), func() {
		delete(a.busy, name)
		a.ended(name)
	})
}

// switchPatience is how long a call waits for the connection to Open vSwitch: both may just be starting.
const switchPatience = 5 * time.Second

// database gives other goroutines the connection to OVSDB, and what Ensure made there. It refuses if there is none.
func (a *attachments) database(ctx context.Context) (db *ovs.DB, layout ovs.State, err error) {
	waiting, cancel := context.WithTimeout(ctx, switchPatience)
	defer cancel()
	_ = a.queue.await(waiting, "Open vSwitch", func() bool { return a.bridge.unavailable() == "" }) // why not is told below
	var why string
	if err := a.queue.ask(ctx, func() { db, layout, why = a.bridge.db, a.bridge.state, a.bridge.unavailable() }); err != nil {
		return nil, layout, err
	}
	if why != "" {
		return nil, layout, unavailable("Open vSwitch is not connected: %s", why)
	}
	return db, layout, nil
}

// awaitFlows waits until the switch has confirmed the flows of an address of this host for its port.
func (a *attachments) awaitFlows(ctx context.Context, key view.AddressKey, port uint32) error {
	return a.queue.await(ctx, "the switch to take the endpoint's flows", func() bool {
		return a.flows.wiring.Ports[key] == port && a.flows.upToDate()
	})
}

// releaseTold is how long the view usually needs at most to follow.
const releaseTold = 2 * time.Second

// awaitRelease waits until this host's view has followed. Until then the endpoint counts as being detached: the loop,
// which is yet to hear that the interface is gone, would release it once more, and perhaps the one that is attached
// next.
func (a *attachments) awaitRelease(ctx context.Context, address view.Address) {
	ctx, cancel := context.WithTimeout(ctx, releaseTold)
	defer cancel()
	err := a.queue.await(ctx, "the server to tell this host that an endpoint is gone", func() bool {
		now, ok := a.intent.mine[address.AddressKey]
		return !ok || now.Endpoint != address.Endpoint || now.Attachment == nil
	})
	if err != nil {
		a.log.Debug("detached, but the view still has it", "endpoint", address.Endpoint, "err", err)
	}
}

// releaseBehind gives the endpoints back to the server that are behind one which is being detached.
func (a *attachments) releaseBehind(ctx context.Context, front string) error {
	var behind []view.Address
	if err := a.queue.ask(ctx, func() {
		for _, address := range a.intent.mine {
			if address.Via() == front && !a.busy[address.Endpoint] {
				a.busy[address.Endpoint] = true
				behind = append(behind, address)
			}
		}
	}); err != nil {
		return err
	}
	var errs error
	for _, address := range behind {
		errs = errors.Join(errs, a.releaseNow(ctx, address.Endpoint, address.Ephemeral))
	}
	for _, address := range behind {
		if errs == nil {
			a.awaitRelease(ctx, address)
		}
		a.end(address.Endpoint)
	}
	return errs
}

// release tells the server that an endpoint is not plugged in any more. It runs beside the loop; if the server is away,
// tidy comes here again.
func (a *attachments) release(ctx context.Context, address view.Address) {
	a.busy[address.Endpoint] = true
	go func() {
		err := a.releaseNow(ctx, address.Endpoint, address.Ephemeral)
		if err != nil {
			a.log.Warn("the server does not know yet that an endpoint is gone", "endpoint", address.Endpoint, "err", err)
		} else {
			a.awaitRelease(ctx, address)
		}
		a.queue.do(ctx, func() { delete(a.busy, address.Endpoint) })
	}()
}

// releaseNow deletes an endpoint that attach had made, and unplugs any other.
func (a *attachments) releaseNow(ctx context.Context, name string, ephemeral bool) error {
	if ephemeral {
		return ignoreNotFound(a.server.Delete(ctx, model.Key{Kind: "Endpoint", Name: name}))
	}
	_, err := a.server.Put(ctx, model.Object{Kind: "Endpoint", Name: name, Spec: &model.EndpointSpec{Attachment: &model.Attachment{}}})
	return ignoreNotFound(err)
}
