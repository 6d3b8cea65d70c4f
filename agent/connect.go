package agent

import (
	"cmp"
	"context"
	"path/filepath"
	"reflect"
	"time"

	"github.com/overlane/overlane/dataplane"
	"github.com/overlane/overlane/ovs"
)

const (
	connectTimeout = 10 * time.Second
	tunnelPort     = "ovl-vxlan"
	uplinkPatience = 8 * time.Second // less than connectTimeout
)

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
		db, err := ovs.Open(ctx, ovs.Config{Socket: filepath.Join(a.config.OVS, "db.sock"), Log: a.log})
		if err != nil {
			return err
		}
		a.db = db
		a.inheritBorder()
	}
	if err := a.ensure(ctx); err != nil {
		return err
	}
	a.ensureUnderlay(ctx)
	sw, err := ovs.Dial(ctx, ovs.SwitchConfig{
		Socket: filepath.Join(a.config.OVS, a.config.Bridge+".mgmt"),
		Log:    a.log,
		PacketIn: func(p ovs.PacketIn) {
			if !a.border.routerAnswered(p) {
				a.offer(func() { a.packetIn(run, p) })
			}
		},
	})
	if err != nil {
		return err
	}
	a.sw, a.stranger = sw, false
	a.border.connected()
	a.wantResync("connect")
	a.wirePorts()
	return nil
}

// database gives other goroutines the connection to OVSDB, and what Ensure made there. It refuses while there is none.
func (a *Agent) database(ctx context.Context) (db *ovs.DB, layout ovs.State, err error) {
	var why string
	if err := a.ask(ctx, func() { db, layout, why = a.db, a.layout, a.noDatabase() }); err != nil {
		return nil, layout, err
	}
	if why != "" {
		return nil, layout, unavailable("Open vSwitch is not connected: %s", why)
	}
	return db, layout, nil
}

// noDatabase says why OVSDB cannot be changed; empty: it can.
func (a *Agent) noDatabase() string {
	switch {
	case a.db != nil && !a.db.Connected():
		return "ovsdb-server does not answer"
	case a.db == nil || a.layout.Datapath == "":
		return cmp.Or(a.troubles[inSwitch], "the agent has just started")
	}
	return ""
}

func (a *Agent) uplinkJournal() string { return filepath.Join(a.config.State, "uplink.json") }

// ensureUnderlay sees to it that tunnels can leave: on the userspace datapath they do so through a bridge, into which the NIC is
// moved if, and only if, the configuration names it. What is wrong is for status; containers of this host reach each other all the same.
func (a *Agent) ensureUnderlay(ctx context.Context) {
	err := a.moveUplink(ctx)
	if err == nil {
		err = a.db.CheckVTEP(a.view.VTEP, a.layout.Datapath)
	}
	a.note(inUnderlay, err)
}

// keepBridge looks at what nobody tells of, and tries again what went wrong.
func (a *Agent) keepBridge(ctx context.Context) {
	if a.sw == nil {
		return
	}
	if a.troubles[inBridge] != "" {
		a.databaseChanged(ctx)
	}
	if a.troubles[inUnderlay] != "" || a.db.CheckVTEP(a.view.VTEP, a.layout.Datapath) != nil {
		a.ensureUnderlay(ctx)
	}
}

func (a *Agent) moveUplink(ctx context.Context) error {
	if a.config.Uplink == "" || a.layout.Datapath != ovs.Userspace {
		return nil
	}
	moved, err := a.db.EnsureUplink(ctx, ovs.Uplink{
		NIC: a.config.Uplink, Journal: a.uplinkJournal(), Patience: uplinkPatience, Log: a.log,
		Reachable: func(ctx context.Context) error {
			_, err := a.server.Version(ctx)
			return err
		},
	})
	if moved {
		a.log.Info("uplink is in Open vSwitch", "nic", a.config.Uplink, "bridge", ovs.UplinkBridge)
	}
	return err
}

// databaseChanged puts back what somebody removed, and looks which ports there are now.
func (a *Agent) databaseChanged(ctx context.Context) {
	if !a.db.Connected() {
		return
	}
	a.note(inBridge, a.ensure(ctx))
	a.wirePorts()
	a.tidy(ctx)
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
	want := a.wanted()
	layout, err := a.db.Ensure(ctx, want)
	if err != nil {
		return err
	}
	a.layout = layout
	a.note(inPorts, layout.PortError)
	deliberate := !reflect.DeepEqual(want, a.ensured) // or a new version's
	a.ensured = want
	if n := len(layout.Repaired); n > 0 && !deliberate {
		a.drift.PortsRepaired += uint64(n)
		a.drift.Last = time.Now()
		a.log.Warn("somebody has changed the bridge; repaired", "what", layout.Repaired)
	}
	a.wireHost()
	a.wireBorder()
	a.border.releaseNIC(a.complete)
	next := a.wiring
	next.Tunnel = layout.TunnelOFPort
	a.rewire(next)
	return nil
}

// noteDrift hears that somebody has changed what is ours in the switch. What it was, the read-back finds out.
func (a *Agent) noteDrift(e ovs.DriftEvent) {
	a.log.Info("somebody has changed the switch", "what", e.What)
	a.wantResync(resyncDrift)
}

func (a *Agent) disconnect(err error) {
	a.log.Warn("connection to the switch lost", "err", err)
	a.sw.Close()
	a.missed.Add(a.sw.Dropped())
	a.sw = nil
	clear(a.zones.limited)
	a.borderDisconnected()
}

// offer hands the loop a function that is lost, and counted, when it is busy.
func (a *Agent) offer(f func()) {
	select {
	case a.calls <- f:
	default:
		a.missed.Add(1)
	}
}

// These are nil while there is no connection: a nil channel never has anything to say.

func (a *Agent) dbChanged() <-chan struct{} {
	if a.db == nil {
		return nil
	}
	return a.db.Changed()
}

func (a *Agent) driftEvents() <-chan ovs.DriftEvent {
	if a.sw == nil {
		return nil
	}
	return a.sw.Drift()
}

func (a *Agent) switchDone() <-chan struct{} {
	if a.sw == nil {
		return nil
	}
	return a.sw.Done()
}
