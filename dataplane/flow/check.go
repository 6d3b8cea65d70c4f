package flow

import (
	"errors"
	"fmt"
	"slices"
)

// Check says what OVS would refuse, or silently read as something else, in the match: a field without its prerequisite
// (ovs-ofctl drops such a term, and a flow for one port becomes a flow for all), bits outside the field or the mask,
// the wrong order, a field named twice. Nil means that the match is as good as [On] makes it and OVS takes it
// unchanged.
func (m Match) Check() error {
	for i, t := range m {
		if err := t.check(); err != nil {
			return err
		}
		if i > 0 && m[i-1].Field.order == t.Field.order {
			return fmt.Errorf("match on %s: named twice", t.Field)
		}
		if i > 0 && m[i-1].Field.order > t.Field.order {
			return fmt.Errorf("match on %s: out of order, after %s", t.Field, m[i-1].Field)
		}
		if !m.meets(t.Field.Needs) {
			return fmt.Errorf("match on %s: the match does not say %s", t.Field, needNames[t.Field.Needs])
		}
	}
	return nil
}

func (t Term) check() error {
	f := t.Field
	switch {
	case f == nil:
		return errors.New("match: term without a field")
	case f == InPort16 || f == VLANVID || f == VLANPCP || narrowRegisters(f) != nil:
		return fmt.Errorf("match on %s: not canonical, use On", f)
	case t.Mask.IsZero():
		return fmt.Errorf("match on %s: empty mask, use On", f)
	case !t.exact() && !f.Maskable:
		return fmt.Errorf("match on %s: OVS matches all of its bits or none", f)
	case f == VLANTCI && !t.vlanFits():
		return fmt.Errorf("match on %s: OpenFlow 1.5 has the priority whole, of tagged frames, or not at all", f)
	case f == CTState && t.exact():
		return fmt.Errorf("match on %s: OVS takes this as /0xff", f)
	case f.Form == Frag && fragName(t) == "?", f.Form == Flags && !t.namesFlags():
		return fmt.Errorf("match on %s: %#x/%#x has no meaning", f, t.Value.Lo, t.Mask.Lo)
	}
	if err := checkBits(f, t.Value, t.Mask); err != nil {
		return fmt.Errorf("match on %s: %w", f, err)
	}
	return nil
}

// vlanFits says that vlan_vid and vlan_pcp, which is how OpenFlow 1.5 carries vlan_tci, can express the term.
func (t Term) vlanFits() bool {
	tagged := t.Value.Lo&t.Mask.Lo&0x1000 != 0
	return t.Mask.Lo&0xe000 == 0 || t.Mask.Lo&0xe000 == 0xe000 && tagged
}

func (t Term) namesFlags() bool {
	known := Ones(len(flagNames[t.Field]))
	return t.Value.AndNot(known).IsZero() && (t.exact() || t.Mask.AndNot(known).IsZero())
}

func checkBits(f *Field, v, mask Value) error {
	switch {
	case !mask.AndNot(f.Exact()).IsZero():
		return fmt.Errorf("mask is wider than %d bits", f.Bits)
	case !v.AndNot(f.Exact()).IsZero():
		return fmt.Errorf("value is wider than %d bits", f.Bits)
	case !v.AndNot(mask).IsZero():
		return errors.New("value has bits outside its mask")
	case f == ARPOp && v.Lo > 0xff:
		return errors.New("OVS knows 8 bits of it")
	}
	return nil
}

var needNames = map[Need]string{
	NeedIPv4: "ip", NeedIPv6: "ipv6", NeedIP: "ip or ipv6", NeedARP: "arp", NeedTCP: "tcp", NeedUDP: "udp",
	NeedICMP: "icmp", NeedICMPv6: "icmp6", NeedND: "icmp6 with icmp_type=135 or 136",
	NeedNDSolicit: "icmp6 with icmp_type=135", NeedNDAdvert: "icmp6 with icmp_type=136",
}

// meets says whether every packet of the match has the prerequisite.
func (m Match) meets(n Need) bool {
	if n == NeedNothing {
		return true
	}
	ether, _ := m.Exactly(EthType)
	proto, _ := m.Exactly(IPProto)
	v4, v6 := ether.Lo == 0x0800, ether.Lo == 0x86dd
	switch n {
	case NeedIPv4:
		return v4
	case NeedIPv6:
		return v6
	case NeedIP:
		return v4 || v6
	case NeedARP:
		return ether.Lo == 0x0806
	}
	if frag, _ := m.Lookup(IPFrag); frag.Value.Lo&2 != 0 {
		return false // a later fragment has no transport header
	}
	switch n {
	case NeedTCP:
		return (v4 || v6) && proto.Lo == 6
	case NeedUDP:
		return (v4 || v6) && proto.Lo == 17
	case NeedICMP:
		return v4 && proto.Lo == 1
	case NeedICMPv6:
		return v6 && proto.Lo == 58
	}
	return v6 && proto.Lo == 58 && m.meetsND(n)
}

func (m Match) meetsND(n Need) bool {
	if code, ok := m.Exactly(ICMPv6Code); ok && code.Lo != 0 {
		return false
	}
	kind, _ := m.Exactly(ICMPv6Type)
	return n != NeedNDAdvert && kind.Lo == 135 || n != NeedNDSolicit && kind.Lo == 136
}

// Check says what OVS would refuse or silently read as something else in the flow, beside [Match.Check]: a table that
// does not exist, actions on fields that the match has not established, a goto, or ct with a table, that is not the
// last or not forward, a meter that is not the first. Whether tables and groups that it names exist is for [Soundness].
func (f Flow) Check() error {
	if f.Table > MaxTable {
		return fmt.Errorf("table %d: the last is %d", f.Table, MaxTable)
	}
	if err := f.Match.Check(); err != nil {
		return err
	}
	for i, a := range f.Actions {
		if err := f.checkAction(i, a); err != nil {
			return fmt.Errorf("action %s: %w", a, err)
		}
	}
	return nil
}

// MaxTable is the last table that OVS lets flows be in: 254 is its own, and 255 means "all tables" (ovs-ofctl(8)).
const MaxTable uint8 = 253

func (f Flow) checkAction(i int, a Action) error {
	switch a := a.(type) {
	case Goto:
		if i != len(f.Actions)-1 {
			return errors.New("is not the last")
		}
		return checkForward(f.Table, a.Table)
	case Resubmit:
		if a.Table == f.Table || a.Table > MaxTable {
			return fmt.Errorf("from table %d", f.Table)
		}
	case CT:
		if a.Table == 0 {
			break
		}
		if i != len(f.Actions)-1 {
			return errors.New("is not the last, and goes to a table")
		}
		if err := checkForward(f.Table, a.Table); err != nil {
			return err
		}
	case CheckLarger:
		if i == len(f.Actions)-1 {
			return errors.New("is the last: OVS skips it")
		}
	case UseMeter:
		if i != 0 {
			return errors.New("is not the first")
		}
		if a.ID == 0 || a.ID > MaxMeter {
			return fmt.Errorf("meters are 1 to %d", MaxMeter)
		}
	}
	return checkStep(a, f.Match.meets)
}

func checkForward(from, to uint8) error {
	if to <= from || to > MaxTable {
		return fmt.Errorf("does not go forward from table %d", from)
	}
	return nil
}

// The largest numbers (OpenFlow 1.5.1 sections 7.3.4.2 and 7.3.4.6).
const (
	MaxGroup uint32 = 0xffffff00
	MaxMeter uint32 = 0xffff0000
	MaxPort  uint32 = 0xfeff // OVS has 16-bit port numbers (ovs-fields(7), in_port)
)

// A bucket does not know which flows lead to it.
func anything(Need) bool { return true }

// checkStep checks what holds in flows and in buckets alike; met says which prerequisites the match has established.
func checkStep(a Action, met func(Need) bool) error {
	switch a := a.(type) {
	case SetField:
		return checkSet(a, met)
	case Move:
		return checkMove(a, met)
	case Output:
		return checkPort(a.Port)
	case OutputReg:
		if !slices.Contains(Registers[:], a.Field) {
			return errors.New("not a 32-bit register")
		}
	case ToGroup:
		if a.ID > MaxGroup {
			return fmt.Errorf("groups are 0 to %d", MaxGroup)
		}
	case Controller:
		if len(a.Userdata) == 0 {
			return errors.New("without userdata nobody knows what for")
		}
		if a.MaxLen == 0 {
			return errors.New("hands over no byte of the packet, use MaxLenAll")
		}
	case DecTTL:
		if !met(NeedIP) {
			return fmt.Errorf("the match does not say %s", needNames[NeedIP])
		}
	case CheckLarger:
		switch {
		case !slices.Contains(Registers[:], a.Dst):
			return errors.New("not a 32-bit register")
		case a.Bit < 0 || a.Bit >= a.Dst.Bits:
			return errors.New("bits outside the field")
		}
	case CT:
		return checkCT(a, met)
	}
	return nil
}

func checkCT(a CT, met func(Need) bool) error {
	switch {
	case !met(NeedIP):
		return fmt.Errorf("the match does not say %s", needNames[NeedIP])
	case a.Table > MaxTable:
		return fmt.Errorf("table %d: the last is %d", a.Table, MaxTable)
	case a.NAT == nil:
		return nil
	case a.Table == 0:
		return errors.New("translates, but what follows in the list would match the packet as it was: give it a table")
	case a.NAT.Kind == NATKnown:
		return checkKnownNAT(a)
	case !a.Commit:
		return errors.New("translates what it does not commit")
	}
	return a.NAT.check(met)
}

func checkKnownNAT(a CT) error {
	switch {
	case *a.NAT != (NAT{}):
		return errors.New("translates as before, and names an address or port")
	case a.Commit:
		return errors.New("commits what is not translated: the userspace datapath would await replies from 0.0.0.0")
	}
	return nil
}

func (n NAT) check(met func(Need) bool) error {
	family := NeedIPv4
	if n.Addr.Is6() {
		family = NeedIPv6
	}
	switch {
	case natNames[n.Kind] == "":
		return fmt.Errorf("translation of kind %d", n.Kind)
	case !n.Addr.IsValid() || n.Addr.IsUnspecified() || n.Addr.Zone() != "":
		return fmt.Errorf("translates to %s", n.Addr)
	case !met(family):
		return fmt.Errorf("the match does not say %s", needNames[family])
	case n.FirstPort > n.LastPort || n.FirstPort == 0 && n.LastPort != 0:
		return fmt.Errorf("ports %d to %d", n.FirstPort, n.LastPort)
	}
	return nil
}

func checkSet(a SetField, met func(Need) bool) error {
	f := a.Field
	switch {
	case f == nil || !f.Writable:
		return errors.New("is read-only")
	case a.mask() != f.Exact() && !f.Maskable:
		return errors.New("OVS sets all of its bits or none")
	case !met(f.Needs):
		return fmt.Errorf("the match does not say %s", needNames[f.Needs])
	}
	return checkBits(f, a.Value, a.mask())
}

func checkMove(a Move, met func(Need) bool) error {
	switch {
	case a.Src == nil || a.Dst == nil || !a.Dst.Writable:
		return errors.New("destination is read-only")
	case a.Src == VLANVID || a.Src == VLANPCP:
		return errors.New("use vlan_tci")
	case a.Bits < 1 || a.SrcBit < 0 || a.DstBit < 0 || a.SrcBit+a.Bits > a.Src.Bits || a.DstBit+a.Bits > a.Dst.Bits:
		return errors.New("bits outside the field")
	case a.Bits != a.Dst.Bits && !a.Dst.Maskable:
		return errors.New("OVS sets all bits of the destination or none")
	}
	for _, n := range []Need{a.Src.Needs, a.Dst.Needs} {
		if !met(n) {
			return fmt.Errorf("the match does not say %s", needNames[n])
		}
	}
	return nil
}

func checkPort(p uint32) error {
	switch {
	case p == PortController:
		return errors.New("use Controller, which says what for")
	case p == PortInPort || p == PortLocal || p <= MaxPort && p > 0:
		return nil
	}
	return errors.New("no such port")
}

// Check says what OVS would refuse or read as something else in the group. OVS runs a bucket as an action *set*
// (OpenFlow 1.5.1 section 5.6): dec_ttl first, then the fields, then one output. Check requires actions in that order.
func (g Group) Check() error {
	if g.ID > MaxGroup {
		return fmt.Errorf("group %d: groups are 0 to %d", g.ID, MaxGroup)
	}
	if groupTypes[g.Type] == "" {
		return fmt.Errorf("group %d: type %d", g.ID, g.Type)
	}
	for i, b := range g.Buckets {
		if len(b.Actions) == 0 && g.Type == GroupFastFailover {
			continue // while it is alive, the packet is dropped
		}
		if err := b.check(); err != nil {
			return fmt.Errorf("group %d: bucket %d: %w", g.ID, i, err)
		}
	}
	return nil
}

func (b Bucket) check() error {
	before := noSlot
	for _, a := range b.Actions {
		if err := checkStep(a, anything); err != nil {
			return fmt.Errorf("action %s: %w", a, err)
		}
		slot := bucketSlot(a)
		if slot == noSlot || slot < before || slot == before && slot != slotFields {
			return fmt.Errorf("action %s: an action set has no such step, or not here", a)
		}
		before = slot
	}
	if before != slotOut {
		return errors.New("no output: OVS skips such a bucket")
	}
	return nil
}

const (
	noSlot = iota
	slotTTL
	slotFields
	slotOut
)

func bucketSlot(a Action) int {
	switch a := a.(type) {
	case DecTTL:
		return slotTTL
	case SetField, Move:
		return slotFields
	case Output, ToGroup, Resubmit:
		return slotOut
	case CT:
		if a.Table != 0 {
			return slotOut
		}
	}
	return noSlot
}

// Check says what OVS would refuse in the meter.
func (m Meter) Check() error {
	if m.ID == 0 || m.ID > MaxMeter {
		return fmt.Errorf("meter %d: meters are 1 to %d", m.ID, MaxMeter)
	}
	if m.Rate == 0 {
		return fmt.Errorf("meter %d: rate 0", m.ID)
	}
	return nil
}
