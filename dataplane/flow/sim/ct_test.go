package sim_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/dataplane/flow/sim"
)

// sent is a packet that a test sends: by which port, and what it is.
type sent struct {
	name  string
	port  uint32
	frame []byte
}

// udpOf, tcpOf and pingOf are packets from one address to another.
func udpOf(t testing.TB, src, dst string) []byte {
	from, to := netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst)
	udp := &layers.UDP{SrcPort: layers.UDPPort(from.Port()), DstPort: layers.UDPPort(to.Port())}
	return ipOf(t, from.Addr(), to.Addr(), layers.IPProtocolUDP, udp, udp, payload)
}

func tcpOf(t testing.TB, src, dst string, set func(*layers.TCP)) []byte {
	from, to := netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst)
	tcp := &layers.TCP{SrcPort: layers.TCPPort(from.Port()), DstPort: layers.TCPPort(to.Port()), Window: 1000, Seq: 1, Ack: 1}
	set(tcp)
	return ipOf(t, from.Addr(), to.Addr(), layers.IPProtocolTCP, tcp, tcp, gopacket.Payload(make([]byte, 10)))
}

func syn(l *layers.TCP)    { l.SYN, l.Ack = true, 0 }
func synAck(l *layers.TCP) { l.SYN, l.ACK, l.Ack = true, true, 12 }
func ack(l *layers.TCP)    { l.ACK, l.Seq, l.Ack = true, 12, 12 }
func odd(l *layers.TCP)    { l.SYN, l.FIN = true, true }

func pingOf(t testing.TB, src, dst string, kind uint8, id uint16) []byte {
	icmp := &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(kind, 0), Id: id, Seq: 1}
	return ipOf(t, netip.MustParseAddr(src), netip.MustParseAddr(dst), layers.IPProtocolICMPv4, nil, icmp, payload)
}

// errorOf is an ICMP error about the first bytes, from IP on, of a frame.
func errorOf(t testing.TB, src, dst string, frame []byte, bytes int) []byte {
	icmp := &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(11, 0)}
	return ipOf(t, netip.MustParseAddr(src), netip.MustParseAddr(dst), layers.IPProtocolICMPv4, nil, icmp, gopacket.Payload(frame[14:14+bytes]))
}

type checksummed interface {
	SetNetworkLayerForChecksum(gopacket.NetworkLayer) error
}

func ipOf(t testing.TB, src, dst netip.Addr, proto layers.IPProtocol, sum checksummed, list ...gopacket.SerializableLayer) []byte {
	t.Helper()
	if src.Is4() {
		ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: proto, SrcIP: src.AsSlice(), DstIP: dst.AsSlice()}
		if sum != nil {
			cover(t, sum, ip)
		}
		return serialize(t, append([]gopacket.SerializableLayer{ethernet(layers.EthernetTypeIPv4), ip}, list...)...)
	}
	ip := &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: proto, SrcIP: src.AsSlice(), DstIP: dst.AsSlice()}
	if sum != nil {
		cover(t, sum, ip)
	}
	return serialize(t, append([]gopacket.SerializableLayer{ethernet(layers.EthernetTypeIPv6), ip}, list...)...)
}

// shown are flows that let a packet out with what table 9 finds of its state in the Ethernet source.
func shown() []string {
	var flows []string
	for i, name := range []string{"new", "est", "rel", "rpl", "inv", "trk", "snat", "dnat"} {
		flows = append(flows, fmt.Sprintf("table=%d,priority=1,ct_state=+%s actions=set_field:%s/%[3]s->eth_src,goto_table:%d", 20+i, name,
			fmt.Sprintf("00:00:00:00:%02x:00", 1<<i), 21+i), fmt.Sprintf("table=%d,priority=0 actions=goto_table:%d", 20+i, 21+i))
	}
	return append(flows, "table=28,priority=1,ct_zone=5,in_port=1 actions=output:2", "table=28,priority=1,ct_zone=5,in_port=2 actions=output:1",
		"table=28,priority=0 actions=output:3")
}

// A gateway: what comes by port 1 leaves with its address, and what comes by port 2 is for one of port 1, or for a
// published one.
var gateway = []string{
	"table=0,priority=1,ip actions=ct(table=1,zone=5,nat)",
	"table=1,priority=5,ct_state=+new+trk,tcp,in_port=2,nw_dst=192.168.7.1,tp_dst=80 actions=ct(commit,table=20,zone=5,nat(dst=10.0.0.1:8080))",
	"table=1,priority=5,ct_state=+new+trk,ip,in_port=2,nw_dst=192.168.7.2 actions=ct(commit,table=20,zone=5,nat(dst=10.0.0.2))",
	"table=1,priority=5,ct_state=+new+trk,tcp,in_port=1 actions=ct(commit,table=20,zone=5,nat(src=192.168.7.1:5000))",
	"table=1,priority=4,ct_state=+new+trk,ip,in_port=1 actions=ct(commit,table=20,zone=5,nat(src=192.168.7.1))",
	"table=1,priority=0 actions=goto_table:20",
}

// States, translations and checksums are those of a real ovs-vswitchd. An ICMP error that holds less than 18 bytes of a
// TCP header is not among the packets: OVS 3.1 then writes the header's checksum behind the packet, and crashes sooner
// or later.
func TestConnectionsAgreeWithOVS(t *testing.T) {
	ovs := startSwitch(t)
	deepest := ovs.Recirculations()
	clientUDP := udpOf(t, "10.0.0.1:1234", "192.168.9.9:53")
	outUDP := udpOf(t, "192.168.7.1:1234", "192.168.9.9:53")
	outTCP := tcpOf(t, "192.168.7.1:5000", "192.168.9.9:443", syn)
	answerDNAT := tcpOf(t, "10.0.0.1:8080", "192.168.9.9:4000", synAck)
	six := []string{
		"table=0,priority=1,ipv6,in_port=1 actions=ct(commit,table=20,zone=5,nat(src=fd00:7::1))",
		"table=0,priority=1,ipv6,in_port=2 actions=ct(table=20,zone=5,nat)",
	}
	broken := slices.Clone(clientUDP)
	broken[len(broken)-1]++
	for name, c := range map[string]struct {
		flows   []string
		packets []sent
	}{
		"gateway": {gateway, []sent{
			{"udp out", 1, clientUDP},
			{"udp out again", 1, clientUDP},
			{"udp back", 2, udpOf(t, "192.168.9.9:53", "192.168.7.1:1234")},
			{"udp out, established", 1, clientUDP},
			{"the same port of another client", 1, udpOf(t, "10.0.0.2:1234", "192.168.9.8:53")},
			{"broken", 1, broken},
			{"to nobody", 2, udpOf(t, "192.168.9.9:53", "192.168.7.1:99")},
			{"error about udp, from a router", 2, errorOf(t, "192.168.8.8", "192.168.7.1", outUDP, 28)},
			{"error about udp, whole", 2, errorOf(t, "192.168.8.8", "192.168.7.1", outUDP, len(outUDP)-14)},
			{"error about another packet", 2, errorOf(t, "192.168.8.8", "192.168.7.1", udpOf(t, "192.168.7.1:77", "192.168.9.9:53"), 28)},
			{"error to another", 2, errorOf(t, "192.168.8.8", "192.168.7.3", outUDP, 28)},
			{"error from the client", 1, errorOf(t, "10.0.0.1", "192.168.9.9", udpOf(t, "192.168.9.9:53", "10.0.0.1:1234"), 28)},
			{"ping out", 1, pingOf(t, "10.0.0.1", "192.168.9.9", 8, 7)},
			{"ping out again", 1, pingOf(t, "10.0.0.1", "192.168.9.9", 8, 7)},
			{"ping back", 2, pingOf(t, "192.168.9.9", "192.168.7.1", 0, 7)},
			{"ping of another client", 1, pingOf(t, "10.0.0.2", "192.168.9.9", 8, 8)},
			{"ping with an identifier that is taken", 1, pingOf(t, "10.0.0.3", "192.168.9.9", 8, 7)},
			{"error about ping", 2, errorOf(t, "192.168.8.8", "192.168.7.1", pingOf(t, "192.168.7.1", "192.168.9.9", 8, 7), 28)},
			{"reply to nothing", 2, pingOf(t, "192.168.9.9", "192.168.7.1", 0, 99)},
			{"tcp out", 1, tcpOf(t, "10.0.0.1:1234", "192.168.9.9:443", syn)},
			{"tcp out again", 1, tcpOf(t, "10.0.0.1:1234", "192.168.9.9:443", syn)},
			{"tcp back", 2, tcpOf(t, "192.168.9.9:443", "192.168.7.1:5000", synAck)},
			{"tcp out, established", 1, tcpOf(t, "10.0.0.1:1234", "192.168.9.9:443", ack)},
			{"tcp flags", 1, tcpOf(t, "10.0.0.1:1234", "192.168.9.9:443", odd)},
			{"no port left", 1, tcpOf(t, "10.0.0.2:1234", "192.168.9.9:443", syn)},
			{"error about tcp, whole", 2, errorOf(t, "192.168.8.8", "192.168.7.1", outTCP, len(outTCP)-14)},
			{"syn+ack of nothing", 2, tcpOf(t, "192.168.9.9:443", "192.168.7.1:9", synAck)},
			{"published", 2, tcpOf(t, "192.168.9.9:4000", "192.168.7.1:80", syn)},
			{"published, reply", 1, answerDNAT},
			{"published, error from behind", 1, errorOf(t, "10.0.0.1", "192.168.9.9", tcpOf(t, "192.168.9.9:4000", "10.0.0.1:8080", syn), 40)},
			{"published, error from the front", 2, errorOf(t, "192.168.9.9", "192.168.7.1", tcpOf(t, "192.168.7.1:80", "192.168.9.9:4000", synAck), 40)},
			{"published address", 2, udpOf(t, "192.168.9.9:4000", "192.168.7.2:53")},
			{"published address, reply", 1, udpOf(t, "10.0.0.2:53", "192.168.9.9:4000")},
			{"published address, ping", 2, pingOf(t, "192.168.9.9", "192.168.7.2", 8, 5)},
			{"published address, pong", 1, pingOf(t, "10.0.0.2", "192.168.9.9", 0, 5)},
			{"not IP", 1, otherFrame(t)},
		}},
		"two zones": {[]string{
			"table=0,priority=1,ip,in_port=1 actions=ct(commit,zone=4),ct(commit,table=1,zone=5)",
			"table=0,priority=1,ip,in_port=2 actions=ct(table=3,zone=4)",
			"table=1,priority=1,ct_state=+trk,ct_zone=5,ip actions=ct(table=2,zone=6)",
			"table=2,priority=1,ip actions=ct(table=20,zone=5)",
			"table=3,priority=1,ip actions=ct_clear,goto_table:20",
		}, []sent{
			{"out", 1, clientUDP}, {"out again", 1, clientUDP}, {"third", 1, clientUDP}, {"back", 2, udpOf(t, "192.168.9.9:53", "10.0.0.1:1234")},
		}},
		"tracked, then translated": {[]string{
			"table=0,priority=1,ip actions=ct(table=1,zone=5)",
			"table=1,priority=2,ct_state=+new,ip,in_port=1 actions=ct(commit,table=2,zone=5,nat(src=192.168.7.1))",
			"table=1,priority=1,ip actions=ct(table=20,zone=5,nat)",
			"table=2,priority=1,ip actions=ct(table=20,zone=5)",
		}, []sent{
			{"out", 1, clientUDP}, {"back", 2, udpOf(t, "192.168.9.9:53", "192.168.7.1:1234")}, {"out again", 1, clientUDP},
		}},
		"the caller sees the translated packet": {[]string{
			"table=0,priority=1,ip actions=resubmit(,1),output:3",
			"table=1,priority=1,ip actions=ct(commit,table=20,zone=5,nat(src=192.168.7.1))",
		}, []sent{{"out", 1, clientUDP}}},
		"nested":          {nested(deepest + 2), []sent{{"out", 1, clientUDP}}},
		"nested, in time": {nested(deepest), []sent{{"out", 1, clientUDP}}},
		"IPv6": {six, []sent{
			{"out", 1, udpOf(t, "[fd00::1]:1234", "[fd00:9::9]:53")},
			{"back", 2, udpOf(t, "[fd00:9::9]:53", "[fd00:7::1]:1234")},
			{"out again", 1, udpOf(t, "[fd00::1]:1234", "[fd00:9::9]:53")},
			{"error", 2, error6Of(t, "fd00:8::8", "fd00:7::1", udpOf(t, "[fd00:7::1]:1234", "[fd00:9::9]:53"))},
			{"solicit", 1, solicitFrame(t)},
		}},
	} {
		flows, _ := scenario{flows: append(slices.Clone(c.flows), shown()...)}.parse(t)
		ovs.Install(flows, nil)
		ovs.Appctl("dpctl/flush-conntrack")
		ours := sim.New(sim.Config{Flows: flows, Ports: ports, Recirculations: deepest})
		for _, p := range c.packets {
			t.Run(name+"/"+p.name, func(t *testing.T) { compareFrom(t, ovs, ours, p.port, p.frame) })
		}
	}
}

// nested are ct in a chain of tables.
func nested(n int) []string {
	var flows []string
	for i := range n - 1 {
		flows = append(flows, fmt.Sprintf("table=%d,priority=1,ip actions=ct(table=%d,zone=5)", i, i+1))
	}
	return append(flows, fmt.Sprintf("table=%d,priority=1,ip actions=ct(table=20,zone=5)", n-1))
}

func error6Of(t testing.TB, src, dst string, frame []byte) []byte {
	icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(3, 0)}
	return ipOf(t, netip.MustParseAddr(src), netip.MustParseAddr(dst), layers.IPProtocolICMPv6, icmp, icmp, gopacket.Payload(append(make([]byte, 4), frame[14:]...)))
}

func TestConnectionStories(t *testing.T) {
	flows, _ := scenario{flows: []string{
		"table=0,priority=1,ip actions=ct(table=1,zone=5,nat)",
		"table=1,priority=2,ct_state=+new+trk,ip,in_port=1 actions=ct(commit,table=2,zone=5,nat(src=1.2.3.4:1024-1025))",
		"table=1,priority=1,ct_state=+est+trk actions=goto_table:2",
		"table=1,priority=0 actions=drop",
		"table=2,priority=2,ct_state=-snat,ip,nw_src=10.0.0.0/8,in_port=1 actions=drop",
		"table=2,priority=1,in_port=1 actions=output:2",
		"table=2,priority=1,in_port=2 actions=output:1",
		"table=2,priority=0 actions=drop",
	}}.parse(t)
	s := sim.New(sim.Config{Flows: flows})
	out := func(client int) sent {
		return sent{"", 1, udpOf(t, fmt.Sprintf("10.0.0.%d:5555", client), "8.8.8.8:53")}
	}
	back := func(port int) sent { return sent{"", 2, udpOf(t, "8.8.8.8:53", fmt.Sprintf("1.2.3.4:%d", port))} }
	for _, c := range []struct {
		packet sent
		want   string
	}{
		{out(1), "ct zone 5: new; ct zone 5: new connection, source becomes 1.2.3.4:1024; sent to port 2"},
		{out(2), "ct zone 5: new; ct zone 5: new connection, source becomes 1.2.3.4:1025; sent to port 2"},
		{out(3), "ct zone 5: new; ct zone 5: new, but nat(src=1.2.3.4:1024-1025) has nothing free: not committed, not translated; lost: table 2: the flow drops it"},
		{back(1025), "ct zone 5: established, reply, destination becomes 10.0.0.2:5555; sent to port 1"},
		{back(1026), "ct zone 5: new; lost: table 1: nothing else takes it"},
		{out(1), "ct zone 5: still new, source becomes 1.2.3.4:1024; ct zone 5: still new; sent to port 2"},
		{sent{"", 2, errorOf(t, "8.8.4.4", "1.2.3.4", udpOf(t, "1.2.3.4:1025", "8.8.8.8:53"), 28)},
			"ct zone 5: related, reply, destination becomes 10.0.0.2; lost: table 1: nothing else takes it"},
		{sent{"", 2, pingOf(t, "8.8.8.8", "1.2.3.4", 0, 9)}, "ct zone 5: invalid, a reply to nothing; lost: table 1: nothing else takes it"},
	} {
		result := s.Send(sim.Packet{InPort: c.packet.port, Frame: c.packet.frame})
		if diff := cmp.Diff(c.want, told(result)); diff != "" {
			t.Errorf("%s\n%s", diff, result)
		}
	}
	s.Forget(4)
	if got := told(s.Send(sim.Packet{InPort: 2, Frame: back(1024).frame})); !strings.Contains(got, "established") {
		t.Errorf("another zone was forgotten: %s", got)
	}
	s.Forget(5)
	if got := told(s.Send(sim.Packet{InPort: 2, Frame: back(1024).frame})); !strings.HasPrefix(got, "ct zone 5: new;") {
		t.Errorf("not forgotten: %s", got)
	}
}

// told is what a story says of connections, and its end.
func told(r sim.Result) string {
	var lines []string
	for line := range strings.Lines(r.String()) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "sent to") {
			line, _, _ = strings.Cut(line, ":")
		}
		if strings.HasPrefix(line, "ct ") || strings.HasPrefix(line, "sent to") || strings.HasPrefix(line, "lost") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "; ")
}

// A connection that was closed makes way for a new one, and switches in turn share what they know.
func TestClosedConnections(t *testing.T) {
	flows, _ := scenario{flows: []string{"table=0,priority=1,ip actions=ct(commit,table=1,zone=5)", "table=1,priority=0 actions=output:3"}}.parse(t)
	fin := func(l *layers.TCP) { l.FIN, l.ACK = true, true }
	known := &sim.Connections{}
	for _, c := range []struct {
		port uint32
		set  func(*layers.TCP)
		want string
	}{
		{1, syn, "new connection"}, {2, synAck, "established, reply"}, {1, ack, "established"}, {1, syn, "established"},
		{1, fin, "established"}, {2, fin, "established, reply"}, {1, ack, "established"}, {1, syn, "new connection"},
		{2, func(l *layers.TCP) { l.RST = true }, "established, reply"}, {1, syn, "new connection"},
	} {
		s := sim.New(sim.Config{Flows: flows, Connections: known})
		frame := tcpOf(t, "10.0.0.1:1234", "10.0.0.2:80", c.set)
		if c.port == 2 {
			frame = tcpOf(t, "10.0.0.2:80", "10.0.0.1:1234", c.set)
		}
		if got, want := told(s.Send(sim.Packet{InPort: c.port, Frame: frame})), "ct zone 5: "+c.want+"; sent to port 3"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// A range is used from its beginning, unless the packet's own port will do.
func TestPortsOfARange(t *testing.T) {
	f := flow.Flow{Match: flow.UDP, Actions: []flow.Action{flow.CT{Commit: true, Zone: 5, Table: 1, NAT: &flow.NAT{
		Kind: flow.NATSrc, Addr: netip.MustParseAddr("1.2.3.4"), FirstPort: 1000, LastPort: 1002}}}}
	s := sim.New(sim.Config{Flows: []flow.Flow{f, {Table: 1, Actions: []flow.Action{flow.Output{Port: 2}}}}})
	for _, c := range []struct{ from, want string }{
		{"10.0.0.1:1001", "1.2.3.4:1001"}, {"10.0.0.2:1001", "1.2.3.4:1000"}, {"10.0.0.3:7", "1.2.3.4:1002"},
	} {
		got := told(s.Send(sim.Packet{InPort: 1, Frame: udpOf(t, c.from, "8.8.8.8:53")}))
		want := "ct zone 5: new connection, source becomes " + c.want + "; sent to port 2"
		if got != want {
			t.Errorf("from %s: %s, want %s", c.from, got, want)
		}
	}
}

// Of a packet in an ICMP error that is cut off, what is there is translated as in a whole one.
func TestInnerPacketMayBeCut(t *testing.T) {
	flows, _ := scenario{flows: append(slices.Clone(gateway), shown()...)}.parse(t)
	s := sim.New(sim.Config{Flows: flows})
	s.Send(sim.Packet{InPort: 1, Frame: tcpOf(t, "10.0.0.1:1234", "192.168.9.9:443", syn)})
	about := tcpOf(t, "192.168.7.1:5000", "192.168.9.9:443", syn)
	const inner = 14 + 20 + 8 // where it begins
	var got []string
	for _, n := range []int{len(about) - 14, 30, 28} {
		result := s.Send(sim.Packet{InPort: 2, Frame: errorOf(t, "192.168.8.8", "192.168.7.1", about, n)})
		if len(result.Outputs) != 1 {
			t.Fatal(result)
		}
		got = append(got, fmt.Sprintf("%x", result.Outputs[0].Frame[inner:inner+28]))
	}
	if got[0] != got[1] || got[0] != got[2] || !strings.Contains(got[0], "0a000001c0a8090904d201bb") {
		t.Errorf("whole\n%s\ncut\n%s\n%s", got[0], got[1], got[2])
	}
}
