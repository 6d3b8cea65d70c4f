package flow

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
)

// U32 is a number as a field's content.
func U32(n uint32) Value { return Value{Lo: uint64(n)} }

// U64 is a number as a field's content.
func U64(n uint64) Value { return Value{Lo: n} }

// MAC is an Ethernet address as a field's content.
func MAC(a [6]byte) Value { return ValueOf(a[:]) }

// Addr is an IPv4 (32 bits) or IPv6 (128 bits) address as a field's content. An IPv4-mapped IPv6 address counts as
// IPv6.
func Addr(a netip.Addr) Value { return ValueOf(a.AsSlice()) }

// Bytes is the value in network order in n bytes, 0 <= n <= 16.
func (v Value) Bytes(n int) []byte {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], v.Hi)
	binary.BigEndian.PutUint64(b[8:], v.Lo)
	return b[16-n:]
}

func (v Value) appendTo(b []byte, n int) []byte {
	for i := n - 1; i >= 0; i-- {
		b = append(b, byte(v.Shr(8*i).Lo))
	}
	return b
}

// IsZero says that no bit is set.
func (v Value) IsZero() bool { return v.Hi|v.Lo == 0 }

// And is the operator & on 128 bits.
func (v Value) And(w Value) Value { return Value{v.Hi & w.Hi, v.Lo & w.Lo} }

// Or is the operator | on 128 bits.
func (v Value) Or(w Value) Value { return Value{v.Hi | w.Hi, v.Lo | w.Lo} }

// AndNot is the operator &^ on 128 bits.
func (v Value) AndNot(w Value) Value { return Value{v.Hi &^ w.Hi, v.Lo &^ w.Lo} }

// Shl is the operator << on 128 bits.
func (v Value) Shl(n int) Value {
	if n >= 64 {
		return Value{v.Lo << (n - 64), 0}
	}
	return Value{v.Hi<<n | v.Lo>>(64-n), v.Lo << n}
}

// Shr is the operator >> on 128 bits.
func (v Value) Shr(n int) Value {
	if n >= 64 {
		return Value{0, v.Hi >> (n - 64)}
	}
	return Value{v.Hi >> n, v.Lo>>n | v.Hi<<(64-n)}
}

// Ones is a value whose low n bits are set, 0 <= n <= 128.
func Ones(n int) Value { return Value{^uint64(0), ^uint64(0)}.Shr(128 - n) }

// leading is how many of the first bits of a field of the given width are set, if they are followed by zeros only.
func (v Value) leading(width int) (n int, ok bool) {
	n = bits.OnesCount64(v.Hi) + bits.OnesCount64(v.Lo)
	return n, v == Ones(n).Shl(width-n)
}

func (v Value) ipv4() netip.Addr { return netip.AddrFrom4([4]byte(v.Bytes(4))) }
func (v Value) ipv6() netip.Addr { return netip.AddrFrom16([16]byte(v.Bytes(16))) }

// ValueOf reads up to 16 bytes in network order.
func ValueOf(b []byte) Value {
	var v Value
	for _, c := range b {
		v = v.Shl(8)
		v.Lo |= uint64(c)
	}
	return v
}
