package sim

import "encoding/binary"

// headers says where in a frame the headers are. An offset of -1 means that the frame has no such header, or a
// malformed one, which OVS treats alike: its fields read as zero and cannot be written (lib/flow.c, miniflow_extract).
type headers struct {
	tagged    bool // one VLAN tag, at 12
	etherType uint16
	typeAt    int // of the EtherType that counts
	arp       int
	ip4, ip6  int
	proto     uint8
	frag      uint8 // bit 0: a fragment; bit 1: not the first
	l4        int
	ndTarget  int
	ndSLL     int
	ndTLL     int
}

const (
	etherIPv4 = 0x0800
	etherARP  = 0x0806
	etherVLAN = 0x8100
	etherIPv6 = 0x86dd

	protoICMP   = 1
	protoTCP    = 6
	protoUDP    = 17
	protoICMPv6 = 58
)

// parse finds the headers of a frame of 14 bytes or more.
func parse(b []byte) headers {
	h := headers{typeAt: 12, arp: -1, ip4: -1, ip6: -1, l4: -1, ndTarget: -1, ndSLL: -1, ndTLL: -1}
	h.etherType = binary.BigEndian.Uint16(b[12:])
	if h.etherType == etherVLAN && len(b) >= 18 {
		h.tagged, h.typeAt = true, 16
		h.etherType = binary.BigEndian.Uint16(b[16:])
	}
	if h.etherType < 0x0600 { // a length: not Ethernet II
		h.etherType = 0x05ff
		return h
	}
	switch at := h.typeAt + 2; h.etherType {
	case etherARP:
		h.parseARP(b, at)
	case etherIPv4:
		h.parseIPv4(b, at)
	case etherIPv6:
		h.parseIPv6(b, at)
	}
	return h
}

// parseARP takes Ethernet and IPv4 only (RFC 826).
func (h *headers) parseARP(b []byte, at int) {
	if len(b) >= at+28 && binary.BigEndian.Uint64(b[at:])>>16 == 0x0001_0800_0604 {
		h.arp = at
	}
}

func (h *headers) parseIPv4(b []byte, at int) {
	if len(b) < at+20 {
		return
	}
	size, total := int(b[at]&15)*4, int(binary.BigEndian.Uint16(b[at+2:]))
	if b[at]>>4 != 4 || size < 20 || total < size || len(b) < at+total {
		return
	}
	h.ip4, h.proto = at, b[at+9]
	offset := binary.BigEndian.Uint16(b[at+6:])
	if offset&0x3fff != 0 {
		h.frag = 1
	}
	if offset&0x1fff != 0 {
		h.frag = 3
	}
	h.parseTransport(b[:at+total], at+size)
}

func (h *headers) parseIPv6(b []byte, at int) {
	if len(b) < at+40 || b[at]>>4 != 6 {
		return
	}
	end := at + 40 + int(binary.BigEndian.Uint16(b[at+4:]))
	if len(b) < end {
		return
	}
	h.ip6 = at
	next, ok := h.skipExtensions(b[:end], at+40, b[at+6])
	if ok {
		h.parseTransport(b[:end], next)
	}
}

// skipExtensions walks the headers of RFC 8200 section 4 and sets proto to what follows them.
func (h *headers) skipExtensions(b []byte, at int, next uint8) (end int, ok bool) {
	for {
		h.proto = next
		size := 0
		switch next {
		case 0, 43, 60: // hop-by-hop, routing, destination options
			if len(b) < at+8 {
				return 0, false
			}
			size = 8 + 8*int(b[at+1])
		case 51: // authentication (RFC 4302)
			if len(b) < at+8 {
				return 0, false
			}
			size = 4 * (int(b[at+1]) + 2)
		case 44: // fragment
			if len(b) < at+8 {
				return 0, false
			}
			size = 8
			h.fragment(binary.BigEndian.Uint16(b[at+2:]))
		default:
			return at, true
		}
		if len(b) < at+size {
			return 0, false
		}
		next, at = b[at], at+size
		if h.frag&2 != 0 {
			h.proto = 44 // what OVS says of a later fragment
			return at, true
		}
	}
}

func (h *headers) fragment(field uint16) {
	if field&0xfff9 != 0 {
		h.frag = 1
	}
	if field&0xfff8 != 0 {
		h.frag = 3
	}
}

var transportSizes = map[uint8]int{protoICMP: 8, protoTCP: 20, protoUDP: 8, protoICMPv6: 8}

func (h *headers) parseTransport(b []byte, at int) {
	size, known := transportSizes[h.proto]
	if !known || h.frag&2 != 0 || len(b) < at+size || (h.proto == protoICMP) != (h.ip4 >= 0) && h.proto != protoTCP && h.proto != protoUDP {
		return
	}
	h.l4 = at
	if h.proto == protoICMPv6 {
		h.parseND(b, at)
	}
}

const (
	ndSolicit = 135
	ndAdvert  = 136
)

// parseND finds the target and the link-layer address options (RFC 4861 sections 4.3, 4.4 and 4.6.1).
func (h *headers) parseND(b []byte, at int) {
	kind := b[at]
	if (kind != ndSolicit && kind != ndAdvert) || b[at+1] != 0 || len(b) < at+24 {
		return
	}
	h.ndTarget = at + 8
	for opt := at + 24; opt+8 <= len(b); opt += 8 * int(b[opt+1]) {
		switch {
		case b[opt+1] == 0:
			return
		case b[opt] == 1 && kind == ndSolicit:
			h.ndSLL = opt + 2
		case b[opt] == 2 && kind == ndAdvert:
			h.ndTLL = opt + 2
		}
	}
}
