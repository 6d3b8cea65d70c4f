package agent

import (
	"encoding/binary"
	"net/netip"

	"github.com/overlane/overlane/dataplane"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/view"
)

// The frames that the agent sends: ARP requests to endpoints and to the upstream network, and a probe to a peer's
// switch.

const (
	etherTypeARP = 0x0806
	arpFrameLen  = 42
	probeLen     = 14 + 16
)

// arpRequest asks who has the address, in the gateway's name.
func arpRequest(gateway, target netip.Addr, mac model.MAC) []byte {
	return arpFrame(mac, model.GatewayMAC, gateway, target)
}

// announcement is a request for the next hop's own address in its own name: whoever knows the address, and every
// switch on the way, learns where it is (gratuitous ARP, RFC 5227 section 3).
func announcement(n view.NextHop) []byte {
	return arpFrame(broadcastMAC, n.MAC(), n.Address.Addr(), n.Address.Addr())
}

// routerQuestion asks for the router in nobody's name, as a probe for duplicates does (RFC 5227 section 2.1.1), so
// that nothing is learnt from it: the next hop may be held elsewhere.
func routerQuestion(own view.NextHop) []byte {
	return arpFrame(broadcastMAC, own.LeavingMAC(), netip.IPv4Unspecified(), own.Router)
}

var broadcastMAC = model.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// arpFrame is a request (RFC 826).
func arpFrame(to, from model.MAC, sender, target netip.Addr) []byte {
	b := make([]byte, 0, arpFrameLen)
	b = append(b, to[:]...)
	b = append(b, from[:]...)
	b = binary.BigEndian.AppendUint16(b, etherTypeARP)
	b = append(b, 0, 1, 8, 0, 6, 4, 0, 1)
	b = append(b, from[:]...)
	b = append(b, sender.AsSlice()...)
	b = append(b, 0, 0, 0, 0, 0, 0)
	return append(b, target.AsSlice()...)
}

// arpSender reads the sender's MAC and address of an ARP reply; ok is false for any other frame.
func arpSender(b []byte) (mac model.MAC, ip netip.Addr, ok bool) {
	if len(b) < arpFrameLen || binary.BigEndian.Uint16(b[12:]) != etherTypeARP || binary.BigEndian.Uint16(b[20:]) != 2 {
		return mac, ip, false
	}
	copy(mac[:], b[22:28])
	return mac, netip.AddrFrom4([4]byte(b[28:32])), true
}

// probeFrame carries what the reflection must bring back: a nonce that nobody else knows, and the number of the
// probe.
func probeFrame(nonce, number uint64) []byte {
	b := make([]byte, 0, probeLen)
	b = append(b, dataplane.ProbeThere[:]...)
	b = append(b, model.GatewayMAC[:]...)
	b = binary.BigEndian.AppendUint16(b, dataplane.ProbeEtherType)
	b = binary.BigEndian.AppendUint64(b, nonce)
	return binary.BigEndian.AppendUint64(b, number)
}

func readProbe(b []byte) (nonce, number uint64, ok bool) {
	if len(b) < probeLen || binary.BigEndian.Uint16(b[12:]) != dataplane.ProbeEtherType {
		return 0, 0, false
	}
	return binary.BigEndian.Uint64(b[14:]), binary.BigEndian.Uint64(b[22:]), true
}
