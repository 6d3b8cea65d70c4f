package answer

import (
	"encoding/binary"
	"net"
	"net/netip"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/overlane/overlane/model"
)

// Lease is what an endpoint is to have, whether it asks or not: the store has given it the address already, so nothing is kept here.
type Lease struct {
	MAC     model.MAC
	Address netip.Prefix // with the length of its subnet
	Gateway netip.Addr   // of the default route, and who answers
	MTU     int          // in bytes of IP
	Options *model.DHCP  // nil: none
}

// Asked is what a DHCP message of a client wants, in words for the log (RFC 2131 section 3.1).
type Asked string

// DHCP answers an Ethernet frame with a message for a DHCP server (RFC 2131 section 4.3). There is no reply to a message of another MAC, for another
// server, by a relay, or that wants none; ok is false for what is no such message.
//
// Whatever the client asks for, it gets the endpoint's address or a refusal. A release changes nothing: the address is the endpoint's for as long
// as intent says.
func DHCP(frame []byte, l Lease) (reply []byte, asked Asked, ok bool) {
	p := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.DecodeOptions{NoCopy: true, Lazy: true})
	udp, _ := p.Layer(layers.LayerTypeUDP).(*layers.UDP)
	if udp == nil || udp.DstPort != dhcpv4.ServerPort {
		return nil, "", false
	}
	q, err := dhcpv4.FromBytes(udp.Payload)
	if err != nil || q.OpCode != dhcpv4.OpcodeBootRequest || string(q.ClientHWAddr) != string(l.MAC[:]) || !q.GatewayIPAddr.IsUnspecified() {
		return nil, "", false
	}
	asked = Asked(q.MessageType().String())
	kind := l.judge(q)
	if kind == dhcpv4.MessageTypeNone {
		return nil, asked, true
	}
	a, err := dhcpv4.NewReplyFromRequest(q, dhcpv4.WithMessageType(kind), dhcpv4.WithOption(dhcpv4.OptServerIdentifier(l.Gateway.AsSlice())))
	if err != nil {
		return nil, asked, true
	}
	if kind != dhcpv4.MessageTypeNak {
		l.fill(a, q)
	}
	return l.packet(a, q), asked, true
}

// judge says which answer a message gets; none is MessageTypeNone.
func (l Lease) judge(q *dhcpv4.DHCPv4) dhcpv4.MessageType {
	server := q.ServerIdentifier()
	forAnother := server != nil && !server.Equal(l.Gateway.AsSlice())
	switch q.MessageType() {
	case dhcpv4.MessageTypeDiscover:
		return dhcpv4.MessageTypeOffer
	case dhcpv4.MessageTypeInform:
		return dhcpv4.MessageTypeAck
	case dhcpv4.MessageTypeRequest:
		wanted := q.RequestedIPAddress() // selecting, or after a reboot
		if wanted == nil {
			wanted = q.ClientIPAddr // renewing or rebinding
		}
		switch {
		case forAnother:
			return dhcpv4.MessageTypeNone
		case wanted.Equal(l.Address.Addr().AsSlice()):
			return dhcpv4.MessageTypeAck
		}
		return dhcpv4.MessageTypeNak
	}
	return dhcpv4.MessageTypeNone // release and decline want none
}

// fill writes address and options. An inform has an address already, and gets no lease (RFC 2131 section 4.3.5).
func (l Lease) fill(a, q *dhcpv4.DHCPv4) {
	if q.MessageType() != dhcpv4.MessageTypeInform {
		seconds := l.Options.LeaseTime()
		a.YourIPAddr = l.Address.Addr().AsSlice()
		for code, value := range map[dhcpv4.OptionCode]uint32{
			dhcpv4.OptionIPAddressLeaseTime: seconds,
			dhcpv4.OptionRenewTimeValue:     seconds / 2,
			dhcpv4.OptionRebindingTimeValue: seconds / 8 * 7,
		} {
			a.UpdateOption(dhcpv4.OptGeneric(code, binary.BigEndian.AppendUint32(nil, value)))
		}
	}
	a.UpdateOption(dhcpv4.OptSubnetMask(net.CIDRMask(l.Address.Bits(), 32)))
	a.UpdateOption(dhcpv4.OptRouter(l.Gateway.AsSlice()))
	a.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionInterfaceMTU, binary.BigEndian.AppendUint16(nil, uint16(l.MTU))))
	if l.Options == nil {
		return
	}
	if len(l.Options.DNS) > 0 {
		var servers []net.IP
		for _, s := range l.Options.DNS {
			servers = append(servers, s.AsSlice())
		}
		a.UpdateOption(dhcpv4.OptDNS(servers...))
	}
	if l.Options.Domain != "" {
		a.UpdateOption(dhcpv4.OptDomainName(l.Options.Domain))
	}
	if len(l.Options.Routes) > 0 {
		a.UpdateOption(dhcpv4.OptClasslessStaticRoute(l.routes()...))
	}
}

// routes has the default route, too: who reads this option does not look at the router's (RFC 3442).
func (l Lease) routes() []*dhcpv4.Route {
	routes := []*dhcpv4.Route{{Dest: &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}, Router: l.Gateway.AsSlice()}}
	for _, r := range l.Options.Routes {
		routes = append(routes, &dhcpv4.Route{
			Dest: &net.IPNet{IP: r.To.Addr().AsSlice(), Mask: net.CIDRMask(r.To.Bits(), 32)}, Router: r.Via.AsSlice(),
		})
	}
	return routes
}

// packet sends the answer to where the client can hear it (RFC 2131 section 4.1): everybody on the link is this one endpoint.
func (l Lease) packet(a, q *dhcpv4.DHCPv4) []byte {
	eth := &layers.Ethernet{SrcMAC: net.HardwareAddr(model.GatewayMAC[:]), DstMAC: q.ClientHWAddr, EthernetType: layers.EthernetTypeIPv4}
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: l.Gateway.AsSlice(), DstIP: l.Address.Addr().AsSlice()}
	if nak := a.MessageType() == dhcpv4.MessageTypeNak; nak || q.IsBroadcast() && q.ClientIPAddr.IsUnspecified() {
		eth.DstMAC, ip.DstIP = layers.EthernetBroadcast, net.IPv4bcast
	}
	udp := &layers.UDP{SrcPort: dhcpv4.ServerPort, DstPort: dhcpv4.ClientPort}
	out := gopacket.NewSerializeBuffer()
	if udp.SetNetworkLayerForChecksum(ip) != nil {
		return nil
	}
	if err := gopacket.SerializeLayers(out, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, eth, ip, udp, gopacket.Payload(a.ToBytes())); err != nil {
		return nil
	}
	return out.Bytes()
}
