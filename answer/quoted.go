package answer

import (
	"encoding/binary"
	"net/netip"

	"github.com/gopacket/gopacket/layers"
)

// Quoted returns the protocol (tcp or udp) and the source of the packet that an ICMP error in an Ethernet frame quotes
// (RFC 792). ok is false unless the quote has the whole header of the protocol, as RFC 1812 section 4.3.2.3 asks for:
// with a shorter quote, the userspace conntrack of OVS 3.1 writes beyond its end.
func Quoted(frame []byte) (protocol string, sender netip.AddrPort, ok bool) {
	inner, ok := payload(frame, layers.IPProtocolICMPv4)
	if !ok || len(inner) < icmpHeader || !isError(inner[0]) {
		return "", sender, false
	}
	packet := inner[icmpHeader:]
	for _, p := range ported {
		if rest, ok := ipv4(packet, p.number); ok && len(rest) >= p.header {
			from := netip.AddrFrom4([4]byte(packet[12:16]))
			return p.name, netip.AddrPortFrom(from, binary.BigEndian.Uint16(rest)), true
		}
	}
	return "", sender, false
}

// ported are the protocols that have ports, with the least length of their headers.
var ported = []struct {
	name   string
	number layers.IPProtocol
	header int
}{{"tcp", layers.IPProtocolTCP, tcpHeader}, {"udp", layers.IPProtocolUDP, udpHeader}}

// Lengths of headers, in bytes.
const (
	ethernetHeader = 14
	icmpHeader     = 8
	tcpHeader      = 20
	udpHeader      = 8
)

// payload returns the payload of a protocol over IPv4 in an Ethernet frame.
func payload(frame []byte, proto layers.IPProtocol) ([]byte, bool) {
	if len(frame) < ethernetHeader || binary.BigEndian.Uint16(frame[12:]) != uint16(layers.EthernetTypeIPv4) {
		return nil, false
	}
	return ipv4(frame[ethernetHeader:], proto)
}

// ipv4 returns the payload of an IPv4 packet. It refuses fragments other than the first (RFC 791 section 3.1).
func ipv4(packet []byte, proto layers.IPProtocol) ([]byte, bool) {
	if len(packet) < 20 || packet[0]>>4 != 4 || packet[9] != byte(proto) ||
		binary.BigEndian.Uint16(packet[6:])&0x1fff != 0 {
		return nil, false
	}
	header := int(packet[0]&0xf) * 4
	if header < 20 || len(packet) < header {
		return nil, false
	}
	return packet[header:], true
}
