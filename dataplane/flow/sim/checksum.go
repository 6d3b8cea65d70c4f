package sim

import "encoding/binary"

// overwrite puts new bytes into a frame and adjusts the checksums that cover the place, as RFC 1624 says: a checksum
// that was wrong stays wrong, as with a real switch.
func overwrite(b []byte, h headers, at int, bytes []byte) {
	from, to := at&^1, (at+len(bytes)+1)&^1 // headers start at even offsets
	before := sum(b[from:to])
	copy(b[at:], bytes)
	after := sum(b[from:to])
	for _, c := range h.checksums(b, at) {
		adjust(b[c:], before, after)
		if h.proto == protoUDP && c == h.l4+6 && binary.BigEndian.Uint16(b[c:]) == 0 {
			binary.BigEndian.PutUint16(b[c:], 0xffff) // zero would say that there is none
		}
	}
}

// checksums are the offsets of those that cover a byte.
func (h headers) checksums(b []byte, at int) []int {
	var list []int
	inIPv4 := h.ip4 >= 0 && at >= h.ip4 && at < h.ip4+20
	if inIPv4 {
		list = append(list, h.ip4+10)
	}
	address := inIPv4 && at >= h.ip4+12 || h.ip6 >= 0 && at >= h.ip6+8 && at < h.ip6+40
	if h.l4 < 0 || at < h.l4 && !address {
		return list
	}
	switch {
	case h.proto == protoTCP:
		return append(list, h.l4+16)
	case h.proto == protoUDP && binary.BigEndian.Uint16(b[h.l4+6:]) != 0: // zero: none (RFC 768)
		return append(list, h.l4+6)
	case h.proto == protoICMPv6, h.proto == protoICMP && !address:
		return append(list, h.l4+2)
	}
	return list
}

// adjust is HC' = ~(~HC + ~m + m').
func adjust(checksum []byte, before, after uint16) {
	n := uint32(^binary.BigEndian.Uint16(checksum)) + uint32(^before) + uint32(after)
	binary.BigEndian.PutUint16(checksum, ^fold(n))
}

// sum is the ones' complement sum of 16-bit words (RFC 1071).
func sum(b []byte) uint16 {
	n := uint32(0)
	for i := 0; i+1 < len(b); i += 2 {
		n += uint32(b[i])<<8 | uint32(b[i+1])
	}
	if len(b)%2 == 1 {
		n += uint32(b[len(b)-1]) << 8
	}
	return fold(n)
}

func fold(n uint32) uint16 {
	for n>>16 != 0 {
		n = n&0xffff + n>>16
	}
	return uint16(n)
}
