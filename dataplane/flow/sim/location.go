package sim

import "github.com/overlane/overlane/dataplane/flow"

// location is where a field's bits are in a frame: in some whole bytes, with shift bits below them.
type location struct{ at, bytes, shift int }

// offsets is where fields that fill whole bytes are, from the start of their header.
var (
	ethernetFields = map[*flow.Field]int{flow.EthDst: 0, flow.EthSrc: 6}
	arpFields      = map[*flow.Field]int{flow.ARPOp: 6, flow.ARPSHA: 8, flow.ARPSPA: 14, flow.ARPTHA: 18, flow.ARPTPA: 24}
	ipv4Fields     = map[*flow.Field]int{flow.IPTTL: 8, flow.IPSrc: 12, flow.IPDst: 16}
	ipv6Fields     = map[*flow.Field]int{flow.IPTTL: 7, flow.IPv6Src: 8, flow.IPv6Dst: 24}
	tcpFields      = map[*flow.Field]int{flow.TCPSrc: 0, flow.TCPDst: 2}
	udpFields      = map[*flow.Field]int{flow.UDPSrc: 0, flow.UDPDst: 2}
	icmpFields     = map[*flow.Field]int{flow.ICMPType: 0, flow.ICMPCode: 1}
	icmpv6Fields   = map[*flow.Field]int{flow.ICMPv6Type: 0, flow.ICMPv6Code: 1}
)

// location finds a field in the packet; ok is false if the packet has no such header.
func (s *state) location(f *flow.Field) (l location, ok bool) {
	h := s.at
	if offset, ok := ethernetFields[f]; ok {
		return location{offset, 6, 0}, true
	}
	for _, header := range []struct {
		at     int
		fields map[*flow.Field]int
	}{{h.arp, arpFields}, {h.ip4, ipv4Fields}, {h.ip6, ipv6Fields}, {h.l4, h.transportFields()}} {
		if offset, ok := header.fields[f]; ok && header.at >= 0 {
			return location{header.at + offset, f.Bytes(), 0}, true
		}
	}
	l, ok = h.oddLocation(f)
	return l, ok && l.at >= 0
}

func (h headers) transportFields() map[*flow.Field]int {
	switch h.proto {
	case protoTCP:
		return tcpFields
	case protoUDP:
		return udpFields
	case protoICMP:
		return icmpFields
	case protoICMPv6:
		return icmpv6Fields
	}
	return nil
}

// oddLocation is for fields that share bytes with others, and for options. IPv6 begins with version, traffic class and
// label in 32 bits.
func (h headers) oddLocation(f *flow.Field) (l location, ok bool) {
	switch {
	case f == flow.NDTarget:
		return location{h.ndTarget, 16, 0}, true
	case f == flow.NDSLL:
		return location{h.ndSLL, 6, 0}, true
	case f == flow.NDTLL:
		return location{h.ndTLL, 6, 0}, true
	case f == flow.TCPFlags && h.proto == protoTCP && h.l4 >= 0:
		return location{h.l4 + 12, 2, 0}, true
	case f == flow.IPDSCP && h.ip4 >= 0:
		return location{h.ip4 + 1, 1, 2}, true
	case f == flow.IPECN && h.ip4 >= 0:
		return location{h.ip4 + 1, 1, 0}, true
	case f == flow.IPDSCP:
		return location{h.ip6, 4, 22}, true
	case f == flow.IPECN:
		return location{h.ip6, 4, 20}, true
	case f == flow.IPv6Label:
		return location{h.ip6, 4, 0}, true
	}
	return location{}, false
}
