package agent

import (
	"cmp"
	"context"
	"log/slog"
	"net/netip"
	"path/filepath"
	"reflect"
	"time"

	"github.com/overlane/overlane/agent/local"
	"github.com/overlane/overlane/internal/ifname"
	"github.com/overlane/overlane/internal/same"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/ovs"
)

const (
	tunnelPort     = ifname.Tunnel
	uplinkPatience = 8 * time.Second // less than connectTimeout
)

// bridge is the switch's database: the bridge, and which ports it has.
type bridge struct {
	config     local.Config
	server     Server
	log        *slog.Logger
	conditions *conditions
	drift      *model.Drift // shared with switchSync

	db      *ovs.DB    // nil: not opened yet
	state   ovs.State  // as last found
	ensured ovs.Layout // what the database was last made to say
	dirty   bool       // something in the database has changed since
	found   foundPorts // the last result of endpoints
	retryAt time.Time  // of what has gone wrong
}

// open connects to the database.
func (b *bridge) open(ctx context.Context) (err error) {
	b.db, err = ovs.Open(ctx, ovs.Config{Socket: filepath.Join(b.config.OVS, "db.sock"), Log: b.log})
	return err
}

// close ends the connection, if there is one.
func (b *bridge) close() {
	if b.db != nil {
		b.db.Close()
	}
}

// set has the database say what it must, unless it does: the bridge, the tunnel port, the names of the tables. What of
// the same layout has changed since it was last set, somebody else has changed. changed tells that the bridge is another
// one now.
func (b *bridge) set(ctx context.Context, want ovs.Layout) (changed bool, err error) {
	was := b.ensured
	if !b.dirty && reflect.DeepEqual(want, was) {
		return false, nil
	}
	state, err := b.db.Ensure(ctx, want)
	if err != nil {
		b.retryAt = time.Now().Add(retryAfter)
		return false, err
	}
	b.state = state
	b.conditions.set(condPorts, state.PortError)
	deliberate := !reflect.DeepEqual(want, was) // or a new version's
	b.ensured, b.dirty = want, false
	if n := len(state.Repaired); n > 0 && !deliberate {
		b.drift.PortsRepaired += uint64(n)
		b.drift.Last = time.Now()
		b.log.Warn("somebody has changed the bridge; repaired", "what", state.Repaired)
	}
	if was.VTEP.IsValid() && was.VTEP != want.VTEP {
		b.ensureUnderlay(ctx, want.VTEP)
	}
	return len(state.Repaired) > 0, nil
}

// changed is nil while there is no connection: nothing ever comes out of a nil channel.
func (b *bridge) changed() <-chan struct{} {
	if b.db == nil {
		return nil
	}
	return b.db.Changed()
}

// reachable tells that the database can be read and changed.
func (b *bridge) reachable() bool { return b.db != nil && b.db.Connected() }

// unavailable says why the database cannot be changed; empty: it can.
func (b *bridge) unavailable() string {
	switch {
	case b.db != nil && !b.db.Connected():
		return "ovsdb-server does not answer"
	case b.db == nil || b.state.Datapath == "":
		return cmp.Or(b.conditions.causes[condSwitch], "the agent has just started")
	}
	return ""
}

// foundPorts are the ports of a list of the database's. The list is another one when it has changed.
type foundPorts struct {
	list  []ovs.Port
	ports endpointPorts
}

// endpoints are the ports that are endpoints'. Nobody writes the map.
func (b *bridge) endpoints() endpointPorts {
	if b.db == nil {
		return nil
	}
	if list := b.db.Ports(); b.found.ports == nil || !same.List(b.found.list, list) {
		b.found = foundPorts{list, newEndpointPorts(list)}
	}
	return b.found.ports
}

// bfd is what OVS says of the session with a peer (ovs-vswitchd.conf.db(5), bfd_status).
func (b *bridge) bfd(host string) map[string]string {
	if b.db == nil {
		return nil
	}
	_, says := b.db.BFD(bfdPort(host))
	return says
}

// ensureUnderlay sees to it that tunnels can leave: on the userspace datapath they do so through a bridge, into which
// the NIC is moved if, and only if, the configuration names it. What is wrong is for status; containers of this host
// reach each other all the same.
func (b *bridge) ensureUnderlay(ctx context.Context, vtep netip.Addr) {
	err := b.moveUplink(ctx)
	if err == nil {
		err = b.db.CheckVTEP(vtep, b.state.Datapath)
	}
	b.conditions.set(condUnderlay, err)
}

// keepUnderlay looks at what nobody tells of.
func (b *bridge) keepUnderlay(ctx context.Context, vtep netip.Addr) {
	if b.underlayBroken(vtep) {
		b.ensureUnderlay(ctx, vtep)
	}
}

// underlayBroken tells that tunnels cannot leave now, or could not when that was last tried.
func (b *bridge) underlayBroken(vtep netip.Addr) bool {
	return b.conditions.causes[condUnderlay] != "" || b.db.CheckVTEP(vtep, b.state.Datapath) != nil
}

func (b *bridge) moveUplink(ctx context.Context) error {
	if b.config.Uplink == "" || b.state.Datapath != ovs.Userspace {
		return nil
	}
	moved, err := b.db.EnsureUplink(ctx, ovs.Uplink{
		NIC: b.config.Uplink, Journal: uplinkJournal(b.config), Patience: uplinkPatience, Log: b.log,
		Reachable: func(ctx context.Context) error {
			_, err := b.server.Version(ctx)
			return err
		},
	})
	if moved {
		b.log.Info("uplink is in Open vSwitch", "nic", b.config.Uplink, "bridge", ovs.UplinkBridge)
	}
	return err
}

// restoreUplink puts back what a move that was cut short has moved.
func (b *bridge) restoreUplink() {
	if restored, err := ovs.RestoreUplink(uplinkJournal(b.config)); err != nil {
		b.log.Error("a move of the uplink was interrupted and cannot be put back", "err", err)
	} else if restored {
		b.log.Warn("a move of the uplink was interrupted; put back")
	}
}

func uplinkJournal(c local.Config) string { return filepath.Join(c.State, "uplink.json") }
