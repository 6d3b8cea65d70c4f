package capture

import (
	"bytes"
	"net/netip"
	"slices"

	"github.com/gopacket/gopacket/layers"

	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/view"
)

// Filter chooses packets. Its zero value chooses all.
//
// A packet outside of any tunnel, captured on an endpoint's port, has no VNI: then only Endpoint counts.
type Filter struct {
	Tunnels  bool          // only tunnel packets
	VNIs     []model.VNI   // only tunnel packets of these segments; nil for any
	Endpoint *view.Address // only packets from or to it
}

// Match reports whether a frame is wanted.
func (f Filter) Match(frame *Frame) bool {
	vni, tunnel := frame.VNI()
	if f.Tunnels && !tunnel {
		return false
	}
	if tunnel && f.VNIs != nil && !slices.Contains(f.VNIs, vni) {
		return false
	}
	return f.Endpoint == nil || frame.Endpoints().about(f.Endpoint)
}

// about reports whether the packet is from or to an endpoint, by MAC or address.
func (s *Stack) about(a *view.Address) bool {
	if e := first[*layers.Ethernet](s); e != nil && (bytes.Equal(e.SrcMAC, a.MAC[:]) || bytes.Equal(e.DstMAC, a.MAC[:])) {
		return true
	}
	src, dst := s.addresses()
	return src == a.IP || dst == a.IP
}

// addresses are those of the outermost IP or ARP header; not valid if there is none.
func (s *Stack) addresses() (src, dst netip.Addr) {
	for _, l := range s.Layers {
		switch l := l.(type) {
		case *layers.IPv4:
			return address(l.SrcIP), address(l.DstIP)
		case *layers.IPv6:
			return address(l.SrcIP), address(l.DstIP)
		case *layers.ARP:
			return address(l.SourceProtAddress), address(l.DstProtAddress)
		}
	}
	return src, dst
}

func address(raw []byte) netip.Addr {
	a, _ := netip.AddrFromSlice(raw)
	return a.Unmap()
}
