// Package firewall keeps Overlane's own nftables table in the host's network namespace. It describes the table as a value and replaces the
// whole in one transaction; tables of others it neither reads nor touches.
//
// The one thing the table does so far is to keep tunnel packets the switch's business: a host's VTEP address proves to its peers that a tunnel
// packet comes from that host's switch, so nothing else on the host may send to their tunnel ports - no process without privileges, and no
// container behind the host, in whatever name. Root on the host is trusted, and could remove the table.
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
	Port    uint16       // of UDP, where tunnels end (RFC 7348 section 5: 4789)
	Peers   []netip.Addr // VTEPs of other hosts, sorted
	Inbound bool         // the kernel takes tunnel packets, so what is sent to it in a peer's name is to be dropped, too
}

// Equal compares the values.
func (g Guard) Equal(o Guard) bool {
	return g.Port == o.Port && g.Inbound == o.Inbound && slices.Equal(g.Peers, o.Peers)
}

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

// Update goes from what was set to another guard and leaves chains and counter as they are: to make those anew costs the kernel some 15 ms, in which
// it makes no interface either. Only the peers may differ.
func Update(was, now Guard) error {
	c, err := nftables.New()
	if err == nil {
		err = errors.Join(
			inChunks(missingIn(was.Peers, now.Peers), func(e []nftables.SetElement) error { return c.SetAddElements(peerSet(), e) }),
			inChunks(missingIn(now.Peers, was.Peers), func(e []nftables.SetElement) error { return c.SetDeleteElements(peerSet(), e) }),
		)
	}
	if err == nil {
		err = c.Flush()
	}
	if err != nil {
		return fmt.Errorf("update nftables table ip %s: %w", tableName, err)
	}
	return nil
}

// missingIn are those of the second list that the first has not. Both are sorted.
func missingIn(has, wants []netip.Addr) (missing []netip.Addr) {
	for _, a := range wants {
		if _, found := slices.BinarySearchFunc(has, a, netip.Addr.Compare); !found {
			missing = append(missing, a)
		}
	}
	return missing
}

// mostElements fit into one attribute of netlink, whose length has 16 bits.
const mostElements = 1000

func inChunks(peers []netip.Addr, do func([]nftables.SetElement) error) error {
	for some := range slices.Chunk(peers, mostElements) {
		elements := make([]nftables.SetElement, len(some))
		for i, p := range some {
			elements[i].Key = p.AsSlice()
		}
		if err := do(elements); err != nil {
			return err
		}
	}
	return nil
}

func peerSet() *nftables.Set {
	return &nftables.Set{Table: table(), Name: "peers", KeyType: nftables.TypeIPAddr}
}

// Remove takes the table away. One that is not there is no error.
func Remove() error {
	c, err := nftables.New()
	if err == nil {
		c.DelTable(table())
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
	peers := peerSet()
	if err := c.AddSet(peers, nil); err != nil {
		return err
	}
	if err := inChunks(g.Peers, func(e []nftables.SetElement) error { return c.SetAddElements(peers, e) }); err != nil {
		return err
	}
	c.AddObj(&nftables.NamedObj{Table: t, Name: counterName, Type: nftables.ObjTypeCounter, Obj: &expr.Counter{}})
	to, from, toTunnel := peer(ipDestination, peers, false), peer(ipSource, peers, false), toPort(g.Port)
	hooks := []hook{
		{"output", nftables.ChainHookOutput, [][]expr.Any{slices.Concat(toTunnel, to, fromSocket)}},
		// The host may be the router between two others, and then hears each from where it sends to it.
		{"forward", nftables.ChainHookForward, [][]expr.Any{
			slices.Concat(toTunnel, to, peer(ipSource, peers, true)),
			slices.Concat(toTunnel, to, notTheWayBack),
		}},
	}
	if g.Inbound {
		hooks = append(hooks, hook{"input", nftables.ChainHookInput, [][]expr.Any{slices.Concat(toTunnel, from, notTheWayBack)}})
	}
	for _, h := range hooks {
		chain := c.AddChain(&nftables.Chain{Table: t, Name: h.name, Type: nftables.ChainTypeFilter, Hooknum: h.at, Priority: nftables.ChainPriorityRaw})
		for _, match := range h.drops {
			c.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: slices.Concat(match, dropCounted)})
		}
	}
	return c.Flush()
}

// hook is a chain, and what it drops.
type hook struct {
	name  string
	at    *nftables.ChainHook
	drops [][]expr.Any
}

// Offsets in the headers of IPv4 (RFC 791 section 3.1) and UDP (RFC 768).
const (
	ipSource      = 12
	ipDestination = 16
	udpDestPort   = 2
)

// toPort matches UDP to the tunnel port.
func toPort(port uint16) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_UDP}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: udpDestPort, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binary.BigEndian.AppendUint16(nil, port)},
	}
}

// peer matches packets whose address at the offset is a peer's; with not set, those whose is not.
func peer(offset uint32, peers *nftables.Set, not bool) []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: 4},
		&expr.Lookup{SourceRegister: 1, SetName: peers.Name, SetID: peers.ID, Invert: not},
	}
}

// notTheWayBack matches what came in by an interface that does not lead back to its source (RFC 3704 section 2.2, strict). A container may send in
// any name, but not from where the name's owner is.
var notTheWayBack = []expr.Any{
	&expr.Fib{Register: 1, ResultOIF: true, FlagSADDR: true, FlagIIF: true},
	&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(0)},
}

// fromSocket matches what a process sends, whoever it belongs to. The kernel's own tunnels send without a socket's owner, and
// ovs-vswitchd's pass by below.
var fromSocket = []expr.Any{
	&expr.Meta{Key: expr.MetaKeySKUID, Register: 1},
	&expr.Cmp{Op: expr.CmpOpGte, Register: 1, Data: binaryutil.NativeEndian.PutUint32(0)},
}

var dropCounted = []expr.Any{
	&expr.Objref{Type: int(nftables.ObjTypeCounter), Name: counterName},
	&expr.Verdict{Kind: expr.VerdictDrop},
}
