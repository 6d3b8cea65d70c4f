package sim

import (
	"encoding/binary"
	"net/netip"
	"slices"
)

// answers are the ICMP types of requests and their replies.
var answers = map[uint8]map[uint8]uint8{
	protoICMP:   {8: 0, 0: 8, 13: 14, 14: 13, 15: 16, 16: 15},
	protoICMPv6: {128: 129, 129: 128},
}

// icmpErrors are the ICMP types that hold the beginning of a packet of another connection.
var icmpErrors = map[uint8][]uint8{protoICMP: {3, 4, 5, 11, 12}, protoICMPv6: {1, 2, 3, 4}}

// connKey says which connection a packet is of; about: it is an ICMP error about a packet of that connection, and the
// key is of one that goes the error's way. A packet of none comes with the reason why.
func (s *state) connKey(zone uint16) (key connKey, about bool, why string) {
	h := s.at
	switch {
	case h.ip4 < 0 && h.ip6 < 0:
		return key, false, "not IP, or malformed"
	case h.frag != 0:
		return key, false, "a fragment, which the simulator does not put together"
	case !s.checksumsRight():
		return key, false, "a checksum is wrong"
	}
	key = connKey{zone: zone, proto: h.proto}
	key.src.addr, key.dst.addr = s.addresses()
	known := transportSizes[h.proto] != 0
	switch {
	case !known:
		return key, false, ""
	case h.l4 < 0:
		return key, false, "malformed"
	}
	b := s.frame[h.l4:s.end()]
	if slices.Contains(icmpErrors[h.proto], b[0]) {
		key, ok := inner(h.proto, b[8:], key)
		if !ok {
			return key, false, "an ICMP error about nothing that the receiver sent"
		}
		return key.reversed(), true, ""
	}
	if !key.readTransport(b) {
		return key, false, "not of a kind that has connections"
	}
	return key, false, ""
}

// readTransport fills in ports, or ICMP's identifier, from the beginning of the transport header.
func (k *connKey) readTransport(b []byte) bool {
	if k.hasPorts() {
		k.src.port, k.dst.port = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
		return k.src.port != 0 && k.dst.port != 0
	}
	answer, ok := answers[k.proto][b[0]]
	id := binary.BigEndian.Uint16(b[4:])
	k.src.port, k.src.kind = id, b[0]
	k.dst.port, k.dst.kind = id, answer
	return ok && b[1] == 0
}

// inner is the key of the packet that an ICMP error holds the beginning of; it must have come from whom the error goes
// to.
func inner(icmp uint8, b []byte, outer connKey) (key connKey, ok bool) {
	h := parseInner(icmp, b)
	if h.l4 < 0 {
		return key, false
	}
	key = connKey{zone: outer.zone, proto: h.proto}
	if h.ip4 == 0 {
		key.src.addr, key.dst.addr = addr4(b[12:]), addr4(b[16:])
	} else {
		key.src.addr, key.dst.addr = addr6(b[8:]), addr6(b[24:])
	}
	if key.src.addr != outer.dst.addr {
		return key, false
	}
	if transportSizes[h.proto] == 0 {
		return key, true
	}
	return key, key.readTransport(b[h.l4:])
}

// parseInner finds the headers of a packet that is cut off somewhere behind the first 8 bytes of its transport header.
// IPv6 extension headers are not looked behind.
func parseInner(icmp uint8, b []byte) headers {
	h := headers{ip4: -1, ip6: -1, l4: -1}
	at := 0
	switch {
	case icmp == protoICMP && len(b) >= 20 && b[0]&15 >= 5 && binary.BigEndian.Uint16(b[6:])&0x3fff == 0:
		h.ip4, h.proto, at = 0, b[9], int(b[0]&15)*4
	case icmp == protoICMPv6 && len(b) >= 40:
		h.ip6, h.proto, at = 0, b[6], 40
	default:
		return h
	}
	size := 8
	if icmp == protoICMPv6 {
		size = transportSizes[h.proto]
	}
	if len(b) >= at+size || transportSizes[h.proto] == 0 && len(b) >= at {
		h.l4 = at
	}
	return h
}

func (s *state) addresses() (src, dst netip.Addr) {
	if at := s.at.ip4; at >= 0 {
		return addr4(s.frame[at+12:]), addr4(s.frame[at+16:])
	}
	at := s.at.ip6
	return addr6(s.frame[at+8:]), addr6(s.frame[at+24:])
}

// end is where the IP packet ends in the frame; behind it is padding.
func (s *state) end() int {
	if at := s.at.ip4; at >= 0 {
		return at + int(binary.BigEndian.Uint16(s.frame[at+2:]))
	}
	return s.at.ip6 + 40 + int(binary.BigEndian.Uint16(s.frame[s.at.ip6+4:]))
}

// checksumsRight looks at those of the IPv4 and the transport header, and at lengths within the latter.
func (s *state) checksumsRight() bool {
	h := s.at
	if h.ip4 >= 0 && sum(s.frame[h.ip4:h.ip4+int(s.frame[h.ip4]&15)*4]) != 0xffff {
		return false
	}
	if h.l4 < 0 {
		return true
	}
	b := s.frame[h.l4:s.end()]
	switch size := 0; h.proto {
	case protoTCP:
		if size = int(b[12]>>4) * 4; size < 20 || size > len(b) {
			return false
		}
	case protoUDP:
		if size = int(binary.BigEndian.Uint16(b[4:])); size < 8 || size > len(b) {
			return false
		}
		if h.ip4 >= 0 && binary.BigEndian.Uint16(b[6:]) == 0 {
			return true
		}
	}
	return fold(uint32(sum(b))+s.pseudoHeader(len(b))) == 0xffff
}

// pseudoHeader is the sum of what transport checksums cover beside the transport itself (RFC 9293 section 3.1, RFC 8200
// section 8.1).
func (s *state) pseudoHeader(length int) uint32 {
	h := s.at
	n := uint32(h.proto) + uint32(length)
	switch {
	case h.proto == protoICMP:
		return 0
	case h.ip4 >= 0:
		return n + uint32(sum(s.frame[h.ip4+12:h.ip4+20]))
	}
	return n + uint32(sum(s.frame[h.ip6+8:h.ip6+40]))
}

// cannotBegin says why the packet is not the first of a connection.
func (s *state) cannotBegin() string {
	switch b := s.frame; s.at.proto {
	case protoTCP:
		if flags := b[s.at.l4+13]; !validTCP(flags) || flags&(tcpSYN|tcpACK) == tcpSYN|tcpACK {
			return "TCP flags that begin no connection"
		}
	case protoICMP, protoICMPv6:
		if !slices.Contains([]uint8{8, 13, 15, 128}, b[s.at.l4]) {
			return "a reply to nothing"
		}
	}
	return ""
}
