package capture

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/overlane/overlane/internal/printable"
	"github.com/overlane/overlane/model"
)

// Printer turns frames into text. Its zero value prints numbers, without colour.
type Printer struct {
	Names  Names
	Colour bool // ANSI escapes

	// Segment is the VNI of packets outside of a tunnel, on an endpoint's port; 0 if it is unknown.
	Segment model.VNI
}

// Line is a packet in one line.
func (p Printer) Line(packet Packet, f *Frame) string {
	words := []string{p.dim(packet.Time.Format(clock))}
	inner := p.layersOf(f)
	if vni, tunnel := f.VNI(); tunnel {
		src, dst := f.Outer.addresses()
		words = append(words, p.host(src)+" > "+p.host(dst)+" "+p.tunnel(vni))
	}
	words = append(words, p.talk(inner))
	if summary := p.summary(inner); summary != "" {
		words = append(words, summary)
	}
	if inner.Problem != "" {
		words = append(words, p.bad("["+inner.Problem+"]"))
	}
	if !p.Names.Known() {
		words = append(words, p.comments(packet)...)
	}
	return strings.Join(words, "  ")
}

const clock = "15:04:05.000000"

// located is a stack and the segment whose names its addresses have, 0 for the underlay.
type located struct {
	*Stack
	vni    model.VNI
	tunnel bool
}

func (p Printer) layersOf(f *Frame) located {
	vni, tunnel := f.VNI()
	if !tunnel {
		vni = p.Segment
	}
	return located{f.Endpoints(), vni, tunnel}
}

func (p Printer) tunnel(vni model.VNI) string {
	text := fmt.Sprintf("VNI %d", vni)
	if subnet := p.Names.Subnet(vni); subnet != "" {
		text += " " + printable.Escape(subnet)
	}
	return p.vni(text)
}

// talk is source and destination: addresses, or MACs if the packet has none. ARP has them in its summary.
func (p Printer) talk(s located) string {
	if src, dst := s.addresses(); src.IsValid() && first[*layers.ARP](s.Stack) == nil {
		return p.who(s, src, s.port(true)) + " > " + p.who(s, dst, s.port(false))
	}
	if e := first[*layers.Ethernet](s.Stack); e != nil {
		return p.mac(s.vni, e.SrcMAC) + " > " + p.mac(s.vni, e.DstMAC)
	}
	return fmt.Sprintf("%d bytes", len(s.Payload))
}

// port is the one of the outermost TCP or UDP header, as text to append to an address.
func (s located) port(source bool) string {
	for _, l := range s.Layers {
		var from, to uint16
		switch l := l.(type) {
		case *layers.TCP:
			from, to = uint16(l.SrcPort), uint16(l.DstPort)
		case *layers.UDP:
			from, to = uint16(l.SrcPort), uint16(l.DstPort)
		default:
			continue
		}
		if source {
			return fmt.Sprintf(":%d", from)
		}
		return fmt.Sprintf(":%d", to)
	}
	return ""
}

// summary describes the innermost header.
func (p Printer) summary(s located) string {
	if len(s.Layers) == 0 {
		return ""
	}
	switch l := s.Layers[len(s.Layers)-1].(type) {
	case *layers.ARP:
		return "ARP " + p.arp(s, l)
	case *layers.ICMPv4:
		return "ICMP " + icmp(l)
	case *layers.ICMPv6:
		return "ICMPv6 " + printable.Escape(l.TypeCode.String())
	case *layers.TCP:
		return fmt.Sprintf("TCP %s, %s", tcp(l), bytesOf(len(s.Payload)))
	case *layers.UDP:
		return "UDP, " + bytesOf(len(s.Payload))
	case *layers.IPv4:
		return ipv4Rest(l)
	case *layers.IPv6:
		return l.NextHeader.String() + ", " + bytesOf(len(s.Payload))
	case *layers.Ethernet:
		return etherType(l.EthernetType) + ", " + bytesOf(len(s.Payload))
	}
	return bytesOf(len(s.Payload))
}

func (p Printer) arp(s located, a *layers.ARP) string {
	target, sender := p.who(s, address(a.DstProtAddress), ""), p.who(s, address(a.SourceProtAddress), "")
	switch a.Operation {
	case layers.ARPRequest:
		return fmt.Sprintf("who has %s? tell %s", target, sender)
	case layers.ARPReply:
		return fmt.Sprintf("%s is at %s, told %s", sender, hardware(a.SourceHwAddress), target)
	}
	return fmt.Sprintf("operation %d", a.Operation)
}

func icmp(l *layers.ICMPv4) string {
	switch l.TypeCode.Type() {
	case layers.ICMPv4TypeEchoRequest:
		return fmt.Sprintf("echo request, id %d, seq %d", l.Id, l.Seq)
	case layers.ICMPv4TypeEchoReply:
		return fmt.Sprintf("echo reply, id %d, seq %d", l.Id, l.Seq)
	}
	return printable.Escape(l.TypeCode.String())
}

func tcp(l *layers.TCP) string {
	var flags []string
	for _, f := range []struct {
		set  bool
		name string
	}{{l.SYN, "SYN"}, {l.FIN, "FIN"}, {l.RST, "RST"}, {l.PSH, "PSH"}, {l.ACK, "ACK"}, {l.URG, "URG"}, {l.ECE, "ECE"}, {l.CWR, "CWR"}} {
		if f.set {
			flags = append(flags, f.name)
		}
	}
	text := strings.Join(flags, " ") + fmt.Sprintf(", seq %d", l.Seq)
	if l.ACK {
		text += fmt.Sprintf(", ack %d", l.Ack)
	}
	return text
}

// ipv4Rest is for packets whose transport header was not decoded.
func ipv4Rest(l *layers.IPv4) string {
	if l.FragOffset != 0 || l.Flags&layers.IPv4MoreFragments != 0 {
		return fmt.Sprintf("%s fragment at %d of packet %d, %s", l.Protocol, int(l.FragOffset)*8, l.Id, bytesOf(len(l.Payload)))
	}
	return l.Protocol.String() + ", " + bytesOf(len(l.Payload))
}

func etherType(t layers.EthernetType) string {
	if p, known := protocols[carries(t)]; known {
		return p.name
	}
	return fmt.Sprintf("type 0x%04x", uint16(t))
}

func bytesOf(n int) string {
	if n == 1 {
		return "1 byte"
	}
	return fmt.Sprintf("%d bytes", n)
}

// who is an address with its name, if it has one.
func (p Printer) who(s located, ip netip.Addr, port string) string {
	if !ip.IsValid() {
		return "?"
	}
	name := p.Names.Host(ip)
	if s.vni != 0 || s.tunnel {
		name = p.Names.Address(s.vni, ip)
	}
	return p.named(ip.String()+port, name)
}

// host is the short form of an underlay address: its name alone, if it has one.
func (p Printer) host(ip netip.Addr) string {
	if name := p.Names.Host(ip); name != "" {
		return p.name(printable.Escape(name))
	}
	return ip.String()
}

func (p Printer) mac(vni model.VNI, raw []byte) string {
	if len(raw) != len(model.MAC{}) {
		return hardware(raw)
	}
	mac := model.MAC(raw)
	name := ""
	if vni != 0 {
		name = p.Names.MAC(vni, mac)
	}
	if mac == (model.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}) {
		name = "broadcast"
	}
	return p.named(mac.String(), name)
}

func hardware(raw []byte) string {
	octets := make([]string, len(raw))
	for i, b := range raw {
		octets[i] = fmt.Sprintf("%02x", b)
	}
	return strings.Join(octets, ":")
}

func (p Printer) named(number, name string) string {
	if name == "" {
		return number
	}
	return number + " (" + p.name(printable.Escape(name)) + ")"
}

func (p Printer) comments(packet Packet) []string {
	var shown []string
	for _, c := range packet.Comments {
		shown = append(shown, p.dim("# "+printable.Escape(c)))
	}
	return shown
}

func (p Printer) paint(code, text string) string {
	if !p.Colour {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (p Printer) dim(text string) string   { return p.paint("2", text) }
func (p Printer) bad(text string) string   { return p.paint("31", text) }
func (p Printer) name(text string) string  { return p.paint("32", text) }
func (p Printer) vni(text string) string   { return p.paint("33", text) }
func (p Printer) title(text string) string { return p.paint("1;36", text) }

var _ gopacket.DecodeFeedback = (*Stack)(nil)
