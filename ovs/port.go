package ovs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/ovn-kubernetes/libovsdb/ovsdb"

	"github.com/overlane/overlane/ovs/vswitch"
)

// Port is an endpoint's port on the bridge of integration.
type Port struct {
	Name          string            // of the network interface
	OFPortRequest uint32            // the OpenFlow number wanted, 1 to 65279; 0: any free one
	OFPort        uint32            // the assigned number; 0 while ovs-vswitchd has assigned none
	Err           string            // why ovs-vswitchd could not add it
	ExternalIDs   map[string]string // of the caller; without Overlane's own mark
}

func portOf(i *vswitch.Interface) Port {
	if i == nil {
		return Port{}
	}
	p := Port{Name: i.Name, ExternalIDs: maps.Clone(i.ExternalIDs)}
	delete(p.ExternalIDs, mark)
	if i.Ofport != nil && *i.Ofport > 0 { // -1: could not be added
		p.OFPort = uint32(*i.Ofport)
	}
	if i.OfportRequest != nil {
		p.OFPortRequest = uint32(*i.OfportRequest)
	}
	if i.Error != nil {
		p.Err = *i.Error
	}
	return p
}

// portList is the result of Ports at a count of changes.
type portList struct {
	changes uint64
	ports   []Port
	of      map[*vswitch.Interface]Port // a row that changes is replaced by another one
}

// Ports gives the endpoints' ports, by name; the last known ones while ovsdb-server is away. The list is shared and
// must not be changed.
func (db *DB) Ports() []Port {
	bridge := db.bridge.Load()
	if bridge == nil {
		return nil
	}
	changes := db.changes.Load() // before reading: a change meanwhile makes the list outdated
	if last := db.ports.Load(); last != nil && last.changes == changes {
		return last.ports
	}
	list := db.readPorts(*bridge, db.ports.Load())
	list.changes = changes
	db.ports.Store(list)
	return list.ports
}

// readPorts takes from the last list, if there is one, what has not changed since.
func (db *DB) readPorts(bridge string, last *portList) *portList {
	r := db.rows()
	rows := r.portsOf(r.bridge(bridge))
	list := &portList{ports: make([]Port, 0, len(rows)), of: make(map[*vswitch.Interface]Port, len(rows))}
	for _, row := range rows {
		if row.port.ExternalIDs[mark] != markEndpoint {
			continue
		}
		p, known := Port{}, false
		if last != nil {
			p, known = last.of[row.iface]
		}
		if !known {
			p = portOf(row.iface)
		}
		list.of[row.iface] = p
		list.ports = append(list.ports, p)
	}
	slices.SortFunc(list.ports, func(x, y Port) int { return strings.Compare(x.Name, y.Name) })
	return list
}

var errNotEnsured = errors.New("the bridge has not been made yet")

// AddPort adds a network interface to the bridge as a port, and returns when ovs-vswitchd has assigned its number. If
// that fails, the port is removed, unless ovsdb-server goes away meanwhile. An existing port keeps its number and gets
// the external ids.
func (db *DB) AddPort(ctx context.Context, p Port) (Port, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	added, err := db.addPort(ctx, p)
	if err != nil {
		return added, fmt.Errorf("add port %s: %w", p.Name, err)
	}
	return added, nil
}

func (db *DB) addPort(ctx context.Context, p Port) (Port, error) {
	t, err := db.begin()
	if err != nil {
		return Port{}, err
	}
	bridge := db.bridge.Load()
	if bridge == nil {
		return Port{}, errNotEnsured
	}
	r := db.rows()
	b := r.bridge(*bridge)
	if b == nil {
		return Port{}, fmt.Errorf("bridge %s is gone", *bridge)
	}
	if there := r.port(p.Name); there != nil {
		return db.keepPort(ctx, t, there, p)
	}
	number, release := db.numbers.take(p.OFPortRequest, r.numbersOf(b))
	defer release()
	t.addPort(b.UUID, &vswitch.Interface{Name: p.Name, OfportRequest: &number, ExternalIDs: maps.Clone(p.ExternalIDs)}, markEndpoint)
	_, err = t.commit(ctx)
	if refused(err) {
		return Port{}, err
	}
	var got Port
	if err == nil {
		got, err = db.awaitPort(ctx, p.Name)
	}
	if err != nil {
		return got, errors.Join(err, db.takeBack(ctx, p.Name))
	}
	return got, nil
}

// refused reports whether an error means that nothing was done. After a timeout, for example, the server may have done
// it.
func refused(err error) bool {
	var e ovsdb.OperationError
	return errors.As(err, &e) || errors.Is(err, ErrNotConnected)
}

// keepPort updates an existing port. If the port has an error, its interface may have been missing and exist now: then
// ovs-vswitchd must try again.
func (db *DB) keepPort(ctx context.Context, t *transaction, there *vswitch.Port, p Port) (Port, error) {
	if there.ExternalIDs[mark] != markEndpoint {
		return Port{}, fmt.Errorf("a port of this name exists that Overlane has not made (no external_ids:%s=%s)", mark, markEndpoint)
	}
	i := db.rows().iface(p.Name)
	if i == nil {
		return Port{}, errors.New("the database has the port without its interface")
	}
	has := portOf(i)
	if !maps.Equal(has.ExternalIDs, p.ExternalIDs) {
		row := &vswitch.Interface{UUID: i.UUID, ExternalIDs: map[string]string{mark: markEndpoint}}
		maps.Copy(row.ExternalIDs, p.ExternalIDs)
		t.update(row, &row.ExternalIDs)
	}
	if len(t.ops) > 0 || has.OFPort == 0 {
		if err := t.apply(ctx); err != nil {
			return Port{}, err
		}
	}
	return db.awaitPort(ctx, p.Name)
}

// awaitPort waits until ovs-vswitchd has made a port, or failed to.
func (db *DB) awaitPort(ctx context.Context, name string) (Port, error) {
	var p Port
	if err := db.await(ctx, "ovs-vswitchd to add it", func() bool {
		p = portOf(db.rows().iface(name))
		return p.Name == "" || p.OFPort != 0 || p.Err != ""
	}); err != nil {
		return p, err
	}
	switch {
	case p.Name == "":
		return p, errors.New("somebody removed it again")
	case p.OFPort == 0:
		return p, errors.New(p.Err)
	}
	return p, nil
}

// takeBack removes a port that could not be added, even after the call's deadline.
func (db *DB) takeBack(ctx context.Context, name string) error {
	return db.RemovePort(context.WithoutCancel(ctx), name)
}

// RemovePort removes an endpoint's port from the bridge. The network interface stays. A port that does not exist is no
// error. The port is looked up on the server, since the local copy may not have it yet.
func (db *DB) RemovePort(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := db.removePort(ctx, name); err != nil {
		return fmt.Errorf("remove port %s: %w", name, err)
	}
	return nil
}

func (db *DB) removePort(ctx context.Context, name string) error {
	t, err := db.begin()
	if err != nil {
		return err
	}
	t.ops = []ovsdb.Operation{{
		Op: ovsdb.OperationSelect, Table: vswitch.PortTable, Columns: []string{"_uuid", "external_ids"},
		Where: []ovsdb.Condition{ovsdb.NewCondition("name", ovsdb.ConditionEqual, name)},
	}}
	results, err := t.commit(ctx)
	if err != nil || len(results[0].Rows) == 0 {
		return err
	}
	p := results[0].Rows[0]
	if ids, _ := p["external_ids"].(ovsdb.OvsMap); ids.GoMap[mark] != markEndpoint {
		return fmt.Errorf("it is not one that Overlane has made (no external_ids:%s=%s)", mark, markEndpoint)
	}
	port, err := ovsdb.NewOvsSet([]any{p["_uuid"]})
	if err != nil {
		return err
	}
	t.ops = []ovsdb.Operation{{ // port and interface are not rooted: they go with the last reference
		Op: ovsdb.OperationMutate, Table: vswitch.BridgeTable,
		Where:     []ovsdb.Condition{ovsdb.NewCondition("ports", ovsdb.ConditionIncludes, port)},
		Mutations: []ovsdb.Mutation{*ovsdb.NewMutation("ports", ovsdb.MutateOperationDelete, port)},
	}}
	_, err = t.commit(ctx)
	return err
}

// maxOFPort is the last number that a port may ask for (ovs-vswitchd.conf.db(5), ofport_request).
const maxOFPort = 65279

// numbers hands out OpenFlow port numbers. It goes round, so that a number is not used again while flows of its last
// owner may still be in the switch.
type numbers struct {
	mu    sync.Mutex
	last  int
	taken map[int]bool // given to a call under way
}

// take reserves the number asked for, or the next free one if that is 0, until release is called.
func (n *numbers) take(asked uint32, inUse map[int]bool) (number int, release func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	number = int(asked)
	if asked == 0 {
		number = n.next(inUse)
	}
	if n.taken == nil {
		n.taken = map[int]bool{}
	}
	n.taken[number] = true
	return number, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.taken, number)
	}
}

func (n *numbers) next(inUse map[int]bool) int {
	if n.last == 0 {
		for used := range inUse {
			n.last = max(n.last, used)
		}
	}
	for range maxOFPort {
		n.last = n.last%maxOFPort + 1
		if n.last != tunnelOFPort && !inUse[n.last] && !n.taken[n.last] {
			break
		}
	}
	return n.last
}

// numbersOf gives the OpenFlow numbers that ports of a bridge have or ask for.
func (r rows) numbersOf(b *vswitch.Bridge) map[int]bool {
	used := map[int]bool{}
	for _, p := range r.portsOf(b) {
		for _, number := range []*int{p.iface.Ofport, p.iface.OfportRequest} {
			if number != nil && *number > 0 && *number <= maxOFPort {
				used[*number] = true
			}
		}
	}
	return used
}
