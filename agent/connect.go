package agent

import (
	"context"
	"path/filepath"
	"time"

	"github.com/overlane/overlane/dataplane"
	"github.com/overlane/overlane/ovs"
)

const connectTimeout = 10 * time.Second

// connect gets to the database and to the switch, whichever is missing. What fails is tried again a second later.
func (a *Agent) connect(ctx context.Context) {
	if a.sw != nil || time.Now().Before(a.retryAt) {
		return
	}
	if err := a.tryConnect(ctx); err != nil {
		a.retryAt = time.Now().Add(retryAfter)
		a.note(inSwitch, err)
		return
	}
	a.note(inSwitch, nil)
	a.log.Info("connected to Open vSwitch", "datapath", a.layout.Datapath)
	a.keepHost(ctx, time.Now())
}

func (a *Agent) tryConnect(run context.Context) error {
	ctx, cancel := context.WithTimeout(run, connectTimeout)
	defer cancel()
	if a.db == nil {
		if err := a.bridge.open(ctx); err != nil {
			return err
		}
		a.inheritBorder()
	}
	if err := a.ensure(ctx); err != nil {
		return err
	}
	a.ensureUnderlay(ctx, a.view.VTEP)
	sw, err := ovs.Dial(ctx, ovs.SwitchConfig{
		Socket: filepath.Join(a.config.OVS, a.config.Bridge+".mgmt"),
		Log:    a.log,
		PacketIn: func(p ovs.PacketIn) {
			if !a.border.routerAnswered(p) {
				a.offer(func() { a.responder.packetIn(run, p) })
			}
		},
	})
	if err != nil {
		return err
	}
	a.connected(sw)
	a.border.connected()
	a.wirePorts()
	return nil
}

// keepBridge looks at what nobody tells of, and tries again what went wrong.
func (a *Agent) keepBridge(ctx context.Context) {
	if a.sw == nil {
		return
	}
	if a.troubles[inBridge] != "" {
		a.databaseChanged(ctx)
	}
	if a.underlayBroken(a.view.VTEP) {
		a.ensureUnderlay(ctx, a.view.VTEP)
	}
}

// databaseChanged puts back what somebody removed, and looks which ports there are now.
func (a *Agent) databaseChanged(ctx context.Context) {
	if !a.db.Connected() {
		return
	}
	a.note(inBridge, a.ensure(ctx))
	a.wirePorts()
	a.attachments.tidy(ctx)
}

// wanted is what the database must say.
func (a *Agent) wanted() ovs.Layout {
	return ovs.Layout{
		Bridge: a.config.Bridge, Tunnel: tunnelPort, VTEP: a.view.VTEP, UDPPort: a.config.UDPPort,
		Datapath: a.config.Datapath, Tables: dataplane.Names(), Ports: a.ownPorts(), Keep: !a.complete,
	}
}

// ensure has the database say what it must: the bridge, the tunnel port, the names of the tables.
func (a *Agent) ensure(ctx context.Context) error {
	a.assignNIC(time.Now())
	if err := a.bridge.set(ctx, a.wanted()); err != nil {
		return err
	}
	a.wireHost()
	a.wireBorder()
	a.border.releaseNIC(a.complete)
	next := a.wiring
	next.Tunnel = a.layout.TunnelOFPort
	a.rewire(next)
	return nil
}

func (a *Agent) disconnect(err error) {
	a.log.Warn("connection to the switch lost", "err", err)
	a.missed.Add(a.switchSync.disconnect())
	a.zones.disconnected()
	a.borderDisconnected()
}

// flush brings the switch up to date, and then answers who waits for that. Where flows lead outside by this host, they are in the switch
// since before the start, and are neither to be taken away nor put back before the host's own part is known.
func (a *Agent) flush(ctx context.Context) {
	if a.knowsWay() {
		had := a.resync
		if err := a.switchSync.flush(ctx, a.intent, a.borderReadBack); err != nil {
			a.log.Error("bring the switch up to date", "err", err)
		} else if had != "" && a.resync == "" {
			a.border.flowsLoaded()
		}
	}
	a.answerWaiters()
}

// knowsWay tells that the host's way outside has been looked at, if there is to be one.
func (a *Agent) knowsWay() bool {
	return a.host.known || len(a.wiring.Translations) == 0 && !isEdge(&a.view)
}
