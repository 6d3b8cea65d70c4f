package flow

// Field is a packet header, tunnel or register field, as the OXM/NXM registry names and numbers it
// (ovs-fields(7)). Fields are compared by pointer; all of them are in the [Fields] table.
type Field struct {
	Name  string // as ovs-ofctl writes it: "nw_src", "tun_id", "reg0"
	Class uint16 // OXM class: 0x8000 openflow basic, 0x0000 nxm_0, 0x0001 nxm_1
	ID    uint8  // field number in the class
	Bits  int    // width
	Form  Form   // how a value is written
}

// Form is how people write a field's value.
type Form uint8

const (
	Decimal Form = iota
	Hex
	IPv4
	IPv6
	Ethernet
)

// Exact is the mask of a field with every bit set.
func (f *Field) Exact() Value {
	switch {
	case f.Bits >= 128:
		return Value{^uint64(0), ^uint64(0)}
	case f.Bits > 64:
		return Value{1<<(f.Bits-64) - 1, ^uint64(0)}
	case f.Bits == 64:
		return Value{0, ^uint64(0)}
	}
	return Value{0, 1<<f.Bits - 1}
}
