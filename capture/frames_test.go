package capture

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/view"
)

// Two tenants with the same addresses, as seen by host1.
var testView = view.View{
	Host: "host1", VTEP: ip("192.168.5.2"),
	Segments: map[model.VNI]view.Segment{
		100: {VNI: 100, Subnet: "blue/web", CIDR: netip.MustParsePrefix("172.17.42.0/24"), Gateway: ip("172.17.42.1")},
		200: {VNI: 200, Subnet: "red/web", CIDR: netip.MustParsePrefix("172.17.42.0/24"), Gateway: ip("172.17.42.1")},
	},
	Peers: map[string]view.Peer{"host2": {Host: "host2", VTEP: ip("192.168.5.3")}},
	Addresses: addresses(
		view.Address{AddressKey: view.AddressKey{VNI: 100, IP: ip("172.17.42.2")}, MAC: web1, Endpoint: "blue/web/web1", Host: "host1"},
		view.Address{AddressKey: view.AddressKey{VNI: 100, IP: ip("172.17.42.10")}, MAC: db1, Endpoint: "blue/web/db1", Host: "host2"},
		view.Address{AddressKey: view.AddressKey{VNI: 200, IP: ip("172.17.42.2")}, MAC: web1, Endpoint: "red/web/cart", Host: "host1"},
		view.Address{AddressKey: view.AddressKey{VNI: 200, IP: ip("172.17.42.10")}, MAC: db1, Endpoint: "red/web/store", Host: "host2"},
	),
}

var (
	host1     = model.MAC{0x52, 0x54, 0, 0, 5, 2}
	host2     = model.MAC{0x52, 0x54, 0, 0, 5, 3}
	web1      = model.MAC{0x02, 0x4f, 0xac, 0x11, 0x2a, 0x02}
	db1       = model.MAC{0x02, 0x4f, 0xac, 0x11, 0x2a, 0x0a}
	broadcast = model.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
)

func addresses(list ...view.Address) map[view.AddressKey]view.Address {
	m := map[view.AddressKey]view.Address{}
	for _, a := range list {
		m[a.AddressKey] = a
	}
	return m
}

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

// frames are the packets of the golden file, by name. The names of those that are a packet on the underlay begin with
// "vxlan".
func frames(t testing.TB) []named {
	ping := join(ethernet(web1, db1, layers.EthernetTypeIPv4), ipv4Layers("172.17.42.2", "172.17.42.10", echo(layers.ICMPv4TypeEchoRequest))...)
	pong := join(ethernet(db1, web1, layers.EthernetTypeIPv4), ipv4Layers("172.17.42.10", "172.17.42.2", echo(layers.ICMPv4TypeEchoReply))...)
	hostile := join(ethernet(web1, db1, layers.EthernetTypeIPv4),
		udpLayers("172.17.42.2", "172.17.42.10", 5000, 53, []byte("\x1b]0;owned\a\x1b[2Jtext\r\n\u202e"))...)
	syn := join(ethernet(web1, db1, layers.EthernetTypeIPv4), tcpLayers()...)
	fragment := join(ethernet(web1, db1, layers.EthernetTypeIPv4), &layers.IPv4{Version: 4, IHL: 5, TTL: 64, Id: 7, FragOffset: 185,
		Protocol: layers.IPProtocolUDP, SrcIP: raw("172.17.42.2"), DstIP: raw("172.17.42.10")}, gopacket.Payload(make([]byte, 100)))
	vlan := join(ethernet(web1, db1, layers.EthernetTypeDot1Q), &layers.Dot1Q{VLANIdentifier: 12, Type: layers.EthernetTypeIPv4},
		gopacket.Payload(wire(t, ipv4Layers("172.17.42.2", "172.17.42.10", echo(layers.ICMPv4TypeEchoRequest))...)))
	v6 := join(ethernet(web1, db1, layers.EthernetTypeIPv6), &layers.IPv6{Version: 6, HopLimit: 255, NextHeader: layers.IPProtocolICMPv6,
		SrcIP: net.ParseIP("fe80::1"), DstIP: net.ParseIP("ff02::2")}, gopacket.Payload([]byte{133, 0, 0, 0, 0, 0, 0, 0}))
	probe := join(ethernet(model.MAC{2}, model.MAC{2, 1}, 0x88b5), gopacket.Payload("probe"))
	pinged := wire(t, tunnel(100, wire(t, ping...))...)
	invalid := append([]byte(nil), pinged...)
	invalid[14+20+8] = 0 // VXLAN flags
	return []named{
		{"vxlan ping", pinged},
		{"vxlan pong", wire(t, tunnel(100, wire(t, pong...))...)},
		{"vxlan ping of the other tenant", wire(t, tunnel(200, wire(t, ping...))...)},
		{"vxlan unknown VNI", wire(t, tunnel(300, wire(t, ping...))...)},
		{"vxlan TCP", wire(t, tunnel(100, wire(t, syn...))...)},
		{"vxlan payload that attacks terminals", wire(t, tunnel(100, wire(t, hostile...))...)},
		{"vxlan broadcast ARP", wire(t, tunnel(100, wire(t, arp(layers.ARPRequest, web1, "172.17.42.2", broadcast, "172.17.42.10")...))...)},
		{"vxlan fragment", wire(t, tunnel(100, wire(t, fragment...))...)},
		{"vxlan VLAN inside", wire(t, tunnel(100, wire(t, vlan...))...)},
		{"vxlan IPv6 inside", wire(t, tunnel(100, wire(t, v6...))...)},
		{"vxlan probe", wire(t, tunnel(uint32(model.ProbeVNI), wire(t, probe...))...)},
		{"vxlan in vxlan", wire(t, tunnel(100, pinged)...)},
		{"vxlan flag I missing", invalid},
		{"vxlan cut in the inner IPv4 header", pinged[:14+20+8+8+14+10]},
		{"vxlan cut in the payload", pinged[:len(pinged)-20]},
		{"cut in the VXLAN header", pinged[:14+20+8+5]},
		{"cut in the outer Ethernet header", pinged[:9]},
		{"nothing at all", nil},
		{"plain ARP request", wire(t, arp(layers.ARPRequest, web1, "172.17.42.2", broadcast, "172.17.42.10")...)},
		{"plain ARP reply of the gateway", wire(t, arp(layers.ARPReply, model.GatewayMAC, "172.17.42.1", web1, "172.17.42.2")...)},
		{"plain underlay UDP", wire(t, join(ethernet(host1, host2, layers.EthernetTypeIPv4), udpLayers("192.168.5.2", "192.168.5.3", 123, 123, []byte("ntp"))...)...)},
		{"plain bad IPv4", wire(t, join(ethernet(host1, host2, layers.EthernetTypeIPv4), gopacket.Payload(append([]byte{0x4f}, make([]byte, 30)...)))...)},
	}
}

type named struct {
	name string
	data []byte
}

func (n named) packet() Packet {
	return Packet{Time: time.Date(2026, 11, 23, 20, 0, 1, 234567000, time.UTC), Interface: "eth0", Data: n.data, Length: len(n.data)}
}

func tunnel(vni uint32, inner []byte) []gopacket.SerializableLayer {
	return join(ethernet(host1, host2, layers.EthernetTypeIPv4), append(udpLayers("192.168.5.2", "192.168.5.3", 33705, DefaultPort, nil)[:2],
		&layers.VXLAN{ValidIDFlag: true, VNI: vni}, gopacket.Payload(inner))...)
}

func ethernet(src, dst model.MAC, t layers.EthernetType) gopacket.SerializableLayer {
	return &layers.Ethernet{SrcMAC: src[:], DstMAC: dst[:], EthernetType: t}
}

func ipv4Layers(src, dst string, icmp *layers.ICMPv4) []gopacket.SerializableLayer {
	return []gopacket.SerializableLayer{ipHeader(src, dst, layers.IPProtocolICMPv4), icmp, gopacket.Payload(make([]byte, 56))}
}

func udpLayers(src, dst string, from, to uint16, payload []byte) []gopacket.SerializableLayer {
	header := ipHeader(src, dst, layers.IPProtocolUDP)
	udp := &layers.UDP{SrcPort: layers.UDPPort(from), DstPort: layers.UDPPort(to)}
	_ = udp.SetNetworkLayerForChecksum(header)
	return []gopacket.SerializableLayer{header, udp, gopacket.Payload(payload)}
}

func tcpLayers() []gopacket.SerializableLayer {
	header := ipHeader("172.17.42.2", "172.17.42.10", layers.IPProtocolTCP)
	tcp := &layers.TCP{SrcPort: 40000, DstPort: 80, Seq: 1, SYN: true, Window: 64240,
		Options: []layers.TCPOption{{OptionType: layers.TCPOptionKindMSS, OptionLength: 4, OptionData: []byte{5, 130}}}}
	_ = tcp.SetNetworkLayerForChecksum(header)
	return []gopacket.SerializableLayer{header, tcp}
}

func ipHeader(src, dst string, protocol layers.IPProtocol) *layers.IPv4 {
	return &layers.IPv4{Version: 4, IHL: 5, TTL: 64, Id: 1, Flags: layers.IPv4DontFragment, Protocol: protocol, SrcIP: raw(src), DstIP: raw(dst)}
}

func echo(t uint8) *layers.ICMPv4 {
	return &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(t, 0), Id: 7, Seq: 1}
}

func arp(operation uint16, sha model.MAC, spa string, dst model.MAC, tpa string) []gopacket.SerializableLayer {
	return join(ethernet(sha, dst, layers.EthernetTypeARP), &layers.ARP{AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4,
		HwAddressSize: 6, ProtAddressSize: 4, Operation: operation, SourceHwAddress: sha[:], SourceProtAddress: raw(spa),
		DstHwAddress: make([]byte, 6), DstProtAddress: raw(tpa)})
}

func raw(s string) []byte { return ip(s).AsSlice() }

func join(first gopacket.SerializableLayer, rest ...gopacket.SerializableLayer) []gopacket.SerializableLayer {
	return append([]gopacket.SerializableLayer{first}, rest...)
}

func wire(t testing.TB, all ...gopacket.SerializableLayer) []byte {
	t.Helper()
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, all...); err != nil {
		t.Fatal(err)
	}
	return append([]byte(nil), b.Bytes()...)
}
