package ovs

import (
	"slices"

	"github.com/ovn-kubernetes/libovsdb/cache"
	"github.com/ovn-kubernetes/libovsdb/model"

	"github.com/overlane/overlane/ovs/vswitch"
)

// rows is the copy of the database. A row that is found may belong to the copy, and must not be changed.
type rows struct{ *cache.TableCache }

func (db *DB) rows() rows { return rows{db.session.Load().rows} }

// root is the one row of table Open_vSwitch; nil in a database that "ovs-vsctl init" has not seen.
func (r rows) root() *vswitch.OpenvSwitch {
	for _, m := range r.Table(vswitch.OpenvSwitchTable).RowsShallow() {
		return m.(*vswitch.OpenvSwitch)
	}
	return nil
}

func (r rows) bridge(name string) *vswitch.Bridge {
	return find(r, vswitch.BridgeTable, &vswitch.Bridge{Name: name})
}

func (r rows) port(name string) *vswitch.Port {
	return find(r, vswitch.PortTable, &vswitch.Port{Name: name})
}

func (r rows) iface(name string) *vswitch.Interface {
	return find(r, vswitch.InterfaceTable, &vswitch.Interface{Name: name})
}

func (r rows) table(uuid string) *vswitch.FlowTable {
	t, _ := r.Table(vswitch.FlowTableTable).Row(uuid).(*vswitch.FlowTable)
	return t
}

// bridges gives all bridges, including other people's.
func (r rows) bridges() []*vswitch.Bridge {
	var all []*vswitch.Bridge
	for _, m := range r.Table(vswitch.BridgeTable).RowsShallow() {
		all = append(all, m.(*vswitch.Bridge))
	}
	return all
}

// portsOf gives the ports of a bridge, each with its first interface (a bond has more). A port whose rows have not all
// arrived is left out; their arrival is a change.
func (r rows) portsOf(b *vswitch.Bridge) []portRow {
	if b == nil {
		return nil
	}
	ports, ifaces := r.Table(vswitch.PortTable).RowsShallow(), r.Table(vswitch.InterfaceTable).RowsShallow()
	found := make([]portRow, 0, len(b.Ports))
	for _, uuid := range b.Ports {
		p, _ := ports[uuid].(*vswitch.Port)
		if p == nil || len(p.Interfaces) == 0 {
			continue
		}
		if i, _ := ifaces[p.Interfaces[0]].(*vswitch.Interface); i != nil {
			found = append(found, portRow{p, i})
		}
	}
	return found
}

// bridgeOf gives the bridge that has a port; nil if there is none.
func (r rows) bridgeOf(port string) *vswitch.Bridge {
	p := r.port(port)
	if p == nil {
		return nil
	}
	for _, b := range r.bridges() {
		if slices.Contains(b.Ports, p.UUID) {
			return b
		}
	}
	return nil
}

type portRow struct {
	port  *vswitch.Port
	iface *vswitch.Interface
}

// find looks a row up by its name, which is unique in these tables.
func find[M model.Model](r rows, table string, like M) M {
	var none M
	_, m, err := r.Table(table).RowByModel(like)
	if err != nil || m == nil {
		return none
	}
	return m.(M)
}
