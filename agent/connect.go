package agent

import (
	"context"
	"path/filepath"
	"time"

	"github.com/overlane/overlane/ovs"
)

const connectTimeout = 10 * time.Second

// connect gets to the database and to the switch, whichever is missing. What fails is tried again a second later.
func (a *Agent) connect(ctx context.Context) {
	if a.flows.sw != nil || time.Now().Before(a.flows.retryAt) {
		return
	}
	if err := a.tryConnect(ctx); err != nil {
		a.flows.retryAt = time.Now().Add(retryAfter)
		a.conditions.set(condSwitch, err)
		return
	}
	a.conditions.set(condSwitch, nil)
	a.log.Info("connected to Open vSwitch", "datapath", a.bridge.state.Datapath)
}

func (a *Agent) tryConnect(run context.Context) error {
	ctx, cancel := context.WithTimeout(run, connectTimeout)
	defer cancel()
	if a.bridge.db == nil {
		if err := a.bridge.open(ctx); err != nil {
			return err
		}
		a.inheritBorder()
	}
	a.bridge.dirty = true
	if err := a.setBridge(ctx, time.Now()); err != nil {
		return err
	}
	a.bridge.ensureUnderlay(ctx, a.intent.view.VTEP)
	responder := &responder{intent: a.intent, flows: a.flows, endpoints: a.measured.endpoints, tunnels: a.measured.tunnels, leases: a.leases}
	sw, err := ovs.Dial(ctx, ovs.SwitchConfig{
		Socket: filepath.Join(a.config.OVS, a.config.Bridge+".mgmt"),
		Log:    a.log,
		PacketIn: func(p ovs.PacketIn) {
			if !a.border.routerAnswered(p) {
				a.queue.offer(func() { responder.packetIn(run, p) })
			}
		},
	})
	if err != nil {
		return err
	}
	a.flows.connected(sw)
	a.border.connected()
	return nil
}

func (a *Agent) disconnect(err error) {
	a.log.Warn("connection to the switch lost", "err", err)
	a.queue.missed.Add(a.flows.disconnect())
	a.zones.disconnected()
	a.borderDisconnected()
}
