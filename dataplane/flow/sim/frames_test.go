package sim_test

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

var (
	mac1 = net.HardwareAddr{2, 0, 0, 0, 0, 1}
	mac2 = net.HardwareAddr{2, 0, 0, 0, 0, 2}
	ip1  = netip.MustParseAddr("10.0.0.1")
	ip2  = netip.MustParseAddr("10.0.0.2")
	six1 = netip.MustParseAddr("fd00::1")
	six2 = netip.MustParseAddr("fd00::2")
)

func serialize(t testing.TB, list ...gopacket.SerializableLayer) []byte {
	t.Helper()
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, list...); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func ethernet(kind layers.EthernetType) *layers.Ethernet {
	return &layers.Ethernet{SrcMAC: mac1, DstMAC: mac2, EthernetType: kind}
}

func ipv4(proto layers.IPProtocol, ttl uint8) *layers.IPv4 {
	return &layers.IPv4{Version: 4, TTL: ttl, Protocol: proto, SrcIP: ip1.AsSlice(), DstIP: ip2.AsSlice(), TOS: 0x29}
}

func ipv6(proto layers.IPProtocol) *layers.IPv6 {
	return &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: proto, SrcIP: six1.AsSlice(), DstIP: six2.AsSlice(), TrafficClass: 0x2a, FlowLabel: 0x12345}
}

var payload = gopacket.Payload("a payload of an odd number of bytes, and long enough to need no padding.")

func pingFrame(t testing.TB, ttl uint8) []byte {
	return serialize(t, ethernet(layers.EthernetTypeIPv4), ipv4(layers.IPProtocolICMPv4, ttl),
		&layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(8, 0), Id: 7, Seq: 1}, payload)
}

// cover has a layer's checksum cover the addresses of what it is in.
func cover(t testing.TB, l interface {
	SetNetworkLayerForChecksum(gopacket.NetworkLayer) error
}, in gopacket.NetworkLayer) {
	t.Helper()
	if err := l.SetNetworkLayerForChecksum(in); err != nil {
		t.Fatal(err)
	}
}

func tcpFrame(t testing.TB) []byte {
	ip := ipv4(layers.IPProtocolTCP, 64)
	tcp := &layers.TCP{SrcPort: 1234, DstPort: 80, SYN: true, Window: 100}
	cover(t, tcp, ip)
	return serialize(t, ethernet(layers.EthernetTypeIPv4), ip, tcp, payload)
}

func udpFrame(t testing.TB) []byte {
	ip := ipv4(layers.IPProtocolUDP, 64)
	udp := &layers.UDP{SrcPort: 1234, DstPort: 53}
	cover(t, udp, ip)
	return serialize(t, ethernet(layers.EthernetTypeIPv4), ip, udp, payload)
}

// udpWithoutChecksum has zero there, which a switch leaves alone.
func udpWithoutChecksum(t testing.TB) []byte {
	b := udpFrame(t)
	binary.BigEndian.PutUint16(b[40:], 0)
	return b
}

func taggedFrame(t testing.TB) []byte {
	return serialize(t, ethernet(layers.EthernetTypeDot1Q), &layers.Dot1Q{VLANIdentifier: 100, Priority: 5, Type: layers.EthernetTypeIPv4},
		ipv4(layers.IPProtocolICMPv4, 64), &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(8, 0)}, payload)
}

func fragment(t testing.TB, offset uint16, flags layers.IPv4Flag) []byte {
	ip := ipv4(layers.IPProtocolUDP, 64)
	ip.FragOffset, ip.Flags = offset, flags
	return serialize(t, ethernet(layers.EthernetTypeIPv4), ip, gopacket.Payload(udpFrame(t)[34:]))
}

func arpFrame(t testing.TB, op uint16) []byte {
	return append(serialize(t, ethernet(layers.EthernetTypeARP), &layers.ARP{
		AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4, Operation: op,
		SourceHwAddress: mac1, SourceProtAddress: ip1.AsSlice(), DstHwAddress: make([]byte, 6), DstProtAddress: ip2.AsSlice(),
	}), make([]byte, 22)...)
}

func solicitFrame(t testing.TB) []byte {
	ip := ipv6(layers.IPProtocolICMPv6)
	icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(135, 0)}
	cover(t, icmp, ip)
	return serialize(t, ethernet(layers.EthernetTypeIPv6), ip, icmp, &layers.ICMPv6NeighborSolicitation{
		TargetAddress: six2.AsSlice(), Options: layers.ICMPv6Options{{Type: layers.ICMPv6OptSourceAddress, Data: mac1}},
	})
}

func advertFrame(t testing.TB) []byte {
	ip := ipv6(layers.IPProtocolICMPv6)
	icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(136, 0)}
	cover(t, icmp, ip)
	return serialize(t, ethernet(layers.EthernetTypeIPv6), ip, icmp, &layers.ICMPv6NeighborAdvertisement{
		TargetAddress: six1.AsSlice(), Options: layers.ICMPv6Options{{Type: layers.ICMPv6OptTargetAddress, Data: mac1}},
	})
}

func tcp6Frame(t testing.TB) []byte {
	ip := ipv6(layers.IPProtocolTCP)
	tcp := &layers.TCP{SrcPort: 1234, DstPort: 80, ACK: true}
	cover(t, tcp, ip)
	return serialize(t, ethernet(layers.EthernetTypeIPv6), ip, tcp, payload)
}

func otherFrame(t testing.TB) []byte {
	return serialize(t, ethernet(0x88cc), payload)
}

// allFrames are one of each kind.
func allFrames(t testing.TB) map[string][]byte {
	return map[string][]byte{
		"ping": pingFrame(t, 64), "dying ping": pingFrame(t, 1), "tcp": tcpFrame(t), "udp": udpFrame(t), "udp without checksum": udpWithoutChecksum(t),
		"tagged": taggedFrame(t), "first fragment": fragment(t, 0, layers.IPv4MoreFragments), "later fragment": fragment(t, 10, 0),
		"arp request": arpFrame(t, 1), "arp reply": arpFrame(t, 2), "solicit": solicitFrame(t), "advert": advertFrame(t), "tcp6": tcp6Frame(t), "other": otherFrame(t),
	}
}
