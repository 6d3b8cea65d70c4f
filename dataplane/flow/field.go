package flow

// Field is a packet header, tunnel or register field, as the OXM/NXM registry names and numbers it
// (ovs-fields(7)). Fields are compared by pointer; all of them are in the [Fields] table.
type Field struct {
	Name  string // as ovs-ofctl writes it in set_field, and unique: "ip_src", "tcp_dst", "reg0"
	Class uint16 // OXM class: 0x8000 openflow basic, 0x8001 packet registers, 0x0000 nxm_0, 0x0001 nxm_1
	ID    uint8  // field number in the class
	Bits  int    // width; see [Field.Bytes] for the wire
	Form  Form   // how a value is written

	Short    string // as ovs-ofctl writes it in a match: "nw_src", "tp_dst"; several fields may share it
	NXM      string // as ovs-ofctl writes it in move and output: "NXM_OF_IP_SRC"
	Needs    Need   // what a match or an action must have established before it may name the field
	Maskable bool   // a match may look at some of the bits
	Writable bool   // set_field and move may change it

	order int // position in Fields
}

// Form is how people write a field's value.
type Form uint8

const (
	Decimal Form = iota
	Hex
	IPv4
	IPv6
	Ethernet
	Port  // a number, or the name of a reserved port
	TOS   // ip_dscp: a match writes it as nw_tos, shifted by two
	VLAN  // vlan_tci: a match writes dl_vlan and dl_vlan_pcp where it can
	Frag  // no, yes, first, later, not_later
	Flags // ct_state and tcp_flags: +trk-new
)

// Need is a field's prerequisite (ovs-fields(7), "Prerequisites").
type Need uint8

const (
	NeedNothing Need = iota
	NeedIPv4
	NeedIPv6
	NeedIP // either
	NeedARP
	NeedTCP
	NeedUDP
	NeedICMP
	NeedICMPv6
	NeedND        // neighbour solicitation or advertisement
	NeedNDSolicit // icmpv6_type 135
	NeedNDAdvert  // icmpv6_type 136
)

// Bytes is the width on the wire: 1, 2, 4, 6, 8 or 16.
func (f *Field) Bytes() int {
	n := (f.Bits + 7) / 8
	if n == 3 { // ipv6_label
		return 4
	}
	return n
}

func (f *Field) String() string { return f.Name }

// Exact is the mask of a field with every bit set.
func (f *Field) Exact() Value { return Ones(f.Bits) }
