package answer

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/gopacket/gopacket/layers"
)

// Readdressed returns an Ethernet frame with another IPv4 destination and with the checksums adjusted, as set_field in
// OVS does. It reverts such a change.
func Readdressed(frame []byte, to netip.Addr) []byte {
	_, was, ok := Addresses(frame)
	if !ok || was == to {
		return frame
	}
	frame = slices.Clone(frame)
	sums := [][]byte{frame[ethernetHeader+10:]}
	if tcp, ok := payload(frame, layers.IPProtocolTCP); ok && len(tcp) >= tcpHeader {
		sums = append(sums, tcp[16:])
	}
	if udp, ok := payload(frame, layers.IPProtocolUDP); ok && len(udp) >= udpHeader &&
		binary.BigEndian.Uint16(udp[6:]) != 0 { // 0: none (RFC 768)
		sums = append(sums, udp[6:])
	}
	before, after := was.As4(), to.As4()
	for _, sum := range sums {
		binary.BigEndian.PutUint16(sum, adjusted(binary.BigEndian.Uint16(sum), before, after))
	}
	copy(frame[ethernetHeader+16:], after[:])
	return frame
}

// adjusted returns a checksum after a change of an address (RFC 1624 section 3).
func adjusted(checksum uint16, before, after [4]byte) uint16 {
	sum := uint32(^checksum)
	for i := 0; i < 4; i += 2 {
		sum += uint32(^binary.BigEndian.Uint16(before[i:])) + uint32(binary.BigEndian.Uint16(after[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
