package capture

import (
	"fmt"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/overlane/overlane/internal/printable"
	"github.com/overlane/overlane/model"
)

// Frame is a decoded packet: its headers on the underlay, and the frame inside if it is a tunnel packet.
type Frame struct {
	Outer Stack
	VXLAN *layers.VXLAN // nil if it is no tunnel packet
	Inner Stack         // empty without VXLAN
}

// Stack is one nesting of protocols.
type Stack struct {
	Layers  []gopacket.Layer // *layers.Ethernet, Dot1Q, ARP, IPv4, IPv6, UDP, TCP, ICMPv4, ICMPv6; outermost first
	Payload []byte           // bytes that were not decoded
	Problem string           // why decoding stopped early; empty if it did not

	cut bool // a length field promises more bytes
}

// decoder is a gopacket layer that can decode itself.
type decoder interface {
	gopacket.Layer
	gopacket.DecodingLayer
}

// protocol is a protocol that this package decodes.
type protocol struct {
	name   string
	header int // least length in bytes
	new    func() decoder
}

var protocols = map[gopacket.LayerType]protocol{
	layers.LayerTypeEthernet: {"Ethernet", 14, func() decoder { return new(layers.Ethernet) }},
	layers.LayerTypeDot1Q:    {"VLAN", 4, func() decoder { return new(layers.Dot1Q) }},
	layers.LayerTypeARP:      {"ARP", 8, func() decoder { return new(layers.ARP) }},
	layers.LayerTypeIPv4:     {"IPv4", 20, func() decoder { return new(layers.IPv4) }},
	layers.LayerTypeIPv6:     {"IPv6", 40, func() decoder { return new(layers.IPv6) }},
	layers.LayerTypeUDP:      {"UDP", 8, func() decoder { return new(layers.UDP) }},
	layers.LayerTypeTCP:      {"TCP", 20, func() decoder { return new(layers.TCP) }},
	layers.LayerTypeICMPv4:   {"ICMP", 8, func() decoder { return new(layers.ICMPv4) }},
	layers.LayerTypeICMPv6:   {"ICMPv6", 4, func() decoder { return new(layers.ICMPv6) }},
}

const vxlanHeader = 8

// Decode decodes a packet. UDP packets to the given port are VXLAN. It keeps parts of p.Data, and never fails: bytes
// that cannot be decoded are in Payload, with the Problem.
func Decode(p Packet, port uint16) Frame {
	var f Frame
	f.Outer.decode(p.Data, layers.LayerTypeEthernet)
	if len(p.Data) < p.Length && f.Outer.Problem == "" {
		f.Outer.Problem = fmt.Sprintf("truncated: %d of %d bytes were captured", len(p.Data), p.Length)
	}
	udp := last[*layers.UDP](&f.Outer)
	if udp == nil || uint16(udp.DstPort) != port {
		return f
	}
	if len(f.Outer.Payload) < vxlanHeader {
		f.Outer.Problem = short("VXLAN", len(f.Outer.Payload), vxlanHeader)
		return f
	}
	vxlan := new(layers.VXLAN)
	if err := vxlan.DecodeFromBytes(f.Outer.Payload, &f.Outer); err != nil {
		f.Outer.Problem = malformed("VXLAN", err)
		return f
	}
	f.VXLAN, f.Outer.Payload = vxlan, nil
	f.Inner.decode(vxlan.Payload, layers.LayerTypeEthernet)
	if f.Inner.Problem == "" {
		f.Inner.Problem = f.Outer.Problem
	}
	f.Outer.Problem = "" // only the end of the inner packet was cut off
	return f
}

// VNI is the tunnel packet's.
func (f *Frame) VNI() (vni model.VNI, tunnel bool) {
	if f.VXLAN == nil {
		return 0, false
	}
	return model.VNI(f.VXLAN.VNI), true
}

// Endpoints is the stack that endpoints see: the inner one of a tunnel packet.
func (f *Frame) Endpoints() *Stack {
	if f.VXLAN != nil {
		return &f.Inner
	}
	return &f.Outer
}

// SetTruncated is for gopacket's decoders.
func (s *Stack) SetTruncated() { s.cut = true }

func (s *Stack) decode(data []byte, next gopacket.LayerType) {
	s.Payload = data
	for {
		p, known := protocols[next]
		if !known {
			break
		}
		if len(s.Payload) < p.header {
			s.Problem = short(p.name, len(s.Payload), p.header)
			return
		}
		layer := p.new()
		if err := layer.DecodeFromBytes(s.Payload, s); err != nil {
			s.Problem = malformed(p.name, err)
			return
		}
		s.Layers = append(s.Layers, layer)
		s.Payload, next = layer.LayerPayload(), following(layer)
	}
	if s.cut {
		s.Problem = "truncated: a header says that the packet is longer"
	}
}

// following is the protocol that a layer names as the next one.
func following(l decoder) gopacket.LayerType {
	switch l := l.(type) {
	case *layers.Ethernet:
		return carries(l.EthernetType)
	case *layers.Dot1Q:
		return carries(l.Type)
	}
	return l.NextLayerType()
}

// carries is the layer of an EtherType. To gopacket 0xffff is IPv4 ("raw"), on the wire it is not.
func carries(t layers.EthernetType) gopacket.LayerType {
	if t == layers.EthernetTypeRaw {
		return gopacket.LayerTypePayload
	}
	return t.LayerType()
}

func short(name string, have, want int) string {
	return fmt.Sprintf("truncated: %d of at least %d bytes of %s", have, want, name)
}

func malformed(name string, err error) string {
	return fmt.Sprintf("malformed %s: %s", name, printable.Escape(err.Error()))
}

// first is the outermost layer of a type, nil if there is none.
func first[L gopacket.Layer](s *Stack) (found L) {
	for _, l := range s.Layers {
		if l, ok := l.(L); ok {
			return l
		}
	}
	return found
}

// last is the innermost layer if it is of a type, else nil.
func last[L gopacket.Layer](s *Stack) (found L) {
	if len(s.Layers) > 0 {
		found, _ = s.Layers[len(s.Layers)-1].(L)
	}
	return found
}
