package flow

import (
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
)

// Symbols are the words that people read in place of a switch's numbers. What has no word is printed as ovs-ofctl
// prints it. Its text is for people only: OVS does not read it, and nothing parses it.
type Symbols struct {
	Tables   TableNames
	Slots    []Bits
	Ports    map[uint32]string
	Groups   map[uint32]string
	Meters   map[uint32]string
	Userdata map[byte]string // by the first byte of a packet's userdata
}

// Bits are some bits of a register (or of metadata) that have a name.
type Bits struct {
	Name   string
	Field  *Field
	First  int // 0 is the least significant bit of Field
	Width  int
	Form   Form              // how a value is written
	Values map[uint64]string // names of values
}

// Flow is the flow with its names: "table=route,priority=110,ip,found_kind=gateway actions=goto_table:deliver".
func (s Symbols) Flow(f Flow) string {
	var b strings.Builder
	b.WriteString("table=" + s.Tables.table(f.Table) + ",priority=" + strconv.Itoa(int(f.Priority)))
	if match := s.Match(f.Match); match != "" {
		b.WriteString("," + match)
	}
	return b.String() + " actions=" + s.Actions(f.Actions)
}

// Match is a match, its registers first.
func (s Symbols) Match(m Match) string {
	var words []string
	for _, bank := range banks {
		var value, mask Value
		for _, t := range m {
			if at, ok := location(t.Field, 0, t.Field.Bits); ok && at.bank == bank {
				value, mask = value.Or(t.Value.Shl(at.first)), mask.Or(t.Mask.Shl(at.first))
			}
		}
		for _, part := range s.parts(bank, value, mask) {
			words = append(words, part.name+"="+part.value)
		}
	}
	rest := slices.DeleteFunc(slices.Clone(m), func(t Term) bool {
		_, register := location(t.Field, 0, t.Field.Bits)
		return register || t.Field == InPort && s.Ports[uint32(t.Value.Lo)] != ""
	})
	if port, ok := m.Exactly(InPort); ok && s.Ports[uint32(port.Lo)] != "" {
		words = append(words, "in_port="+s.Ports[uint32(port.Lo)])
	}
	if text := rest.String(); text != "" {
		words = append(words, text)
	}
	return strings.Join(words, ",")
}

// Group is the group with its names, a line for each bucket.
func (s Symbols) Group(g Group) string {
	var b strings.Builder
	b.WriteString("group=" + s.GroupName(g.ID) + ",type=" + groupTypes[g.Type])
	for _, bucket := range g.Buckets {
		b.WriteString("\n  ")
		if g.Type == GroupSelect && bucket.Weight != 1 {
			b.WriteString("weight=" + strconv.Itoa(int(bucket.Weight)) + ",")
		}
		if bucket.WatchPort != 0 {
			b.WriteString("watch_port=" + s.port(bucket.WatchPort) + ",")
		}
		b.WriteString("actions=" + s.Actions(bucket.Actions))
	}
	return b.String()
}

// Actions is a list of actions; "drop" if there are none.
func (s Symbols) Actions(list []Action) string {
	if len(list) == 0 {
		return "drop"
	}
	words := make([]string, len(list))
	for i, a := range list {
		words[i] = s.action(a)
	}
	return strings.Join(words, ",")
}

func (s Symbols) action(a Action) string {
	switch a := a.(type) {
	case SetField:
		return s.setField(a)
	case Move:
		return "move:" + s.bits(a.Src, a.SrcBit, a.Bits) + "->" + s.bits(a.Dst, a.DstBit, a.Bits)
	case Output:
		if s.Ports[a.Port] != "" {
			return "output:" + s.Ports[a.Port]
		}
	case OutputReg:
		return "output:" + s.bits(a.Field, 0, 16)
	case ToGroup:
		return "group:" + s.GroupName(a.ID)
	case UseMeter:
		if name := s.Meters[a.ID]; name != "" {
			return "meter:" + name
		}
	case CheckLarger:
		return "check_pkt_larger(" + strconv.Itoa(int(a.Len)) + ")->" + s.bits(a.Dst, a.Bit, 1)
	case Controller:
		return s.controller(a)
	}
	return s.Tables.action(a)
}

func (s Symbols) controller(a Controller) string {
	if len(a.Userdata) == 0 || s.Userdata[a.Userdata[0]] == "" {
		return a.String()
	}
	args := "userdata=" + s.Userdata[a.Userdata[0]]
	if more := a.Userdata[1:]; len(more) > 0 {
		args += "." + hex.EncodeToString(more)
	}
	if a.MaxLen != MaxLenAll {
		args = "max_len=" + strconv.Itoa(int(a.MaxLen)) + "," + args
	}
	return "controller(" + args + ")"
}

func (s Symbols) setField(a SetField) string {
	at, ok := location(a.Field, 0, a.Field.Bits)
	switch {
	case a.Field == InPort16 && a.Mask.IsZero():
		return "set_field:" + s.port(WidePort(uint16(a.Value.Lo))) + "->" + a.Field.Name
	case !ok:
		return a.String()
	}
	var words []string
	for _, part := range s.parts(at.bank, a.Value.Shl(at.first), a.mask().Shl(at.first)) {
		words = append(words, "set_field:"+part.value+"->"+part.name)
	}
	return strings.Join(words, ",")
}

// GroupName is the word for a group, or its number.
func (s Symbols) GroupName(id uint32) string {
	if name := s.Groups[id]; name != "" {
		return name
	}
	return strconv.FormatUint(uint64(id), 10)
}

func (s Symbols) port(p uint32) string {
	if name := s.Ports[p]; name != "" {
		return name
	}
	return portName(p)
}

// bits names a range of bits: "key", "found_port[0..15]", "arp_sha", "reg15[4]".
func (s Symbols) bits(f *Field, first, n int) string {
	name, width := f.Name, f.Bits
	if at, ok := location(f, first, n); ok {
		for _, slot := range s.Slots {
			if of := slot.location(); of.contains(at) {
				name, width, first = slot.Name, slot.Width, at.first-of.first
			}
		}
	}
	return strings.TrimSuffix(bitRange(&Field{NXM: name, Bits: width}, first, n), "[]")
}

// part is a slot with a value, or what is left of a bank of registers.
type part struct{ name, value string }

// parts takes a bank of registers apart.
func (s Symbols) parts(bank *Field, value, mask Value) (parts []part) {
	for _, slot := range s.Slots {
		at := slot.location()
		if at.bank != bank {
			continue
		}
		own := Ones(at.width)
		if m := mask.Shr(at.first).And(own); !m.IsZero() {
			parts = append(parts, part{slot.Name, s.value(slot, value.Shr(at.first).And(m), m)})
			mask = mask.AndNot(own.Shl(at.first))
		}
	}
	for _, register := range registers(bank) {
		at, _ := location(register, 0, register.Bits)
		if m := mask.Shr(at.first).And(register.Exact()); !m.IsZero() {
			parts = append(parts, part{register.Name, string(appendMasked(nil, register, value.Shr(at.first).And(m), m))})
		}
	}
	return parts
}

func (s Symbols) value(slot Bits, v, mask Value) string {
	if whole := mask == Ones(slot.Width); whole && slot.Values[v.Lo] != "" {
		return slot.Values[v.Lo]
	} else if whole && slot.Form == Port && s.Ports[uint32(v.Lo)] != "" {
		return s.Ports[uint32(v.Lo)]
	} else if slot.Form == IPv6 && v.Shr(32) == U32(0xffff) && mask.Shr(32) == Ones(96) { // IPv4-mapped
		return string(appendMasked(nil, IPSrc, v.And(Ones(32)), mask.And(Ones(32))))
	}
	return string(appendMasked(nil, &Field{Bits: slot.Width, Form: slot.Form}, v, mask))
}

// banks are the registers that no other register overlaps, and what has names like a register.
var banks = []*Field{XXReg0, XXReg1, XXReg2, XXReg3, Metadata, TunID}

// registers are the 32-bit registers of a bank, or the bank itself.
func registers(bank *Field) []*Field {
	n := slices.Index(banks, bank)
	if n >= 4 {
		return []*Field{bank}
	}
	return Fields[Reg0.order+4*n:][:4]
}

// Widest finds a bit of a register in the widest register that has it: xxreg0 to xxreg3, or metadata itself.
func Widest(f *Field, bit int) (wide *Field, first int) {
	at, ok := location(f, bit, 1)
	if !ok {
		return f, bit
	}
	return at.bank, at.first
}

// span is where bits are: in which bank, from which bit on, how many.
type span struct {
	bank         *Field
	first, width int
}

func (b Bits) location() span {
	at, _ := location(b.Field, b.First, b.Width)
	return at
}

func (a span) contains(b span) bool {
	return a.bank == b.bank && a.first <= b.first && b.first+b.width <= a.first+a.width
}

// location finds bits of a register; ok is false of any other field. The first register of a bank is the most
// significant.
func location(f *Field, first, width int) (at span, ok bool) {
	if f == Metadata || f == TunID {
		return span{f, first, width}, true
	}
	for _, size := range []struct {
		first *Field
		bits  int
	}{{Reg0, 32}, {XReg0, 64}, {XXReg0, 128}} {
		n, per := f.order-size.first.order, 128/size.bits
		if n >= 0 && n < 4*per && f.Bits == size.bits {
			return span{banks[n/per], (per-1-n%per)*size.bits + first, width}, true
		}
	}
	return span{}, false
}
