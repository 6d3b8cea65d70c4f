package answer_test

import (
	"bytes"
	"net"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/overlane/overlane/answer"
	"github.com/overlane/overlane/model"
)

var (
	gateway = netip.MustParseAddr("10.0.1.1")
	macA    = net.HardwareAddr{2, 0x4f, 10, 0, 1, 2}
)

// frame is one of A's to its gateway.
func frame(t testing.TB, change func(*layers.Ethernet, *layers.IPv4), rest ...gopacket.SerializableLayer) []byte {
	t.Helper()
	eth := &layers.Ethernet{SrcMAC: macA, DstMAC: net.HardwareAddr(model.GatewayMAC[:]),
		EthernetType: layers.EthernetTypeIPv4}
	ip := &layers.IPv4{Version: 4, TTL: 1, Protocol: layers.IPProtocolUDP, SrcIP: net.IP{10, 0, 1, 2},
		DstIP: net.IP{8, 8, 8, 8}}
	if change != nil {
		change(eth, ip)
	}
	out := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(out, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true},
		append([]gopacket.SerializableLayer{eth, ip}, rest...)...); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestICMPTellsTheSender(t *testing.T) {
	for _, length := range []int{0, 1, 8, 500, 548, 1400} {
		sent := frame(t, nil, gopacket.Payload(bytes.Repeat([]byte{'x'}, length)))
		cut := sent[:min(len(sent), 590)] // as the switch hands it over
		reply, ok := answer.ICMP(cut, gateway, answer.Expired)
		if !ok {
			t.Fatalf("%d bytes: no answer", length)
		}
		p := gopacket.NewPacket(reply, layers.LayerTypeEthernet, gopacket.Default)
		eth := p.Layer(layers.LayerTypeEthernet).(*layers.Ethernet)
		ip := p.Layer(layers.LayerTypeIPv4).(*layers.IPv4)
		icmp := p.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4)
		if p.ErrorLayer() != nil || !bytes.Equal(eth.DstMAC, macA) || !ip.SrcIP.Equal(net.IP(gateway.AsSlice())) ||
			!ip.DstIP.Equal(net.IP{10, 0, 1, 2}) {
			t.Errorf("%d bytes: %s", length, p)
		}
		if icmp.TypeCode.String() != "TimeExceeded(TTLExceeded)" || int(ip.Length) != len(reply)-14 || ip.Length > 576 {
			t.Errorf("%d bytes: %s of %d", length, icmp.TypeCode, ip.Length)
		}
		if want := sent[14 : 14+20+length]; !bytes.HasPrefix(want, icmp.Payload) || len(icmp.Payload) != min(len(want),
			548) {
			t.Errorf("%d bytes: quotes %d of %d", length, len(icmp.Payload), len(want))
		}
		if sum := checksum(ip.Payload); sum != 0 {
			t.Errorf("%d bytes: the checksum is off by %#x", length, sum)
		}
	}
}

func TestICMPTellsHowLong(t *testing.T) {
	sent := func(flags layers.IPv4Flag) []byte {
		return frame(t, func(_ *layers.Ethernet, ip *layers.IPv4) { ip.Flags = flags },
			gopacket.Payload(make([]byte, 1480)))
	}
	reply, ok := answer.ICMP(sent(layers.IPv4DontFragment), gateway, answer.TooLong(1450))
	if !ok {
		t.Fatal("no answer")
	}
	icmp := gopacket.NewPacket(reply, layers.LayerTypeEthernet,
		gopacket.Default).Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4)
	if icmp.TypeCode.String() != "DestinationUnreachable(FragmentationNeeded)" || icmp.Id != 0 || icmp.Seq != 1450 {
		t.Errorf("%s, %d, MTU %d", icmp.TypeCode, icmp.Id, icmp.Seq)
	}
	if _, ok := answer.ICMP(sent(0), gateway, answer.TooLong(1450)); ok {
		t.Error("who allows fragments is told")
	}
}

// checksum of what has its checksum in it is 0 (RFC 1071).
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(b[i]) << 8
		if i+1 < len(b) {
			sum += uint32(b[i+1])
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

func TestICMPIsNotAbout(t *testing.T) {
	message := func(kind uint8) *layers.ICMPv4 { return &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(kind, 0)} }
	isICMP := func(_ *layers.Ethernet, ip *layers.IPv4) { ip.Protocol = layers.IPProtocolICMPv4 }
	for what, sent := range map[string][]byte{
		"an error": frame(t, isICMP, message(layers.ICMPv4TypeDestinationUnreachable),
			gopacket.Payload(make([]byte, 28))),
		"a redirect":           frame(t, isICMP, message(layers.ICMPv4TypeRedirect)),
		"a kind nobody knows":  frame(t, isICMP, message(99)),
		"ICMP that is cut off": frame(t, isICMP),
		"a broadcast on the link": frame(t,
			func(e *layers.Ethernet, _ *layers.IPv4) { e.DstMAC = layers.EthernetBroadcast }),
		"a multicast": frame(t, func(_ *layers.Ethernet, ip *layers.IPv4) {
			ip.DstIP = net.IP{224, 0, 0,
				1}
		}),
		"a broadcast": frame(t, func(_ *layers.Ethernet, ip *layers.IPv4) {
			ip.DstIP = net.IP{255, 255,
				255, 255}
		}),
		"what nobody has sent": frame(t, func(_ *layers.Ethernet, ip *layers.IPv4) {
			ip.SrcIP = net.IP{0, 0, 0,
				0}
		}),
		"a fragment, not the first": frame(t, func(_ *layers.Ethernet, ip *layers.IPv4) { ip.FragOffset = 100 }),
		"nothing":                   nil,
		"ARP": frame(t,
			func(e *layers.Ethernet, _ *layers.IPv4) { e.EthernetType = layers.EthernetTypeARP }),
	} {
		if reply, ok := answer.ICMP(sent, gateway, answer.HostUnreachable); ok {
			t.Errorf("%s is answered with %x", what, reply)
		}
	}
	echo := frame(t, isICMP, message(layers.ICMPv4TypeEchoRequest))
	first := frame(t, func(_ *layers.Ethernet, ip *layers.IPv4) { ip.Flags = layers.IPv4MoreFragments },
		gopacket.Payload(make([]byte, 64)))
	for _, sent := range [][]byte{echo, first} {
		if _, ok := answer.ICMP(sent, gateway, answer.HostUnreachable); !ok {
			t.Errorf("%x is not answered", sent)
		}
	}
}

// Whatever comes in, what goes out is whole, to who has sent it, and never leads to another one.
func FuzzICMP(f *testing.F) {
	f.Add(frame(f, nil, gopacket.Payload("hello")))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, sent []byte) {
		reply, ok := answer.ICMP(sent, gateway, answer.Expired)
		if !ok {
			return
		}
		if len(reply) > 14+576 || !bytes.Equal(reply[:6], sent[6:12]) || !bytes.Equal(reply[30:34], sent[26:30]) {
			t.Fatalf("%x is answered with %x", sent, reply)
		}
		if _, again := answer.ICMP(reply, gateway, answer.Expired); again {
			t.Fatalf("an error about an error: %x", reply)
		}
	})
}
