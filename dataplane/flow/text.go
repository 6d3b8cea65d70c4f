package flow

import (
	"strconv"
	"strings"
)

// TableNames are the names that people see instead of table numbers. Without one, the number is printed.
type TableNames map[uint8]string

// String is the flow as ovs-ofctl reads it: "table=0,priority=100,arp,in_port=3 actions=drop".
func (f Flow) String() string { return TableNames(nil).Flow(f) }

// Flow is [Flow.String] with tables named.
func (n TableNames) Flow(f Flow) string {
	b := make([]byte, 0, 160)
	b = append(append(b, "table="...), n.table(f.Table)...)
	b = strconv.AppendUint(append(b, ",priority="...), uint64(f.Priority), 10)
	if len(f.Match) > 0 {
		b = f.Match.append(append(b, ','))
	}
	return string(n.appendActions(append(b, " actions="...), f.Actions))
}

// Actions is a list of actions as ovs-ofctl reads it, with tables named: "dec_ttl,goto_table:deliver"; "drop" if there
// are none.
func (n TableNames) Actions(list []Action) string { return string(n.appendActions(nil, list)) }

func (n TableNames) appendActions(b []byte, list []Action) []byte {
	if len(list) == 0 {
		return append(b, "drop"...)
	}
	for i, a := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, n.action(a)...)
	}
	return b
}

func (n TableNames) action(a Action) string {
	switch a := a.(type) {
	case Goto:
		return "goto_table:" + n.table(a.Table)
	case Resubmit:
		return "resubmit(," + n.table(a.Table) + ")"
	case CT:
		return a.text(n)
	}
	return a.String()
}

func (n TableNames) table(id uint8) string {
	if name, ok := n[id]; ok {
		return name
	}
	return strconv.Itoa(int(id))
}

func (n TableNames) number(s string) (uint8, error) {
	for id, name := range n {
		if name == s {
			return id, nil
		}
	}
	id, err := strconv.ParseUint(s, 0, 8)
	return uint8(id), err
}

// String is the match as ovs-ofctl writes it: "tcp,in_port=3,nw_src=10.0.0.0/8,tp_dst=80".
func (m Match) String() string { return string(m.append(nil)) }

func (m Match) append(b []byte) []byte {
	start := len(b)
	comma := func() {
		if len(b) > start {
			b = append(b, ',')
		}
	}
	proto, skipType, skipProto := m.shorthand()
	for _, t := range m {
		if proto != "" && t.Field.order >= Reg0.order {
			comma()
			b = append(b, proto...)
			proto = ""
		}
		if skipType && t.Field == EthType || skipProto && t.Field == IPProto {
			continue
		}
		comma()
		b = t.append(b)
	}
	return b
}

var etherNames = map[uint64]string{0x0800: "ip", 0x86dd: "ipv6", 0x0806: "arp", 0x8035: "rarp", 0x8847: "mpls", 0x8848: "mplsm"}

var protoNames = map[[2]uint64]string{
	{0x0800, 1}: "icmp", {0x0800, 6}: "tcp", {0x0800, 17}: "udp", {0x0800, 132}: "sctp",
	{0x86dd, 58}: "icmp6", {0x86dd, 6}: "tcp6", {0x86dd, 17}: "udp6", {0x86dd, 132}: "sctp6",
}

// shorthand is the word for eth_type and ip_proto, and which of them it replaces.
func (m Match) shorthand() (name string, skipType, skipProto bool) {
	ether, ok := m.Exactly(EthType)
	if !ok {
		return "", false, false
	}
	if proto, ok := m.Exactly(IPProto); ok {
		if name, ok := protoNames[[2]uint64{ether.Lo, proto.Lo}]; ok {
			return name, true, true
		}
	}
	name, ok = etherNames[ether.Lo]
	return name, ok, false
}

func (t Term) String() string { return string(t.append(nil)) }

func (t Term) append(b []byte) []byte {
	if t.Field.Form == VLAN {
		return t.appendVLAN(b)
	}
	b = append(append(b, t.Field.Short...), '=')
	switch {
	case t.Field.Form == TOS:
		return strconv.AppendUint(b, t.Value.Lo<<2, 10)
	case t.Field.Form == Frag:
		return append(b, fragName(t)...)
	case t.Field.Form == Flags:
		return appendFlags(b, t)
	case t.Field == EthType:
		return appendHexPadded(b, t.Value.Lo, 4)
	case t.Field == IPv6Label:
		return t.appendHexMasked(b, 5)
	case t.Field.Form == Decimal && !t.exact(): // transport ports
		return t.appendHexMasked(b, 1)
	}
	return appendMasked(b, t.Field, t.Value, t.Mask)
}

// appendVLAN follows OVS: the id and the priority by name where a tag is demanded, else bits.
func (t Term) appendVLAN(b []byte) []byte {
	vid, pcp := t.Value.Lo&0xfff, t.Value.Lo>>13
	tagged := t.Value.Lo&t.Mask.Lo&0x1000 != 0
	switch {
	case tagged && t.Mask.Lo == 0x1fff:
		return strconv.AppendUint(append(b, "dl_vlan="...), vid, 10)
	case tagged && t.Mask.Lo == 0xf000:
		return strconv.AppendUint(append(b, "dl_vlan_pcp="...), pcp, 10)
	case tagged && t.Mask.Lo == 0xffff:
		b = strconv.AppendUint(append(b, "dl_vlan="...), vid, 10)
		return strconv.AppendUint(append(b, ",dl_vlan_pcp="...), pcp, 10)
	}
	return t.appendHexMasked(append(b, "vlan_tci="...), 4)
}

// appendHexMasked writes at least the given number of digits.
func (t Term) appendHexMasked(b []byte, digits int) []byte {
	b = appendHexPadded(b, t.Value.Lo, digits)
	if t.exact() {
		return b
	}
	return appendHexPadded(append(b, '/'), t.Mask.Lo, digits)
}

// fragNames are ip_frag's values and masks: bit 0 says that it is a fragment, bit 1 that it is not the first
// (ovs-fields(7)).
var fragNames = []struct {
	name        string
	value, mask uint64
}{{"no", 0, 3}, {"first", 1, 3}, {"later", 3, 3}, {"yes", 1, 1}, {"not_later", 0, 2}}

func fragName(t Term) string {
	for _, f := range fragNames {
		if t.Value.Lo == f.value && t.Mask.Lo == f.mask {
			return f.name
		}
	}
	return "?" // Check refuses it
}

var flagNames = map[*Field][]string{
	CTState:  {"new", "est", "rel", "rpl", "inv", "trk", "snat", "dnat"},
	TCPFlags: {"fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr", "ns", "[200]", "[400]", "[800]"},
}

// appendFlags writes "+new-trk" for some flags, "syn|ack" for exactly those, and 0 for exactly none.
func appendFlags(b []byte, t Term) []byte {
	if t.exact() && t.Value.IsZero() {
		return append(b, '0')
	}
	start := len(b)
	for i, name := range flagNames[t.Field] {
		set := t.Value.Lo>>i&1 == 1
		switch {
		case t.Mask.Lo>>i&1 == 0 || t.exact() && !set:
			continue
		case t.exact() && len(b) > start:
			b = append(b, '|')
		case !t.exact() && set:
			b = append(b, '+')
		case !t.exact():
			b = append(b, '-')
		}
		b = append(b, name...)
	}
	return b
}

// appendMasked writes a value and, unless it is of the whole field, its mask.
func appendMasked(b []byte, f *Field, v, mask Value) []byte {
	if mask == f.Exact() {
		return appendValue(b, f, v)
	}
	b = append(appendValue(b, f, v), '/')
	if n, ok := mask.leading(f.Bits); ok && (f.Form == IPv4 || f.Form == IPv6) {
		return strconv.AppendInt(b, int64(n), 10)
	}
	if f.Form == Decimal {
		return appendHex(b, mask)
	}
	return appendValue(b, f, mask)
}

func appendValue(b []byte, f *Field, v Value) []byte {
	switch f.Form {
	case Hex, VLAN:
		return appendHex(b, v)
	case IPv4:
		return v.ipv4().AppendTo(b)
	case IPv6:
		return appendIPv6(b, v)
	case Ethernet:
		return appendMAC(b, v)
	case Port:
		return append(b, portName(wideFor(f, v))...)
	}
	return strconv.AppendUint(b, v.Lo, 10)
}

func wideFor(f *Field, v Value) uint32 {
	if f == InPort16 {
		return WidePort(uint16(v.Lo))
	}
	return uint32(v.Lo)
}

// appendHex writes like C's "%#x": zero has no prefix.
func appendHex(b []byte, v Value) []byte {
	switch {
	case v.IsZero():
		return append(b, '0')
	case v.Hi == 0:
		return strconv.AppendUint(append(b, "0x"...), v.Lo, 16)
	}
	b = strconv.AppendUint(append(b, "0x"...), v.Hi, 16)
	return appendPadded(b, v.Lo, 16)
}

func appendHexPadded(b []byte, n uint64, width int) []byte {
	return appendPadded(append(b, "0x"...), n, width)
}

func appendPadded(b []byte, n uint64, width int) []byte {
	digits := strconv.FormatUint(n, 16)
	for range width - len(digits) {
		b = append(b, '0')
	}
	return append(b, digits...)
}

func appendMAC(b []byte, v Value) []byte {
	const hex = "0123456789abcdef"
	for i, c := range v.Bytes(6) {
		if i > 0 {
			b = append(b, ':')
		}
		b = append(b, hex[c>>4], hex[c&15])
	}
	return b
}

// appendIPv6 writes like glibc's inet_ntop, which OVS uses: an address in ::/96 above ::ffff ends in dotted form.
func appendIPv6(b []byte, v Value) []byte {
	if v.Hi == 0 && v.Lo>>32 == 0 && v.Lo > 0xffff {
		return v.And(Ones(32)).ipv4().AppendTo(append(b, "::"...))
	}
	return v.ipv6().AppendTo(b)
}

var portNames = map[uint32]string{
	PortInPort: "IN_PORT", 0xfffffff9: "TABLE", 0xfffffffa: "NORMAL", 0xfffffffb: "FLOOD", 0xfffffffc: "ALL",
	PortController: "CONTROLLER", PortLocal: "LOCAL", PortAny: "ANY",
}

func portName(p uint32) string {
	if name, ok := portNames[p]; ok {
		return name
	}
	return strconv.FormatUint(uint64(p), 10)
}

func portNumber(s string) (uint32, error) {
	for p, name := range portNames {
		if strings.EqualFold(s, name) {
			return p, nil
		}
	}
	p, err := strconv.ParseUint(s, 0, 32)
	return uint32(p), err
}
