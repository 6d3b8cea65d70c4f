package flow

import (
	"encoding/binary"
	"slices"
	"strings"
)

// Key is what makes a flow that flow: another with the same key replaces it. Keys are comparable; an unordered match
// (see [On]) has no useful key.
type Key struct {
	Table    uint8
	Priority uint16
	match    string // the terms as OXM TLVs (OpenFlow 1.5.1 section 7.2.3.2)
}

// Key is the flow's.
func (f Flow) Key() Key {
	var room [256]byte
	return Key{f.Table, f.Priority, string(f.Match.appendOXM(room[:0]))}
}

// Flow is the key as a flow without actions.
func (k Key) Flow() Flow {
	return Flow{Table: k.Table, Priority: k.Priority, Match: decodeOXM(k.match)}
}

func (k Key) String() string {
	text, _, _ := strings.Cut(k.Flow().String(), " actions=")
	return text
}

func compareKeys(a, b Key) int {
	switch {
	case a.Table != b.Table:
		return int(a.Table) - int(b.Table)
	case a.Priority != b.Priority:
		return int(b.Priority) - int(a.Priority)
	}
	return strings.Compare(a.match, b.match)
}

func (m Match) appendOXM(b []byte) []byte {
	for _, t := range m {
		b = t.appendOXM(b)
	}
	return b
}

func (t Term) appendOXM(b []byte) []byte {
	n := t.Field.Bytes()
	if t.exact() {
		b = binary.BigEndian.AppendUint32(b, t.Field.header(false))
		return t.Value.appendTo(b, n)
	}
	b = binary.BigEndian.AppendUint32(b, t.Field.header(true))
	return t.Mask.appendTo(t.Value.appendTo(b, n), n)
}

// header is the field's OXM header: class, number, whether a mask follows, length.
func (f *Field) header(masked bool) uint32 {
	h := uint32(f.Class)<<16 | uint32(f.ID)<<9
	if masked {
		return h | 1<<8 | uint32(2*f.Bytes())
	}
	return h | uint32(f.Bytes())
}

var fieldsByHeader = map[uint32]*Field{}

func decodeOXM(s string) Match {
	var m Match
	for len(s) >= 4 {
		header := binary.BigEndian.Uint32([]byte(s[:4]))
		f := fieldsByHeader[header&^0x1ff]
		n := f.Bytes()
		t := Eq(f, ValueOf([]byte(s[4:4+n])))
		if s = s[4+n:]; header&0x100 != 0 {
			t.Mask = ValueOf([]byte(s[:n]))
			s = s[n:]
		}
		m = append(m, t)
	}
	return m
}

// Our flows carry CookieOwner in the top 16 bits of their cookie, and [Flow.Hash] below.
const (
	CookieOwner uint64 = 0x0f1a << 48
	CookieMask  uint64 = 0xffff << 48 // the bits that mark a flow as Overlane's
)

// Cookie is the flow's OpenFlow cookie: with the table, priority and match it reports whether an installed flow is this
// one.
func (f Flow) Cookie() uint64 { return CookieOwner | f.Hash() }

// Hash is 48 bits over the table, priority, match and actions, not the owner. It is the same in every process and on
// every machine.
func (f Flow) Hash() uint64 {
	var room [512]byte
	b := append(room[:0], f.Table, byte(f.Priority>>8), byte(f.Priority))
	b = f.Match.appendOXM(b)
	b = append(b, 0xff, 0xff) // no field is of class 0xffff: here the actions begin
	for _, a := range f.Actions {
		b = appendAction(b, a)
	}
	return sum48(b)
}

// sum48 is 64-bit FNV-1a, its bits mixed by MurmurHash3's finalizer.
func sum48(b []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range b {
		h = (h ^ uint64(c)) * 1099511628211
	}
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return (h ^ h>>33) >> 16
}

// appendAction writes an action so that no two lists of actions look alike: a tag, then a known number of bytes.
func appendAction(b []byte, a Action) []byte {
	switch a := a.(type) {
	case SetField:
		return Term{a.Field, a.Value, a.mask()}.appendOXM(append(b, 1))
	case Move:
		b = binary.BigEndian.AppendUint32(append(b, 2), a.Src.header(false))
		b = binary.BigEndian.AppendUint32(b, a.Dst.header(false))
		return append(b, byte(a.SrcBit), byte(a.DstBit), byte(a.Bits))
	case Output:
		return binary.BigEndian.AppendUint32(append(b, 3), a.Port)
	case OutputReg:
		return binary.BigEndian.AppendUint32(append(b, 4), a.Field.header(false))
	case ToGroup:
		return binary.BigEndian.AppendUint32(append(b, 5), a.ID)
	case Goto:
		return append(b, 6, a.Table)
	case Resubmit:
		return append(b, 7, a.Table)
	case Controller:
		b = binary.BigEndian.AppendUint16(append(b, 8), a.MaxLen)
		b = binary.BigEndian.AppendUint16(b, uint16(len(a.Userdata)))
		return append(b, a.Userdata...)
	case UseMeter:
		return binary.BigEndian.AppendUint32(append(b, 9), a.ID)
	case DecTTL:
		return append(b, 10)
	case CT:
		return appendCT(append(b, 11), a)
	case CheckLarger:
		b = binary.BigEndian.AppendUint16(append(b, 13), a.Len)
		b = binary.BigEndian.AppendUint32(b, a.Dst.header(false))
		return append(b, byte(a.Bit))
	}
	return append(b, 12) // CTClear
}

func appendCT(b []byte, a CT) []byte {
	b = binary.BigEndian.AppendUint16(b, a.Zone)
	b = append(b, a.Table, asByte(a.Commit), asByte(a.NAT != nil))
	if a.NAT == nil {
		return b
	}
	b = append(b, byte(a.NAT.Kind), byte(a.NAT.Addr.BitLen()))
	b = append(b, a.NAT.Addr.AsSlice()...)
	b = binary.BigEndian.AppendUint16(b, a.NAT.FirstPort)
	return binary.BigEndian.AppendUint16(b, a.NAT.LastPort)
}

func asByte(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// Sort orders flows by table, falling priority and match.
func Sort(flows []Flow) {
	keys := make([]Key, len(flows))
	order := make([]int, len(flows))
	for i, f := range flows {
		keys[i], order[i] = f.Key(), i
	}
	slices.SortStableFunc(order, func(a, b int) int { return compareKeys(keys[a], keys[b]) })
	sorted := make([]Flow, len(flows))
	for to, from := range order {
		sorted[to] = flows[from]
	}
	copy(flows, sorted)
}

// Installed is a flow that a switch reports.
type Installed struct {
	Key
	Cookie uint64
}

// Diff says what to add to a switch and what to remove to get from the installed flows, all of them ours, to the
// desired ones. A flow whose actions changed is in add only, as adding replaces it. Adds come in the order of desired,
// removals in that of installed.
func Diff(installed []Installed, desired []Flow) (add []Flow, remove []Installed) {
	cookies := make(map[Key]uint64, len(installed))
	for _, i := range installed {
		cookies[i.Key] = i.Cookie
	}
	wanted := make(map[Key]bool, len(desired))
	for _, f := range desired {
		key := f.Key()
		wanted[key] = true
		if cookie, ok := cookies[key]; !ok || cookie != f.Cookie() {
			add = append(add, f)
		}
	}
	for _, i := range installed {
		if !wanted[i.Key] {
			remove = append(remove, i)
		}
	}
	return add, remove
}
