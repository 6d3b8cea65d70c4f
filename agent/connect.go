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
	a.guard(ctx, time.Now())
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
		a.inheritPassage()
	}
	if err := a.ensure(ctx); err != nil {
		return err
	}
	a.ensureUnderlay(ctx)
	sw, err := ovs.Dial(ctx, ovs.SwitchConfig{
		Socket: filepath.Join(a.config.OVS, a.config.Bridge+".mgmt"),
		Log:    a.log,
		PacketIn: func(p ovs.PacketIn) {
			if !a.heardRouter(p) {
				a.offer(func() { a.packetIn(run, p) })
			}
		},
	})
	if err != nil {
		return err
	}
	a.connected(sw)
	a.rewire()
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
	a.rewire()
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
	a.followPassage(time.Now())
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
	a.openWay()
	a.wirePassage()
	a.giveBack()
	if a.wiring.Tunnel != layout.TunnelOFPort {
		a.wiring.Tunnel = layout.TunnelOFPort
		a.wantResync("tunnel port")
	}
	return nil
}

func (a *Agent) disconnect(err error) {
	a.log.Warn("connection to the switch lost", "err", err)
	a.missed.Add(a.switchSync.disconnect())
	clear(a.zones.limited)
	a.passageLost()
}

// dbChanged is nil while there is no connection: nothing ever comes out of a nil channel.
func (a *Agent) dbChanged() <-chan struct{} {
	if a.db == nil {
		return nil
	}
	return a.db.Changed()
}

// flush brings the switch up to date, and then answers who waits for that. Where flows lead outside by this host, they are in the switch
// since before the start, and are neither to be taken away nor put back before the host's own part is known.
func (a *Agent) flush(ctx context.Context) {
	if a.knowsWay() {
		had := a.resync
		if err := a.switchSync.flush(ctx, a.intent, a.shutBefore); err != nil {
			a.log.Error("bring the switch up to date", "err", err)
		} else if had != "" && a.resync == "" {
			a.passage.loaded = true
		}
	}
	a.answerWaiters()
}

// knowsWay tells that the host's way outside has been looked at, if there is to be one.
func (a *Agent) knowsWay() bool {
	return a.guarded.looked || len(a.wiring.Translations) == 0 && !a.isEdge()
}
