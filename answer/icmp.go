// Package answer makes the frames by which a host answers endpoints itself: DHCP replies and ICMP errors. It is pure: a
// frame goes in, and a frame comes out.
package answer

import (
	"net"
	"net/netip"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/overlane/overlane/model"
)

// Trouble is the reason of an ICMP error: its type and code.
type Trouble struct {
	kind, code uint8
	mtu        uint16 // of the next hop, if the packet is too long
}

// The ICMP errors that a host sends (RFC 792).
var (
	Expired = Trouble{kind: layers.ICMPv4TypeTimeExceeded, code: layers.ICMPv4CodeTTLExceeded}
	// no route leads there
	NetUnreachable = Trouble{kind: layers.ICMPv4TypeDestinationUnreachable, code: layers.ICMPv4CodeNet}
	// a subnet has the address, but no endpoint has it
	HostUnreachable = Trouble{kind: layers.ICMPv4TypeDestinationUnreachable, code: layers.ICMPv4CodeHost}
	PortUnreachable = Trouble{kind: layers.ICMPv4TypeDestinationUnreachable, code: layers.ICMPv4CodePort}
)

// TooLong is the error for a packet that is too long and must not be fragmented (RFC 1191 section 4).
func TooLong(mtu int) Trouble {
	return Trouble{layers.ICMPv4TypeDestinationUnreachable, layers.ICMPv4CodeFragmentationNeeded, uint16(mtu)}
}

// mostQuoted is the part of a packet that an error quotes, in bytes. The error is at most 576 bytes long (RFC 1812
// section 4.3.2.3).
const mostQuoted = 576 - 20 - 8

// ICMP makes the error for the sender of an Ethernet frame with IPv4, from the gateway's address. ok is false if none
// may be sent (RFC 1812 section 4.3.2.7): about an ICMP error, a packet that is too long but may be fragmented, a
// packet to or from an address that is not a single machine's, and a fragment other than the first.
func ICMP(frame []byte, gateway netip.Addr, why Trouble) (reply []byte, ok bool) {
	var (
		eth     layers.Ethernet
		ip      layers.IPv4
		icmp    layers.ICMPv4
		decoded []gopacket.LayerType
	)
	parser := gopacket.NewDecodingLayerParser(layers.LayerTypeEthernet, &eth, &ip, &icmp)
	parser.IgnoreUnsupported = true
	if err := parser.DecodeLayers(frame, &decoded); len(decoded) < 2 || err != nil && len(decoded) > 2 {
		return nil, false
	}
	to, _ := netip.AddrFromSlice(ip.DstIP)
	from, _ := netip.AddrFromSlice(ip.SrcIP)
	switch {
	case eth.DstMAC[0]&1 == 1, !single(to), !single(from), ip.FragOffset > 0:
		return nil, false
	case why.mtu != 0 && ip.Flags&layers.IPv4DontFragment == 0:
		return nil, false
	case ip.Protocol == layers.IPProtocolICMPv4 && (len(decoded) < 3 || isError(icmp.TypeCode.Type())):
		return nil, false
	}
	quoted := frame[14:]
	quoted = quoted[:min(len(quoted), int(ip.Length), mostQuoted)]
	out := gopacket.NewSerializeBuffer()
	err := gopacket.SerializeLayers(out, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true},
		&layers.Ethernet{SrcMAC: net.HardwareAddr(model.GatewayMAC[:]), DstMAC: eth.SrcMAC,
			EthernetType: layers.EthernetTypeIPv4},
		&layers.IPv4{Version: 4, TTL: 64, TOS: precedence, Protocol: layers.IPProtocolICMPv4, SrcIP: gateway.AsSlice(),
			DstIP: ip.SrcIP},
		&layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(why.kind, why.code), Seq: why.mtu},
		gopacket.Payload(quoted))
	return out.Bytes(), err == nil
}

// Addresses returns the IPv4 source and destination of an Ethernet frame. ok is false for any other frame.
func Addresses(frame []byte) (from, to netip.Addr, ok bool) {
	if len(frame) < 34 || frame[12] != 8 || frame[13] != 0 || frame[14]>>4 != 4 {
		return from, to, false
	}
	return netip.AddrFrom4([4]byte(frame[26:30])), netip.AddrFrom4([4]byte(frame[30:34])), true
}

// precedence is "internetwork control", the precedence of ICMP errors (RFC 1812 section 4.3.2.5).
const precedence = 0xc0

// single reports whether an address may belong to a single machine.
func single(a netip.Addr) bool {
	return a.Is4() && !a.IsMulticast() && !a.IsUnspecified() && !a.IsLoopback() && a.As4()[0] < 240
}

// isError reports whether an ICMP message is about another packet (RFC 1122 section 3.2.2). Unknown types count as
// errors.
func isError(kind uint8) bool {
	switch kind {
	case layers.ICMPv4TypeEchoRequest, layers.ICMPv4TypeEchoReply,
		layers.ICMPv4TypeTimestampRequest, layers.ICMPv4TypeTimestampReply:
		return false
	}
	return true
}
