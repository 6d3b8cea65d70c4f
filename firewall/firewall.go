// Package firewall keeps Overlane's own nftables table in the host's network namespace. It describes the table as a value and replaces the
// whole in one transaction; tables of others it neither reads nor touches.
//
// The table keeps tunnel packets the switch's business: a host's VTEP address proves to its peers that a tunnel
// packet comes from that host's switch, so nothing else on the host may send to their tunnel ports - no process without privileges, and no
// container behind the host, in whatever name. Root on the host is trusted, and could remove the table.
//
// It is also the only way out for what endpoints send to the outside ([Outside], [Native]), and keeps that from the host itself.
package firewall

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// tableName is in the family ip. An accept elsewhere does not override a drop here, nor the other way round.
const tableName = "overlane"

// Counters of what was dropped.
const (
	Forged      = "forged"       // tunnel packets that are not the switch's
	GuardedHost = "guarded-address" // to the host itself, other hosts, or in a name that the switch does not give
	NoExit      = "no-exit"      // to an interface that does not lead outside
	Untracked   = "untracked"    // of no connection that the kernel could translate
	Unsolicited = "unsolicited"  // nobody inside has asked for
)

// Guard says whom the host's own processes and containers must not send tunnel packets to, and what endpoints may reach through the host.
type Guard struct {
	Port    uint16       // of UDP, where tunnels end (RFC 7348 section 5: 4789)
	Peers   []netip.Addr // VTEPs of other hosts, sorted
	Inbound bool         // the kernel takes tunnel packets, so what is sent to it in a peer's name is to be dropped, too
	Outside *Outside     // nil: there is no way out
	Native  *Native      // nil: no public traffic passes over the underlay as it is
}

// Equal compares the values.
func (g Guard) Equal(o Guard) bool {
	if !g.alike(o) || !slices.Equal(g.Peers, o.Peers) {
		return false
	}
	return (g.Outside == nil || g.Outside.equal(*o.Outside)) && (g.Native == nil || g.Native.equal(*o.Native))
}

// alike tells whether the two differ in nothing but what is in their sets.
func (g Guard) alike(o Guard) bool {
	if g.Port != o.Port || g.Inbound != o.Inbound || (g.Outside == nil) != (o.Outside == nil) || (g.Native == nil) != (o.Native == nil) {
		return false
	}
	if g.Native != nil && !g.Native.alike(*o.Native) {
		return false
	}
	return g.Outside == nil || g.Outside.Port == o.Outside.Port && g.Outside.Range == o.Outside.Range && g.Outside.Copied == o.Outside.Copied
}

// Set replaces the table. Its counters start anew.
func Set(g Guard) error {
	err := g.check()
	if err != nil {
		return err
	}
	c, err := open()
	if err == nil {
		err = write(c, g)
	}
	if err != nil {
		return fmt.Errorf("write nftables table ip %s: %w", tableName, err)
	}
	return nil
}

// open gives a connection that a table of tens of thousands of addresses fits through at once.
func open() (*nftables.Conn, error) {
	return nftables.New(nftables.WithSockOptions(func(c *netlink.Conn) error { return c.SetWriteBuffer(16 << 20) }))
}

func (g Guard) check() error {
	if g.Outside != nil {
		if err := g.Outside.check(); err != nil {
			return err
		}
	}
	if g.Native != nil {
		return g.Native.check()
	}
	return nil
}

// Update goes from what was set to another guard. Where only what is in its sets differs it leaves chains and counters as they are: to make those anew
// costs the kernel some 15 ms, in which it makes no interface either. Else it is [Set], and anew.
func Update(was, now Guard) (anew bool, err error) {
	if !was.alike(now) {
		return true, Set(now)
	}
	if err := now.check(); err != nil {
		return false, err
	}
	c, err := open()
	if err == nil {
		err = errors.Join(change(c, was.sets(), now.sets()), c.Flush())
	}
	if err != nil {
		return false, fmt.Errorf("update nftables table ip %s: %w", tableName, err)
	}
	return false, nil
}

// change deletes first: a range must be gone before one that overlaps it may come.
func change(c *nftables.Conn, was, now []set) error {
	for i := range was {
		if err := inChunks(missingIn(now[i].elements, was[i].elements), was[i].Set, c.SetDeleteElements); err != nil {
			return err
		}
		if err := inChunks(missingIn(was[i].elements, now[i].elements), now[i].Set, c.SetAddElements); err != nil {
			return err
		}
	}
	return nil
}

// set is one of the table's, and what is in it, sorted.
type set struct {
	*nftables.Set
	elements []nftables.SetElement
}

// Names of sets.
const (
	peerSet     = "peers"
	reservedSet = "reserved"
	allowedSet  = "allowed"
	exitSet     = "exits"
	closedSet   = "closed"
	hostedSet   = "hosted"
	passedSet   = "passed"
)

func (g Guard) sets() []set {
	all := []set{addresses(peerSet, g.Peers)}
	if g.Outside == nil && g.Native == nil {
		return all
	}
	all = append(all, addresses(reservedSet, g.reserved()))
	if g.Outside != nil {
		all = append(all, g.Outside.sets()...)
	}
	all = append(all, interfaces(closedSet, g.closed()))
	if g.Native != nil {
		all = append(all, g.Native.sets()...)
	}
	return all
}

func (g Guard) reserved() (all []netip.Addr) {
	if g.Outside != nil {
		all = g.Outside.Reserved
	}
	if g.Native != nil {
		all = slices.Compact(slices.SortedFunc(slices.Values(slices.Concat(all, g.Native.Reserved)), netip.Addr.Compare))
	}
	return all
}

func (g Guard) closed() (all []string) {
	if g.Outside != nil {
		all = g.Outside.Closed
	}
	if g.Native != nil && g.Native.Closed {
		all = slices.Compact(slices.Sorted(slices.Values(slices.Concat(all, []string{g.Native.Underlay}))))
	}
	return all
}

func addresses(name string, of []netip.Addr) set {
	s := set{&nftables.Set{Table: table(), Name: name, KeyType: nftables.TypeIPAddr}, make([]nftables.SetElement, len(of))}
	for i, a := range of {
		s.elements[i].Key = a.AsSlice()
	}
	return s
}

// missingIn are those of the second list that the first has not. Both are sorted.
func missingIn(has, wants []nftables.SetElement) (missing []nftables.SetElement) {
	for i := range wants {
		for len(has) > 0 && compareElements(&has[0], &wants[i]) < 0 {
			has = has[1:]
		}
		if len(has) == 0 || compareElements(&has[0], &wants[i]) != 0 {
			missing = append(missing, wants[i])
		}
	}
	return missing
}

func compareElements(a, b *nftables.SetElement) int {
	return cmp.Or(bytes.Compare(a.Key, b.Key), bytes.Compare(a.KeyEnd, b.KeyEnd))
}

// mostElements fit into one attribute of netlink, whose length has 16 bits.
const mostElements = 1000

func inChunks(elements []nftables.SetElement, of *nftables.Set, do func(*nftables.Set, []nftables.SetElement) error) error {
	for some := range slices.Chunk(elements, mostElements) {
		if err := do(of, some); err != nil {
			return err
		}
	}
	return nil
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

// Dropped is the number of packets that the guard has dropped since it was set, by counter.
func Dropped() (map[string]uint64, error) {
	counted, err := count()
	if err != nil {
		return nil, fmt.Errorf("read nftables table ip %s: %w", tableName, err)
	}
	return counted, nil
}

// count looks for the table first: the library's error for what is missing cannot be told from others.
func count() (map[string]uint64, error) {
	c, err := nftables.New()
	if err != nil {
		return nil, err
	}
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
	counted := map[string]uint64{}
	for _, o := range objects {
		if o, ok := o.(*nftables.NamedObj); ok {
			if counter, ok := o.Obj.(*expr.Counter); ok {
				counted[o.Name] = counter.Packets
			}
		}
	}
	if _, there := counted[Forged]; !there {
		return nil, ErrGone
	}
	return counted, nil
}

// Intact says whether the table has as many rules as were set, and in its sets what was put there; [ErrGone] if somebody has removed some, or added to a set.
func Intact(g Guard) error {
	c, err := nftables.New()
	for _, h := range g.chains() {
		if err != nil {
			break
		}
		var rules []*nftables.Rule
		rules, err = c.GetRules(table(), &h.Chain)
		if err == nil && len(rules) != len(h.rules) {
			err = ErrGone
		}
	}
	for _, s := range g.sets() {
		if err != nil {
			break
		}
		var elements []nftables.SetElement
		elements, err = c.GetSetElements(s.Set)
		slices.SortFunc(elements, func(a, b nftables.SetElement) int { return compareElements(&a, &b) })
		same := func(a, b nftables.SetElement) bool { return compareElements(&a, &b) == 0 }
		if err == nil && !slices.EqualFunc(elements, s.elements, same) {
			err = ErrGone
		}
	}
	if err != nil {
		return fmt.Errorf("read nftables table ip %s: %w", tableName, err)
	}
	return nil
}

func table() *nftables.Table {
	return &nftables.Table{Name: tableName, Family: nftables.TableFamilyIPv4}
}

// write makes the table, if only to have one to delete, deletes it, and makes it again: all or nothing.
func write(c *nftables.Conn, g Guard) error {
	c.DelTable(c.AddTable(table()))
	t := c.AddTable(table())
	for _, s := range g.sets() {
		if err := c.AddSet(s.Set, nil); err != nil {
			return err
		}
		if err := inChunks(s.elements, s.Set, c.SetAddElements); err != nil {
			return err
		}
	}
	for _, name := range g.counters() {
		c.AddObj(&nftables.NamedObj{Table: t, Name: name, Type: nftables.ObjTypeCounter, Obj: &expr.Counter{}})
	}
	for _, h := range g.chains() {
		h.Table = t
		chain := c.AddChain(&h.Chain)
		for _, r := range h.rules {
			c.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: r})
		}
	}
	return c.Flush()
}

func (g Guard) counters() []string {
	if g.Outside == nil && g.Native == nil {
		return []string{Forged}
	}
	return []string{Forged, GuardedHost, NoExit, Untracked, Unsolicited}
}

type rule []expr.Any

type chain struct {
	nftables.Chain
	rules []rule
}

// filter is a chain that sees packets before those of others do.
func filter(name string, at *nftables.ChainHook, rules ...rule) chain {
	return chain{nftables.Chain{Name: name, Type: nftables.ChainTypeFilter, Hooknum: at, Priority: nftables.ChainPriorityRaw}, rules}
}

// regular is a chain that others jump to.
func regular(name string, rules ...rule) chain { return chain{nftables.Chain{Name: name}, rules} }

func (g Guard) chains() []chain {
	toPeer, fromPeer, toTunnel := isIn(peerSet, address(ipDestination)), isIn(peerSet, address(ipSource)), toPort(g.Port)
	output := []rule{drop(Forged, toTunnel, toPeer, fromSocket)}
	// The host may be the router between two others, and then hears each from where it sends to it.
	forward := []rule{
		drop(Forged, toTunnel, toPeer, isNotIn(peerSet, address(ipSource))),
		drop(Forged, toTunnel, toPeer, notTheWayBack),
	}
	var input []rule
	if g.Inbound {
		input = append(input, drop(Forged, toTunnel, fromPeer, notTheWayBack))
	}
	var judges, last []chain
	var prerouting []rule
	if n := g.Native; n != nil {
		judges = n.judges(g.Outside != nil)
		prerouting = n.prerouting(g.Outside != nil)
		forward = append(forward, n.forward(g.Outside)...)
	}
	if o := g.Outside; o != nil {
		jump := slices.Concat(o.cameIn(), jumpTo(guardedChain))
		judges = append(judges, o.guarded())
		prerouting = slices.Concat(prerouting, []rule{jump}, o.copies())
		forward = append(forward, o.forward(jump)...)
		input = append(input, jump)
		last = []chain{o.translate(), o.leaving()}
	}
	all := judges
	if prerouting != nil {
		all = append(all, filter("prerouting", nftables.ChainHookPrerouting, prerouting...))
	}
	all = append(all, filter("output", nftables.ChainHookOutput, output...), filter("forward", nftables.ChainHookForward, forward...))
	if input != nil {
		all = append(all, filter("input", nftables.ChainHookInput, input...))
	}
	return append(all, last...)
}

// Offsets in the headers of IPv4 (RFC 791 section 3.1) and UDP (RFC 768).
const (
	ipSource      = 12
	ipDestination = 16
	udpDestPort   = 2
)

// toPort matches UDP to the tunnel port.
func toPort(port uint16) rule {
	return rule{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_UDP}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: udpDestPort, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binary.BigEndian.AppendUint16(nil, port)},
	}
}

// address loads one of the addresses of the packet.
func address(offset uint32) rule {
	return rule{&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: 4}}
}

// isIn matches packets of which what was loaded is in the set.
func isIn(name string, load rule) rule {
	return slices.Concat(load, rule{&expr.Lookup{SourceRegister: 1, SetName: name}})
}

func isNotIn(name string, load rule) rule {
	return slices.Concat(load, rule{&expr.Lookup{SourceRegister: 1, SetName: name, Invert: true}})
}

// notTheWayBack matches what came in by an interface that does not lead back to its source (RFC 3704 section 2.2, strict). A container may send in
// any name, but not from where the name's owner is.
var notTheWayBack = rule{
	&expr.Fib{Register: 1, ResultOIF: true, FlagSADDR: true, FlagIIF: true},
	&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(0)},
}

// fromSocket matches what a process sends, whoever it belongs to. The kernel's own tunnels send without a socket's owner, and
// ovs-vswitchd's pass by below.
var fromSocket = rule{
	&expr.Meta{Key: expr.MetaKeySKUID, Register: 1},
	&expr.Cmp{Op: expr.CmpOpGte, Register: 1, Data: binaryutil.NativeEndian.PutUint32(0)},
}

// drop drops what all of these match.
func drop(counter string, matches ...rule) rule {
	return append(slices.Concat(matches...),
		&expr.Objref{Type: int(nftables.ObjTypeCounter), Name: counter},
		&expr.Verdict{Kind: expr.VerdictDrop},
	)
}
