package ovs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/overlane/overlane/internal/ifname"
	"github.com/overlane/overlane/ovs/vswitch"
)

// UplinkBridge carries the host's addresses while its NIC is in Open vSwitch.
const UplinkBridge = ifname.UplinkBridge

// Uplink is the NIC to move into Open vSwitch: on the userspace datapath, tunnels leave through a bridge only
// (ovs-vswitchd encapsulates, so it cannot use a NIC that the kernel routes).
type Uplink struct {
	NIC     string
	Journal string // file that exists as long as the NIC is moved; it has all that a rollback needs

	// Reachable checks whether the server is reachable. It is called before the move, and after the move until it
	// succeeds or Patience is over; then the move is rolled back. It may be nil. Neighbours on the NIC's link are
	// checked as well, since the server may be on this machine.
	Reachable func(context.Context) error
	Patience  time.Duration // 0: 20 s

	Log *slog.Logger // nil: nowhere
}

const defaultPatience = 20 * time.Second

// EnsureUplink moves the NIC into a bridge, and its addresses and routes to the bridge's own interface, which takes the
// NIC's MAC. If the host loses its connection by that, or a step fails, the move is rolled back; if the process is
// killed meanwhile, [RestoreUplink] rolls it back from the journal. A NIC that is moved already is left alone. A later
// loss, in a reboot for example, is repaired.
//
// Connections survive, since addresses and MAC stay. A DHCP client must run on the bridge from then on.
func (db *DB) EnsureUplink(ctx context.Context, u Uplink) (moved bool, err error) {
	m, err := db.planUplink(u)
	if err != nil || m == nil {
		return false, wrapUplink(u, err)
	}
	wasReachable := u.reachable(ctx)
	if wasReachable != nil && !m.confirmed {
		return false, wrapUplink(u, fmt.Errorf("nothing is moved, because there is no connection to begin with: %w", wasReachable))
	}
	known, err := m.journal.findNeighbours(ctx)
	if err != nil {
		return false, wrapUplink(u, err)
	}
	u.logBasis(known)
	err = db.doMove(ctx, m)
	if err == nil {
		err = u.await(ctx, func(ctx context.Context) error {
			if wasReachable == nil {
				if err := u.reachable(ctx); err != nil {
					return err
				}
			}
			return known.check(ctx, UplinkBridge)
		})
	}
	if err != nil {
		return false, wrapUplink(u, errors.Join(err, db.undoMove(context.WithoutCancel(ctx), m.journal, u.Journal)))
	}
	m.journal.Confirmed = true
	return true, wrapUplink(u, m.journal.write(u.Journal))
}

func wrapUplink(u Uplink, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("uplink %s: %w", u.NIC, err)
}

// RemoveUplink rolls the move back, and removes the bridge. If no NIC is moved it does nothing.
func (db *DB) RemoveUplink(ctx context.Context, u Uplink) error {
	j, err := readJournal(u.Journal)
	if err != nil || j == nil {
		return wrapUplink(u, err)
	}
	if u.NIC != "" && j.NIC != u.NIC {
		return wrapUplink(u, fmt.Errorf("the interface that was moved is %s", j.NIC))
	}
	now, err := takeInventory(j.NIC, UplinkBridge)
	if err != nil {
		return wrapUplink(u, err)
	}
	if !now.empty() {
		j.inventory = now
	}
	j.Confirmed = false
	if err := j.write(u.Journal); err != nil {
		return wrapUplink(u, err)
	}
	return wrapUplink(u, db.undoMove(ctx, j, u.Journal))
}

// RestoreUplink rolls back a move that was interrupted, without Open vSwitch. Call it when the process starts. restored
// reports whether there was one.
func RestoreUplink(journal string) (restored bool, err error) {
	j, err := readJournal(journal)
	if err != nil || j == nil || j.Confirmed {
		return false, err
	}
	if err := j.putBack(); err != nil {
		return false, fmt.Errorf("uplink %s: put back: %w", j.NIC, err)
	}
	return true, removeJournal(journal)
}

func (u Uplink) reachable(ctx context.Context) error {
	if u.Reachable == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, u.patience())
	defer cancel()
	return u.Reachable(ctx)
}

func (u Uplink) patience() time.Duration {
	if u.Patience == 0 {
		return defaultPatience
	}
	return u.Patience
}

const askAgainAfter = 200 * time.Millisecond

// logBasis logs the neighbours by which the move will be judged.
func (u Uplink) logBasis(known neighbours) {
	log := u.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if len(known.addresses) == 0 {
		log.Warn("nobody on the link of the uplink answers ARP, so nobody can tell whether the host is still reached after the move", "nic", u.NIC)
		return
	}
	log.Info("move the uplink, and put it back unless one of its neighbours still answers", "nic", u.NIC, "neighbours", known.addresses)
}

// await calls ask until it succeeds or Patience is over. The deadline interrupts the last call, so the error before it
// says why.
func (u Uplink) await(ctx context.Context, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, u.patience())
	defer cancel()
	var why error
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		if why == nil || ctx.Err() == nil {
			why = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the move was rolled back, because the connection was lost for %s: %w", u.patience(), why)
		case <-time.After(askAgainAfter):
		}
	}
}

// move is a planned move.
type move struct {
	journal   *journal
	path      string
	confirmed bool // the move was made and confirmed before
}

// planUplink gives nil if there is nothing to do.
func (db *DB) planUplink(u Uplink) (*move, error) {
	if !db.Connected() {
		return nil, ErrNotConnected
	}
	inBridge, err := db.rows().uplinkInBridge(u.NIC)
	if err != nil {
		return nil, err
	}
	old, err := readJournal(u.Journal)
	if err != nil {
		return nil, err
	}
	if old != nil && old.NIC != u.NIC {
		return nil, fmt.Errorf("%s is the uplink already; remove that first", old.NIC)
	}
	nic, err := netlink.LinkByName(u.NIC)
	if err != nil {
		return nil, fmt.Errorf("no such interface: %w", err)
	}
	if old != nil && old.Confirmed && inBridge && old.settled() {
		return nil, nil
	}
	j, err := newJournal(nic, old)
	if err != nil {
		return nil, err
	}
	return &move{j, u.Journal, old != nil && old.Confirmed}, nil
}

// uplinkInBridge reports whether the NIC is in the uplink bridge already. It is an error if the bridge, or the bridge
// that has the NIC, is not ours.
func (r rows) uplinkInBridge(nic string) (bool, error) {
	if b := r.bridge(UplinkBridge); b != nil && b.ExternalIDs[mark] != markUplink {
		return false, fmt.Errorf("a bridge %s exists that Overlane has not made (no external_ids:%s=%s)", UplinkBridge, mark, markUplink)
	}
	on := r.bridgeOf(nic)
	if on != nil && on.Name != UplinkBridge {
		return false, fmt.Errorf("it is in bridge %s already; leave it there, and start without an uplink", on.Name)
	}
	return on != nil, nil
}

// doMove writes the journal, then the database, then moves the addresses: from then on packets go through the bridge.
func (db *DB) doMove(ctx context.Context, m *move) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := m.journal.write(m.path); err != nil {
		return err
	}
	if err := db.makeUplinkBridge(ctx, m.journal); err != nil {
		return err
	}
	return m.journal.moveThere()
}

// makeUplinkBridge makes the bridge with the NIC. While the NIC has its addresses, that changes nothing for the host:
// the userspace datapath takes copies of packets.
func (db *DB) makeUplinkBridge(ctx context.Context, j *journal) error {
	t, err := db.begin()
	if err != nil {
		return err
	}
	r := db.rows()
	b, nic := r.bridge(UplinkBridge), &vswitch.Interface{Name: j.NIC}
	switch {
	case b == nil:
		standalone := vswitch.BridgeFailModeStandalone // it switches by itself, like a NIC with a cable
		t.insertBridge(&vswitch.Bridge{
			Name: UplinkBridge, DatapathType: Userspace, FailMode: &standalone,
			ExternalIDs: map[string]string{mark: markUplink}, OtherConfig: map[string]string{"hwaddr": j.MAC},
			Ports: []string{t.createPort(&vswitch.Interface{Name: UplinkBridge, Type: "internal"}, markUplink), t.createPort(nic, markUplink)},
		})
	case r.port(j.NIC) == nil:
		t.addPort(b.UUID, nic, markUplink)
	}
	if err := t.apply(ctx); err != nil {
		return fmt.Errorf("make bridge %s: %w", UplinkBridge, err)
	}
	for _, name := range []string{UplinkBridge, j.NIC} {
		if _, err := db.awaitPort(ctx, name); err != nil {
			return fmt.Errorf("put %s into bridge %s: %w", name, UplinkBridge, err)
		}
	}
	return nil
}

// undoMove puts the addresses back on the NIC first: then the host is reachable with or without the bridge.
func (db *DB) undoMove(ctx context.Context, j *journal, path string) error {
	if err := j.putBack(); err != nil {
		return fmt.Errorf("put back: %w", err)
	}
	if err := db.removeUplinkBridge(ctx); err != nil {
		return fmt.Errorf("the move was rolled back, but bridge %s still exists: %w", UplinkBridge, err)
	}
	return removeJournal(path)
}

func (db *DB) removeUplinkBridge(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	t, err := db.begin()
	if err != nil {
		return err
	}
	r := db.rows()
	b, root := r.bridge(UplinkBridge), r.root()
	if b == nil || root == nil || b.ExternalIDs[mark] != markUplink {
		return nil
	}
	row := &vswitch.OpenvSwitch{UUID: root.UUID}
	t.remove(row, &row.Bridges, []string{b.UUID})
	return t.apply(ctx)
}
