package ovs

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/overlane/overlane/ovs/vswitch"
)

// BridgePort is a port of the integration bridge that is neither the tunnels' nor an endpoint's.
type BridgePort struct {
	Name    string
	Type    string            // internal, vxlan (ovs-vswitchd.conf.db(5), Interface table); empty: an existing network interface
	Options map[string]string // of the type
	MAC     string            // of an internal port, like 02:4f:56:00:00:04; empty: OVS's choice
	MTU     int               // of an internal port, in bytes of IP; 0: OVS's choice
	BFD     map[string]string // keys to set, like enable: "true"; other keys stay
}

func (p BridgePort) row() *vswitch.Interface {
	i := &vswitch.Interface{Name: p.Name, Type: p.Type, Options: p.Options, BFD: p.BFD}
	if p.MAC != "" {
		i.MAC = &p.MAC
	}
	if p.MTU != 0 {
		i.MTURequest = &p.MTU
	}
	return i
}

// foreignPorts refuses names that ports of others have.
func (r rows) foreignPorts(l Layout) error {
	for _, want := range l.Ports {
		if p := r.port(want.Name); p != nil && p.ExternalIDs[mark] != markPort {
			return fmt.Errorf("a port %s exists that Overlane has not made (no external_ids:%s=%s); remove it", want.Name, mark, markPort)
		}
	}
	return nil
}

// comparePorts adds missing ports, repairs ports that differ, and removes ports that are no longer wanted.
func (r rows) comparePorts(b *vswitch.Bridge, l Layout) (changes []change) {
	for _, want := range l.Ports {
		changes = append(changes, r.comparePort(b, want)...)
	}
	for _, p := range r.portsOf(b) {
		wanted := slices.ContainsFunc(l.Ports, func(w BridgePort) bool { return w.Name == p.port.Name })
		if p.port.ExternalIDs[mark] == markPort && !wanted && !l.Keep {
			changes = append(changes, change{"port " + p.port.Name + " was left over", func(t *transaction) {
				row := &vswitch.Bridge{UUID: b.UUID}
				t.remove(row, &row.Ports, []string{p.port.UUID})
			}})
		}
	}
	return changes
}

func (r rows) comparePort(b *vswitch.Bridge, want BridgePort) []change {
	i := r.iface(want.Name)
	if i == nil {
		return []change{{"port " + want.Name + " was missing", func(t *transaction) { t.addNumberedPort(b, want) }}}
	}
	row := want.row()
	row.UUID = i.UUID
	var columns []any
	var differ []string
	compare := func(same bool, name string, column any) {
		if !same {
			columns, differ = append(columns, column), append(differ, name)
		}
	}
	compare(i.Type == want.Type, "type", &row.Type)
	compare(maps.Equal(i.Options, want.Options), "options", &row.Options)
	compare(want.MAC == "" || i.MAC != nil && *i.MAC == want.MAC, "mac", &row.MAC)
	compare(want.MTU == 0 || i.MTURequest != nil && *i.MTURequest == want.MTU, "mtu_request", &row.MTURequest)
	row.BFD = maps.Clone(i.BFD)
	for key, value := range want.BFD {
		if row.BFD[key] != value {
			if row.BFD == nil {
				row.BFD = map[string]string{}
			}
			row.BFD[key] = value
		}
	}
	compare(maps.Equal(row.BFD, i.BFD), "bfd", &row.BFD)
	if len(columns) == 0 {
		return nil
	}
	return []change{{"port " + want.Name + ": differed in " + strings.Join(differ, ", "), func(t *transaction) { t.update(row, columns...) }}}
}

// addNumberedPort asks for a number as endpoints do, so that none is used again while flows of its last owner may still
// be in the switch.
func (t *transaction) addNumberedPort(b *vswitch.Bridge, want BridgePort) {
	i := want.row()
	number, release := t.db.numbers.take(0, t.db.rows().numbersOf(b))
	t.releases = append(t.releases, release)
	i.OfportRequest = &number
	t.addPort(b.UUID, i, markPort)
}

// release ends the reservation of the numbers that the transaction asked for: from now on the database has them.
func (t *transaction) release() {
	for _, release := range t.releases {
		release()
	}
}

// portNumbers are the OpenFlow numbers of the layout's ports; a port that ovs-vswitchd has not made is not among them.
func (r rows) portNumbers(l Layout) (numbers map[string]uint32, failed error) {
	for _, want := range l.Ports {
		p := portOf(r.iface(want.Name))
		switch {
		case p.OFPort != 0:
			if numbers == nil {
				numbers = map[string]uint32{}
			}
			numbers[want.Name] = p.OFPort
		case p.Err != "" && failed == nil:
			failed = fmt.Errorf("port %s: %s", want.Name, p.Err)
		}
	}
	return numbers, failed
}

// BFD gives the columns bfd and bfd_status of a port of the layout (ovs-vswitchd.conf.db(5), Interface table); nil if
// there is no such port. The maps belong to the local copy and must not be changed.
func (db *DB) BFD(port string) (told, says map[string]string) {
	i := db.rows().iface(port)
	if i == nil || i.ExternalIDs[mark] != markPort {
		return nil, nil
	}
	return i.BFD, i.BFDStatus
}
