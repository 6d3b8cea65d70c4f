package flowtest

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// Encapsulated is a packet inside VXLAN (RFC 7348).
type Encapsulated struct {
	VNI      uint32
	Src, Dst netip.Addr // outer
	Frame    []byte
}

// peerMAC is the Ethernet address that every peer on the underlay has.
var peerMAC = net.HardwareAddr{2, 0, 0, 0, 0, 0xee}

// AddVXLAN makes a VXLAN port with flow-based keys and addresses, and an underlay with the local address on which the
// peers answer. All addresses are in 192.168.5.0/24. The port has no local_ip, which OVS takes only for addresses of
// the kernel's.
func (s *Switch) AddVXLAN(number uint32, local netip.Addr, peers ...netip.Addr) {
	s.t.Helper()
	s.Vsctl("add-br", "br-phy", "--", "set", "bridge", "br-phy", "datapath_type=dummy", "other_config:hwaddr=02:00:00:00:00:dd")
	s.addDummy("br-phy", "u0")
	s.Appctl("netdev-dummy/ip4addr", "br-phy", local.String()+"/24")
	s.Appctl("ovs/route/add", "192.168.5.0/24", "br-phy")
	for _, peer := range peers {
		s.Appctl("tnl/arp/set", "br-phy", peer.String(), peerMAC.String())
	}
	s.Vsctl("add-port", "br0", "vx", "--", "set", "interface", "vx", "type=vxlan", "ofport_request="+fmt.Sprint(number),
		"options:key=flow", "options:remote_ip=flow")
	s.local = local
}

// SendVXLAN puts a packet in at the underlay, from a peer to the switch's local address, and returns what came out, by
// port.
func (s *Switch) SendVXLAN(from netip.Addr, vni uint32, frame []byte) map[uint32][][]byte {
	s.t.Helper()
	s.inject("u0", s.encapsulate(from, vni, frame))
	return s.collect()
}

func (s *Switch) encapsulate(from netip.Addr, vni uint32, frame []byte) []byte {
	s.t.Helper()
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: from.AsSlice(), DstIP: s.local.AsSlice()}
	udp := &layers.UDP{SrcPort: 54321, DstPort: 4789}
	_ = udp.SetNetworkLayerForChecksum(ip) // fails for what is neither IPv4 nor IPv6
	b := gopacket.NewSerializeBuffer()
	err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true},
		&layers.Ethernet{SrcMAC: peerMAC, DstMAC: net.HardwareAddr{2, 0, 0, 0, 0, 0xdd}, EthernetType: layers.EthernetTypeIPv4},
		ip, udp, &layers.VXLAN{ValidIDFlag: true, VNI: vni}, gopacket.Payload(frame))
	if err != nil {
		s.t.Fatal(err)
	}
	return b.Bytes()
}

// Encapsulated returns the VXLAN packets that have left on the underlay since the last call.
func (s *Switch) Encapsulated() []Encapsulated {
	s.t.Helper()
	file := s.path("u0.pcap")
	all, err := readPcap(file)
	if err != nil {
		s.t.Fatal(err)
	}
	var list []Encapsulated
	for _, frame := range all[s.read[file]:] {
		list = append(list, decapsulate(frame)...)
	}
	s.read[file] = len(all)
	return list
}

// decapsulate returns one packet, or none if the frame is not VXLAN over IPv4 without options.
func decapsulate(b []byte) []Encapsulated {
	const headers = 14 + 20 + 8 + 8
	if len(b) < headers || binary.BigEndian.Uint16(b[12:]) != 0x0800 || b[23] != 17 || binary.BigEndian.Uint16(b[36:]) != 4789 {
		return nil
	}
	return []Encapsulated{{
		VNI:   binary.BigEndian.Uint32(b[46:]) >> 8,
		Src:   netip.AddrFrom4([4]byte(b[26:30])),
		Dst:   netip.AddrFrom4([4]byte(b[30:34])),
		Frame: b[headers:],
	}}
}
