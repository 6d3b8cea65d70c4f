package capture

import (
	"fmt"
	"strings"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/overlane/overlane/internal/printable"
	"github.com/overlane/overlane/model"
)

// Nested is the n-th packet layer by layer, a line for each, the layers inside of the tunnel indented. It ends with a
// newline.
func (p Printer) Nested(n int, packet Packet, f *Frame) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s  %s  %s\n", p.title(fmt.Sprintf("#%d", n)), packet.Time.Format(clock), printable.Escape(packet.Interface), bytesOf(packet.Length))
	for _, c := range p.comments(packet) {
		fmt.Fprintf(&b, "  %s\n", c)
	}
	vni, tunnel := f.VNI()
	outer := located{Stack: &f.Outer}
	if !tunnel {
		outer.vni = p.Segment
	}
	p.stack(&b, "  ", outer)
	if tunnel {
		p.row(&b, "  ", "VXLAN", p.tunnelFacts(vni, f.VXLAN))
		p.stack(&b, "    ", located{&f.Inner, vni, true})
	}
	return b.String()
}

func (p Printer) row(b *strings.Builder, indent, title, facts string) {
	pad := strings.Repeat(" ", max(0, 10-len(title)))
	fmt.Fprintf(b, "%s%s%s%s\n", indent, p.title(title), pad, facts)
}

func (p Printer) stack(b *strings.Builder, indent string, s located) {
	for _, l := range s.Layers {
		p.row(b, indent, protocols[l.LayerType()].name, p.facts(s, l))
	}
	if len(s.Payload) > 0 {
		title := "data"
		if last[*layers.ARP](s.Stack) != nil {
			title = "padding" // ARP is shorter than the shortest Ethernet frame
		}
		p.row(b, indent, title, bytesOf(len(s.Payload))+"  "+p.dim(glimpse(s.Payload)))
	}
	if s.Problem != "" {
		fmt.Fprintf(b, "%s%s\n", indent, p.bad("["+s.Problem+"]"))
	}
}

func (p Printer) tunnelFacts(vni model.VNI, v *layers.VXLAN) string {
	text := p.tunnel(vni)
	if s, ok := p.Names.segments[vni]; ok {
		text += fmt.Sprintf(", VPC %s, %s", printable.Escape(model.Parent(s.Subnet)), s.CIDR)
	}
	if !v.ValidIDFlag {
		text += ", " + p.bad("[flag I is not set: the VNI is not valid]")
	}
	return text
}

func (p Printer) facts(s located, l gopacket.Layer) string {
	switch l := l.(type) {
	case *layers.Ethernet:
		return fmt.Sprintf("%s > %s, %s", p.mac(s.vni, l.SrcMAC), p.mac(s.vni, l.DstMAC), etherType(l.EthernetType))
	case *layers.Dot1Q:
		return fmt.Sprintf("VLAN %d, priority %d, %s", l.VLANIdentifier, l.Priority, etherType(l.Type))
	case *layers.ARP:
		return p.arp(s, l)
	case *layers.IPv4:
		return fmt.Sprintf("%s > %s, %s", p.who(s, address(l.SrcIP), ""), p.who(s, address(l.DstIP), ""), ipv4(l))
	case *layers.IPv6:
		return fmt.Sprintf("%s > %s, %s, hop limit %d", p.who(s, address(l.SrcIP), ""), p.who(s, address(l.DstIP), ""), l.NextHeader, l.HopLimit)
	case *layers.UDP:
		return fmt.Sprintf("%d > %d, %s", uint16(l.SrcPort), uint16(l.DstPort), bytesOf(len(l.Payload)))
	case *layers.TCP:
		return fmt.Sprintf("%d > %d, %s, window %d", uint16(l.SrcPort), uint16(l.DstPort), tcp(l), l.Window)
	case *layers.ICMPv4:
		return icmp(l)
	case *layers.ICMPv6:
		return printable.Escape(l.TypeCode.String())
	}
	return ""
}

func ipv4(l *layers.IPv4) string {
	text := fmt.Sprintf("%s, TTL %d", l.Protocol, l.TTL)
	if l.Flags&layers.IPv4DontFragment != 0 {
		text += ", DF"
	}
	if l.FragOffset != 0 || l.Flags&layers.IPv4MoreFragments != 0 {
		text += fmt.Sprintf(", fragment at %d of packet %d", int(l.FragOffset)*8, l.Id)
	}
	return text + ", " + bytesOf(int(l.Length))
}

const glimpseBytes = 32

// glimpse is the beginning of a payload as text: ASCII that prints, a dot for any other byte.
func glimpse(data []byte) string {
	rest := ""
	if len(data) > glimpseBytes {
		data, rest = data[:glimpseBytes], "..."
	}
	text := make([]byte, len(data))
	for i, c := range data {
		text[i] = '.'
		if c >= ' ' && c < 0x7f {
			text[i] = c
		}
	}
	return string(text) + rest
}
