package answer_test

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/overlane/overlane/answer"
	"github.com/overlane/overlane/model"
)

var lease = answer.Lease{
	MAC: model.MAC(macA), Address: netip.MustParsePrefix("10.0.1.2/24"), Gateway: gateway, MTU: 1450,
	Options: &model.DHCP{Lease: 600, DNS: []netip.Addr{netip.MustParseAddr("10.0.1.53")}, Domain: "web.example",
		Routes: []model.StaticRoute{{To: netip.MustParsePrefix("10.9.0.0/16"), Via: netip.MustParseAddr("10.0.1.7")}}},
}

// question is a client's message in its frame.
func question(t testing.TB, kind dhcpv4.MessageType, options ...dhcpv4.Modifier) []byte {
	t.Helper()
	m, err := dhcpv4.New(append([]dhcpv4.Modifier{dhcpv4.WithHwAddr(macA), dhcpv4.WithMessageType(kind)},
		options...)...)
	if err != nil {
		t.Fatal(err)
	}
	return ask(t, m.ToBytes())
}

func ask(t testing.TB, message []byte) []byte {
	udp := &layers.UDP{SrcPort: 68, DstPort: 67}
	return frame(t, func(e *layers.Ethernet, ip *layers.IPv4) {
		e.DstMAC, ip.SrcIP, ip.DstIP = layers.EthernetBroadcast, net.IPv4zero.To4(), net.IPv4bcast.To4()
		_ = udp.SetNetworkLayerForChecksum(ip)
	}, udp, gopacket.Payload(message))
}

func option(o dhcpv4.Option) dhcpv4.Modifier { return dhcpv4.WithOption(o) }

func wanting(ip string) dhcpv4.Modifier {
	return option(dhcpv4.OptRequestedIPAddress(net.ParseIP(ip).To4()))
}

// Each message, and what becomes of it: the answer's type, who it is sent to, and the address that it gives.
func TestDHCP(t *testing.T) {
	ours, other := option(dhcpv4.OptServerIdentifier(net.IP{10, 0, 1, 1})), option(dhcpv4.OptServerIdentifier(net.IP{10,
		0, 1, 99}))
	renewing := dhcpv4.WithClientIP(net.IP{10, 0, 1, 2})
	for _, tt := range []struct {
		name string
		sent []byte
		want string
	}{
		{"discover", question(t, dhcpv4.MessageTypeDiscover),
			"DISCOVER: OFFER to 02:4f:0a:00:01:02 10.0.1.2 gives 10.0.1.2, seeks"},
		{"discover, wants another", question(t, dhcpv4.MessageTypeDiscover, wanting("10.0.1.9")),
			"DISCOVER: OFFER to 02:4f:0a:00:01:02 10.0.1.2 gives 10.0.1.2, seeks"},
		{"discover, hears broadcasts only", question(t, dhcpv4.MessageTypeDiscover, dhcpv4.WithBroadcast(true)),
			"DISCOVER: OFFER to 02:4f:0a:00:01:02 255.255.255.255 gives 10.0.1.2, seeks"},
		{"request, selecting", question(t, dhcpv4.MessageTypeRequest, ours, wanting("10.0.1.2")),
			"REQUEST: ACK to 02:4f:0a:00:01:02 10.0.1.2 gives 10.0.1.2, seeks"},
		{"request, selecting another server", question(t, dhcpv4.MessageTypeRequest, other, wanting("10.0.1.2")),
			"REQUEST: none"},
		{"request, selecting another address", question(t, dhcpv4.MessageTypeRequest, ours, wanting("10.0.1.9")),
			"REQUEST: NAK to 02:4f:0a:00:01:02 255.255.255.255 gives 0.0.0.0, seeks"},
		{"request, after a reboot", question(t, dhcpv4.MessageTypeRequest, wanting("10.0.1.2")),
			"REQUEST: ACK to 02:4f:0a:00:01:02 10.0.1.2 gives 10.0.1.2, seeks"},
		{"request, after a move", question(t, dhcpv4.MessageTypeRequest, wanting("192.168.0.4")),
			"REQUEST: NAK to 02:4f:0a:00:01:02 255.255.255.255 gives 0.0.0.0, seeks"},
		{"request, renewing", question(t, dhcpv4.MessageTypeRequest, renewing),
			"REQUEST: ACK to 02:4f:0a:00:01:02 10.0.1.2 gives 10.0.1.2, seeks"},
		{"request, renewing another's", question(t, dhcpv4.MessageTypeRequest,
			dhcpv4.WithClientIP(net.IP{10, 0, 1, 3})),
			"REQUEST: NAK to 02:4f:0a:00:01:02 255.255.255.255 gives 0.0.0.0, seeks"},
		{"inform", question(t, dhcpv4.MessageTypeInform, renewing),
			"INFORM: ACK to 02:4f:0a:00:01:02 10.0.1.2 gives 0.0.0.0"},
		{"release", question(t, dhcpv4.MessageTypeRelease, renewing), "RELEASE: none, gives up"},
		{"release to another server", question(t, dhcpv4.MessageTypeRelease, renewing, other), "RELEASE: none"},
		{"release of another's", question(t, dhcpv4.MessageTypeRelease, dhcpv4.WithClientIP(net.IP{10, 0, 1, 3})),
			"RELEASE: none"},
		{"decline", question(t, dhcpv4.MessageTypeDecline, wanting("10.0.1.2")), "DECLINE: none, gives up"},
		{"another MAC", question(t, dhcpv4.MessageTypeDiscover, dhcpv4.WithHwAddr(net.HardwareAddr{2, 0, 0, 0, 0, 9})),
			"ignored"},
		{"a relay's", question(t, dhcpv4.MessageTypeDiscover, dhcpv4.WithRelay(net.IP{10, 0, 1, 3})), "ignored"},
		{"no DHCP", ask(t, []byte("hello")), "ignored"},
		{"nothing", nil, "ignored"},
	} {
		got := "ignored"
		if q, ok := answer.ReadDHCP(tt.sent); ok {
			reply, leased := q.Answer(lease)
			got = fmt.Sprintf("%s: %s", q.Asked(), said(t, reply))
			if want := strings.HasPrefix(tt.want, "REQUEST: ACK"); leased != want {
				t.Errorf("%s: leased is %t", tt.name, leased)
			}
			got += seeks(q)
		}
		if got != tt.want {
			t.Errorf("%s: %s; want %s", tt.name, got, tt.want)
		}
	}
}

// seeks is what else a question means to an endpoint that is made and ends with its lease.
func seeks(q answer.Question) string {
	switch {
	case q.Seeks(gateway):
		return ", seeks"
	case q.GivesUp(lease):
		return ", gives up"
	}
	return ""
}

// reply is the answer to what is a question of the lease's client.
func reply(t *testing.T, sent []byte, l answer.Lease) []byte {
	t.Helper()
	q, ok := answer.ReadDHCP(sent)
	if !ok {
		t.Fatal("it is no question")
	}
	reply, _ := q.Answer(l)
	return reply
}

func said(t *testing.T, reply []byte) string {
	t.Helper()
	if reply == nil {
		return "none"
	}
	m := message(t, reply)
	p := gopacket.NewPacket(reply, layers.LayerTypeEthernet, gopacket.Default)
	eth, ip := p.Layer(layers.LayerTypeEthernet).(*layers.Ethernet), p.Layer(layers.LayerTypeIPv4).(*layers.IPv4)
	if ip.SrcIP.String() != gateway.String() || m.ServerIdentifier().String() != gateway.String() {
		t.Errorf("it is from %s, server %s", ip.SrcIP, m.ServerIdentifier())
	}
	return fmt.Sprintf("%s to %s %s gives %s", m.MessageType(), eth.DstMAC, ip.DstIP, m.YourIPAddr)
}

func message(t *testing.T, reply []byte) *dhcpv4.DHCPv4 {
	t.Helper()
	p := gopacket.NewPacket(reply, layers.LayerTypeEthernet, gopacket.Default)
	udp := p.Layer(layers.LayerTypeUDP).(*layers.UDP)
	if err := udp.SetNetworkLayerForChecksum(p.NetworkLayer()); err != nil {
		t.Fatal(err)
	}
	if err, wrong := p.VerifyChecksums(); err != nil || len(wrong) > 0 {
		t.Errorf("checksums: %v, %v", err, wrong)
	}
	m, err := dhcpv4.FromBytes(udp.Payload)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestDHCPOptions(t *testing.T) {
	with := optionsOf(message(t, reply(t, question(t, dhcpv4.MessageTypeDiscover), lease)))
	bare := lease
	bare.Options = nil
	without := optionsOf(message(t, reply(t, question(t, dhcpv4.MessageTypeDiscover), bare)))
	inform := reply(t, question(t, dhcpv4.MessageTypeInform, dhcpv4.WithClientIP(net.IP{10, 0, 1, 2})), lease)
	for what, pair := range map[string][2]string{
		"with options": {with, "1=ffffff00 3=0a000101 6=0a000135 15=7765622e6578616d706c65 26=05aa 51=00000258 53=02 54=0a000101 58=0000012c 59=0000020d 121=000a000101100a090a000107"},
		"without":      {without, "1=ffffff00 3=0a000101 26=05aa 51=00015180 53=02 54=0a000101 58=0000a8c0 59=00012750"},
		"inform": {optionsOf(message(t, inform)),
			"1=ffffff00 3=0a000101 6=0a000135 15=7765622e6578616d706c65 26=05aa 53=05 54=0a000101 121=000a000101100a090a000107"},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s:\n%s, want\n%s", what, pair[0], pair[1])
		}
	}
}

func optionsOf(m *dhcpv4.DHCPv4) string {
	var codes []int
	for code := range m.Options {
		codes = append(codes, int(code))
	}
	slices.Sort(codes)
	var words []string
	for _, code := range codes {
		words = append(words, fmt.Sprintf("%d=%x", code, m.Options[uint8(code)]))
	}
	return strings.Join(words, " ")
}

// Whatever is asked, nobody gets another address, or hears more than the client.
func FuzzDHCP(f *testing.F) {
	for _, kind := range []dhcpv4.MessageType{dhcpv4.MessageTypeDiscover, dhcpv4.MessageTypeRequest,
		dhcpv4.MessageTypeInform} {
		f.Add(question(f, kind, dhcpv4.WithClientIP(net.IP{10, 0, 1, 2})))
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		q, ok := answer.ReadDHCP(sent)
		if !ok {
			return
		}
		q.GivesUp(lease)
		reply, _ := q.Answer(lease)
		if reply == nil {
			return
		}
		m := message(t, reply)
		if gives := m.YourIPAddr.String(); gives != "10.0.1.2" && gives != "0.0.0.0" ||
			string(m.ClientHWAddr) != string(macA) || len(reply) > 1500 {
			t.Fatalf("%x is answered with %s", sent, m.Summary())
		}
	})
}
