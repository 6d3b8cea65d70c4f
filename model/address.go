package model

import (
	"encoding/binary"
	"net/netip"
)

// broadcast is the last address of an IPv4 CIDR (RFC 919 section 7).
func broadcast(cidr netip.Prefix) netip.Addr {
	return addressOf(numberOf(cidr.Masked().Addr()) | uint32(1<<(32-cidr.Bits())-1))
}

// numberOf is an IPv4 address as a number.
func numberOf(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

func addressOf(n uint32) netip.Addr {
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, n)))
}
