// Package firewall keeps Overlane's own nftables table in the host's network namespace. It describes the table as a value and replaces the
// whole in one transaction; tables of others it neither reads nor touches.
//
// The one thing the table does so far is to keep tunnel packets the switch's business: a host's VTEP address proves to its peers that a tunnel
// packet comes from that host's switch, so nothing else on the host may send to their tunnel ports - no process without privileges, and no
// container that the host translates to its own address. Root on the host is trusted, and could remove the table.
package firewall

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// tableName is in the family ip. An accept elsewhere does not override a drop here, nor the other way round.
const tableName = "overlane"

// counterName is the counter of what was dropped.
const counterName = "forged"

// Guard says whom the host's own processes and containers must not send tunnel packets to.
type Guard struct {
	Port  uint16       // of UDP, where tunnels end (RFC 7348 section 5: 4789)
	Peers []netip.Addr // VTEPs of other hosts, sorted
}

// Equal compares the values.
func (g Guard) Equal(o Guard) bool { return g.Port == o.Port && slices.Equal(g.Peers, o.Peers) }

// Set replaces the table. Its counter starts anew.
func Set(g Guard) error {
	c, err := nftables.New()
	if err == nil {
		err = write(c, g)
	}
	if err != nil {
		return fmt.Errorf("write nftables table ip %s: %w", tableName, err)
	}
	return nil
}

// Remove takes the table away. One that is not there is no error.
func Remove() error {
	c, err := nftables.New()
	if err == nil {
		c.DelTable(&nftables.Table{Name: tableName, Family: nftables.TableFamilyIPv4})
		err = c.Flush()
	}
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("remove nftables table ip %s: %w", tableName, err)
	}
	return nil
}

// ErrGone says that somebody has removed the table, or what it counts with.
var ErrGone = errors.New("is gone")

// Dropped is the number of packets that the guard has dropped since it was set.
func Dropped() (uint64, error) {
	c, err := nftables.New()
	if err != nil {
		return 0, fmt.Errorf("read nftables table ip %s: %w", tableName, err)
	}
	counted, err := counter(c)
	if err != nil {
		return 0, fmt.Errorf("read nftables table ip %s: %w", tableName, err)
	}
	return counted.Packets, nil
}

// counter looks for the table first: the library's error for what is missing cannot be told from others.
func counter(c *nftables.Conn) (*expr.Counter, error) {
	tables, err := c.ListTablesOfFamily(nftables.TableFamilyIPv4)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(tables, func(t *nftables.Table) bool { return t.Name == tableName }) {
		return nil, ErrGone
	}
	objects, err := c.GetNamedObjects(table())
	if err != nil {
		return nil, err
	}
	for _, o := range objects {
		if o, ok := o.(*nftables.NamedObj); ok && o.Name == counterName {
			if counted, ok := o.Obj.(*expr.Counter); ok {
				return counted, nil
			}
		}
	}
	return nil, ErrGone
}

func table() *nftables.Table {
	return &nftables.Table{Name: tableName, Family: nftables.TableFamilyIPv4}
}

// write makes the table, if only to have one to delete, deletes it, and makes it again: all or nothing.
func write(c *nftables.Conn, g Guard) error {
	c.DelTable(c.AddTable(table()))
	t := c.AddTable(table())
	peers := &nftables.Set{Table: t, Name: "peers", KeyType: nftables.TypeIPAddr}
	elements := make([]nftables.SetElement, len(g.Peers))
	for i, p := range g.Peers {
		elements[i].Key = p.AsSlice()
	}
	if err := c.AddSet(peers, elements); err != nil {
		return err
	}
	c.AddObj(&nftables.NamedObj{Table: t, Name: counterName, Type: nftables.ObjTypeCounter, Obj: &expr.Counter{}})
	for _, hook := range []struct {
		name  string
		at    *nftables.ChainHook
		apart []expr.Any
	}{
		{"output", nftables.ChainHookOutput, fromSocket},
		{"forward", nftables.ChainHookForward, notFrom(peers)}, // the host may be the router between two others
	} {
		chain := c.AddChain(&nftables.Chain{Table: t, Name: hook.name, Type: nftables.ChainTypeFilter, Hooknum: hook.at, Priority: nftables.ChainPriorityRaw})
		c.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: slices.Concat(toTunnel(g.Port, peers), hook.apart, dropCounted)})
	}
	return c.Flush()
}

// Offsets in the headers of IPv4 (RFC 791 section 3.1) and UDP (RFC 768).
const (
	ipSource      = 12
	ipDestination = 16
	udpDestPort   = 2
)

// toTunnel matches UDP to the tunnel port of a peer.
func toTunnel(port uint16, peers *nftables.Set) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_UDP}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: udpDestPort, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binary.BigEndian.AppendUint16(nil, port)},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: ipDestination, Len: 4},
		&expr.Lookup{SourceRegister: 1, SetName: peers.Name, SetID: peers.ID},
	}
}

// fromSocket matches what a process sends, whoever it belongs to. The kernel's own tunnels send without a socket's owner, and
// ovs-vswitchd's pass by below.
var fromSocket = []expr.Any{
	&expr.Meta{Key: expr.MetaKeySKUID, Register: 1},
	&expr.Cmp{Op: expr.CmpOpGte, Register: 1, Data: binaryutil.NativeEndian.PutUint32(0)},
}

func notFrom(peers *nftables.Set) []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: ipSource, Len: 4},
		&expr.Lookup{SourceRegister: 1, SetName: peers.Name, SetID: peers.ID, Invert: true},
	}
}

var dropCounted = []expr.Any{
	&expr.Objref{Type: int(nftables.ObjTypeCounter), Name: counterName},
	&expr.Verdict{Kind: expr.VerdictDrop},
}
