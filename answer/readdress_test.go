package answer_test

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/overlane/overlane/answer"
)

// A frame that is readdressed is the one that would have been sent there.
func TestReaddressed(t *testing.T) {
	to := netip.MustParseAddr("203.0.113.77")
	for _, proto := range []layers.IPProtocol{layers.IPProtocolUDP, layers.IPProtocolTCP, layers.IPProtocolICMPv4} {
		sent := func(dst netip.Addr) []byte {
			ip := &layers.IPv4{Version: 4, TTL: 1, Protocol: proto, SrcIP: []byte{198, 51, 100, 9},
				DstIP: dst.AsSlice()}
			udp, tcp := &layers.UDP{SrcPort: 4000, DstPort: 9}, &layers.TCP{SrcPort: 4000, DstPort: 9, SYN: true}
			_, _ = udp.SetNetworkLayerForChecksum(ip), tcp.SetNetworkLayerForChecksum(ip)
			transport := map[layers.IPProtocol]gopacket.SerializableLayer{layers.IPProtocolUDP: udp,
				layers.IPProtocolTCP:    tcp,
				layers.IPProtocolICMPv4: &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(8, 0)}}[proto]
			return frame(t, func(_ *layers.Ethernet, other *layers.IPv4) { *other = *ip }, transport,
				gopacket.Payload("hello"))
		}
		for _, was := range []string{"10.200.1.5", "203.0.113.77", "255.255.255.254"} {
			arrived := sent(netip.MustParseAddr(was))
			kept := bytes.Clone(arrived)
			if got := answer.Readdressed(arrived, to); !bytes.Equal(got, sent(to)) {
				t.Errorf("%s to %s: got %x, want %x", proto, was, got, sent(to))
			}
			if !bytes.Equal(arrived, kept) {
				t.Errorf("%s: what was given has changed", proto)
			}
		}
	}
	if got := answer.Readdressed([]byte("no frame"), to); string(got) != "no frame" {
		t.Errorf("got %q", got)
	}
}
