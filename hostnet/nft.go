package hostnet

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/overlane/overlane/internal/nlerr"
)

// tableName is in the family ip. An accept elsewhere does not override a drop here, nor the other way round. Agents
// since 0.1.0 replace this table, so the name stays.
const tableName = "overlane"

// Counters of the packets that the nftables table drops.
const (
	Forged         = "forged-tunnel"   // tunnel packets that are not the switch's
	GuardedAddress = "guarded-address" // to the host itself, other hosts, or in a name that the switch does not give
	NoExit         = "no-exit"         // to an interface that does not lead outside
	Untracked      = "not-translated"  // of no connection that the kernel could translate
	Unsolicited    = "no-connection"   // nobody inside has asked for
)

// table is the nftables table as a value.
type table struct {
	sets     []set
	counters []string
	chains   []chain
}

// set is one of the table's, and its elements, sorted.
type set struct {
	*nftables.Set
	elements []nftables.SetElement
}

// exprs are expressions of nftables in a row: matches, and what is done with a packet that all of them match.
type exprs []expr.Any

type chain struct {
	nftables.Chain
	rules []exprs
}

// alike tells whether the two differ in nothing but the elements of their sets.
func (t table) alike(o table) bool {
	same := func(a, b set) bool { return a.Name == b.Name }
	return slices.EqualFunc(t.sets, o.sets, same) && slices.Equal(t.counters, o.counters) && reflect.DeepEqual(t.chains, o.chains)
}

func (t table) equal(o table) bool {
	same := func(a, b set) bool { return slices.EqualFunc(a.elements, b.elements, equalElements) }
	return t.alike(o) && slices.EqualFunc(t.sets, o.sets, same)
}

func equalElements(a, b nftables.SetElement) bool { return compareElements(&a, &b) == 0 }

func compareElements(a, b *nftables.SetElement) int {
	return cmp.Or(bytes.Compare(a.Key, b.Key), bytes.Compare(a.KeyEnd, b.KeyEnd))
}

func wrapTable(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s nftables table ip %s: %w", doing, tableName, err)
}

// writeTable replaces the table in one transaction. Its counters start anew.
func writeTable(t table) error {
	c, err := openNFT()
	if err == nil {
		err = t.write(c)
	}
	return wrapTable("write", err)
}

// openNFT gives a connection that a table of tens of thousands of addresses fits through at once.
func openNFT() (*nftables.Conn, error) {
	return nftables.New(nftables.WithSockOptions(func(c *netlink.Conn) error { return c.SetWriteBuffer(16 << 20) }))
}

// updateTable goes from a table that is there to another one. Where only elements of sets differ it leaves chains and
// counters as they are: to make those anew costs the kernel some 15 ms, in which it makes no interface either. Else it
// replaces the table.
func updateTable(was, now table) (replaced bool, err error) {
	if !was.alike(now) {
		return true, writeTable(now)
	}
	c, err := openNFT()
	if err == nil {
		err = errors.Join(changeSets(c, was.sets, now.sets), c.Flush())
	}
	return false, wrapTable("update", err)
}

// changeSets deletes first: a range must be gone before one that overlaps it may come.
func changeSets(c *nftables.Conn, was, now []set) error {
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

// missingIn are the entries of the second list that the first has not. Both are sorted.
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

// write makes the table, if only to have one to delete, deletes it, and makes it again: all or nothing.
func (t table) write(c *nftables.Conn) error {
	c.DelTable(c.AddTable(ourTable()))
	in := c.AddTable(ourTable())
	for _, s := range t.sets {
		if err := c.AddSet(s.Set, nil); err != nil {
			return err
		}
		if err := inChunks(s.elements, s.Set, c.SetAddElements); err != nil {
			return err
		}
	}
	for _, name := range t.counters {
		c.AddObj(&nftables.NamedObj{Table: in, Name: name, Type: nftables.ObjTypeCounter, Obj: &expr.Counter{}})
	}
	for _, h := range t.chains {
		h.Table = in
		chain := c.AddChain(&h.Chain)
		for _, r := range h.rules {
			c.AddRule(&nftables.Rule{Table: in, Chain: chain, Exprs: r})
		}
	}
	return c.Flush()
}

// removeTable takes the table away. One that is not there is no error.
func removeTable() error {
	c, err := nftables.New()
	if err == nil {
		c.DelTable(ourTable())
		err = nlerr.IgnoreNotFound(c.Flush())
	}
	return wrapTable("remove", err)
}

// errGone says that somebody has removed the table, or a part of it.
var errGone = errors.New("is gone")

// readCounters gives the number of packets that the table has dropped since it was written, by counter.
func readCounters() (map[string]uint64, error) {
	counted, err := countDropped()
	return counted, wrapTable("read", err)
}

// countDropped looks for the table first: the library's error for what is missing cannot be told from others.
func countDropped() (map[string]uint64, error) {
	c, err := nftables.New()
	if err != nil {
		return nil, err
	}
	there, err := tableExists(c)
	if err == nil && !there {
		err = errGone
	}
	if err != nil {
		return nil, err
	}
	objects, err := c.GetNamedObjects(ourTable())
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
	if _, there := counted[Forged]; !there { // 0.1.0 has other counters
		return nil, errGone
	}
	return counted, nil
}

func tableExists(c *nftables.Conn) (bool, error) {
	tables, err := c.ListTablesOfFamily(nftables.TableFamilyIPv4)
	return slices.ContainsFunc(tables, func(t *nftables.Table) bool { return t.Name == tableName }), err
}

// intact tells whether the kernel has as many rules as were written, and in its sets what was put there; [errGone] if
// somebody has removed some, or added to a set.
func (t table) intact() error {
	c, err := nftables.New()
	for _, h := range t.chains {
		if err != nil {
			break
		}
		var rules []*nftables.Rule
		rules, err = c.GetRules(ourTable(), &h.Chain)
		if err == nil && len(rules) != len(h.rules) {
			err = errGone
		}
	}
	for _, s := range t.sets {
		if err != nil {
			break
		}
		var elements []nftables.SetElement
		elements, err = c.GetSetElements(s.Set)
		slices.SortFunc(elements, func(a, b nftables.SetElement) int { return compareElements(&a, &b) })
		if err == nil && !slices.EqualFunc(elements, s.elements, equalElements) {
			err = errGone
		}
	}
	return wrapTable("read", err)
}

func ourTable() *nftables.Table {
	return &nftables.Table{Name: tableName, Family: nftables.TableFamilyIPv4}
}

func addressSet(name string, of []netip.Addr) set {
	s := set{&nftables.Set{Table: ourTable(), Name: name, KeyType: nftables.TypeIPAddr}, make([]nftables.SetElement, len(of))}
	for i, a := range of {
		s.elements[i].Key = a.AsSlice()
	}
	return s
}

func interfaceSet(name string, of []string) set {
	s := set{Set: &nftables.Set{Table: ourTable(), Name: name, KeyType: nftables.TypeIFName, KeyByteOrder: binaryutil.NativeEndian}}
	for _, i := range of {
		s.elements = append(s.elements, nftables.SetElement{Key: interfaceName(i)})
	}
	return s
}

// interfaceName is a name as the kernel compares it.
func interfaceName(name string) []byte {
	padded := make([]byte, unix.IFNAMSIZ)
	copy(padded, name)
	return padded
}
