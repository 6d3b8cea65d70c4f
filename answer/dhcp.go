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

// Lease has the values that DHCP gives to an endpoint. The store has allocated the address, so there is no state here.
type Lease struct {
	MAC     model.MAC
	Address netip.Prefix // with the prefix length of its subnet
	Gateway netip.Addr   // next hop of the default route, and the DHCP server
	MTU     int          // in bytes of IP
	Options *model.DHCP  // nil: none
}

// Question is a message of a client to a DHCP server, in its Ethernet frame.
type Question struct{ message *dhcpv4.DHCPv4 }

// ReadDHCP reads a message from a frame. ok is false for any other frame, for a message of a relay, and for a message
// whose client MAC is not the frame's source.
func ReadDHCP(frame []byte) (q Question, ok bool) {
	p := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.DecodeOptions{NoCopy: true, Lazy: true})
	udp, _ := p.Layer(layers.LayerTypeUDP).(*layers.UDP)
	if udp == nil || udp.DstPort != dhcpv4.ServerPort {
		return q, false
	}
	m, err := dhcpv4.FromBytes(udp.Payload)
	if err != nil || m.OpCode != dhcpv4.OpcodeBootRequest || !m.GatewayIPAddr.IsUnspecified() {
		return q, false
	}
	eth, _ := p.Layer(layers.LayerTypeEthernet).(*layers.Ethernet)
	return Question{m}, len(m.ClientHWAddr) == len(model.MAC{}) && string(m.ClientHWAddr) == string(eth.SrcMAC)
}

// MAC is the MAC of the client.
func (q Question) MAC() model.MAC { return model.MAC(q.message.ClientHWAddr) }

// Asked is the type of the message, for the log (RFC 2131 section 3.1).
func (q Question) Asked() string { return q.message.MessageType().String() }

// Seeks reports whether the client asks the server at an address for a new lease.
func (q Question) Seeks(server netip.Addr) bool {
	kind := q.message.MessageType()
	return kind == dhcpv4.MessageTypeDiscover || kind == dhcpv4.MessageTypeRequest && !q.forAnother(server)
}

// GivesUp reports whether the client releases its lease, or declines it since another machine uses the address.
func (q Question) GivesUp(l Lease) bool {
	if q.forAnother(l.Gateway) {
		return false
	}
	address := l.Address.Addr().AsSlice()
	switch q.message.MessageType() {
	case dhcpv4.MessageTypeRelease:
		return q.message.ClientIPAddr.Equal(address)
	case dhcpv4.MessageTypeDecline:
		return q.message.RequestedIPAddress().Equal(address)
	}
	return false
}

func (q Question) forAnother(server netip.Addr) bool {
	named := q.message.ServerIdentifier()
	return named != nil && !named.Equal(server.AsSlice())
}

// Answer returns the reply (RFC 2131 section 4.3), and whether the client now has the lease. There is no reply to a
// message from another MAC, to another server, or of a type without replies. The client gets the endpoint's address or
// a refusal, never another address.
func (q Question) Answer(l Lease) (reply []byte, leased bool) {
	kind := l.replyType(q)
	if kind == dhcpv4.MessageTypeNone || q.MAC() != l.MAC {
		return nil, false
	}
	a, err := dhcpv4.NewReplyFromRequest(q.message, dhcpv4.WithMessageType(kind),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(l.Gateway.AsSlice())))
	if err != nil {
		return nil, false
	}
	if kind != dhcpv4.MessageTypeNak {
		l.fill(a, q.message)
	}
	return l.packet(a, q.message), kind == dhcpv4.MessageTypeAck && q.message.MessageType() == dhcpv4.MessageTypeRequest
}

// replyType is the type of the reply to a message; MessageTypeNone: there is no reply.
func (l Lease) replyType(q Question) dhcpv4.MessageType {
	switch q.message.MessageType() {
	case dhcpv4.MessageTypeDiscover:
		return dhcpv4.MessageTypeOffer
	case dhcpv4.MessageTypeInform:
		return dhcpv4.MessageTypeAck
	case dhcpv4.MessageTypeRequest:
		wanted := q.message.RequestedIPAddress() // selecting, or after a reboot
		if wanted == nil {
			wanted = q.message.ClientIPAddr // renewing or rebinding
		}
		switch {
		case q.forAnother(l.Gateway):
			return dhcpv4.MessageTypeNone
		case wanted.Equal(l.Address.Addr().AsSlice()):
			return dhcpv4.MessageTypeAck
		}
		return dhcpv4.MessageTypeNak
	}
	return dhcpv4.MessageTypeNone // release and decline have no reply
}

// fill writes the address and the options. An inform has an address already and gets no lease (RFC 2131 section 4.3.5).
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

// routes includes the default route, since a client that reads this option ignores the router option (RFC 3442).
func (l Lease) routes() []*dhcpv4.Route {
	routes := []*dhcpv4.Route{{Dest: &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)},
		Router: l.Gateway.AsSlice()}}
	for _, r := range l.Options.Routes {
		routes = append(routes, &dhcpv4.Route{
			Dest: &net.IPNet{IP: r.To.Addr().AsSlice(), Mask: net.CIDRMask(r.To.Bits(), 32)}, Router: r.Via.AsSlice(),
		})
	}
	return routes
}

// packet addresses the answer so that the client receives it (RFC 2131 section 4.1). The Ethernet destination is always
// the client's MAC, even for an IP broadcast, since endpoints may share the port.
func (l Lease) packet(a, q *dhcpv4.DHCPv4) []byte {
	eth := &layers.Ethernet{SrcMAC: net.HardwareAddr(model.GatewayMAC[:]), DstMAC: q.ClientHWAddr,
		EthernetType: layers.EthernetTypeIPv4}
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: l.Gateway.AsSlice(),
		DstIP: l.Address.Addr().AsSlice()}
	if nak := a.MessageType() == dhcpv4.MessageTypeNak; nak || q.IsBroadcast() && q.ClientIPAddr.IsUnspecified() {
		ip.DstIP = net.IPv4bcast
	}
	udp := &layers.UDP{SrcPort: dhcpv4.ServerPort, DstPort: dhcpv4.ClientPort}
	out := gopacket.NewSerializeBuffer()
	if udp.SetNetworkLayerForChecksum(ip) != nil {
		return nil
	}
	if err := gopacket.SerializeLayers(out, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, eth,
		ip, udp, gopacket.Payload(a.ToBytes())); err != nil {
		return nil
	}
	return out.Bytes()
}
