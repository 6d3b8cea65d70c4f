package sim

import (
	"net/netip"
	"slices"

	"github.com/overlane/overlane/dataplane/flow"
)

// Tunnel is what a tunnel port hands over beside the packet: the VNI, and the outer addresses.
type Tunnel struct {
	ID       uint64
	Src, Dst netip.Addr
}

// state is a packet under way: its frame and everything that the switch keeps beside it.
type state struct {
	frame  []byte
	at     headers
	inPort uint32
	kept   map[*flow.Field]flow.Value // tunnel, metadata, marks
	regs   [16]uint32
	ct     tracking
}

func newState(p Packet) *state {
	s := &state{frame: slices.Clone(p.Frame), at: parse(p.Frame), inPort: p.InPort, kept: map[*flow.Field]flow.Value{}}
	s.set(flow.TunID, flow.U64(p.Tunnel.ID))
	for _, a := range []struct {
		addr   netip.Addr
		v4, v6 *flow.Field
	}{{p.Tunnel.Src, flow.TunSrc, flow.TunIPv6Src}, {p.Tunnel.Dst, flow.TunDst, flow.TunIPv6Dst}} {
		switch {
		case a.addr.Is4():
			s.set(a.v4, flow.Addr(a.addr))
		case a.addr.Is6():
			s.set(a.v6, flow.Addr(a.addr))
		}
	}
	for f, v := range p.Fields {
		s.set(f, v)
	}
	return s
}

// clone is a copy for a group's bucket.
func (s *state) clone() *state {
	c := *s
	c.frame = slices.Clone(s.frame)
	c.kept = make(map[*flow.Field]flow.Value, len(s.kept))
	for f, v := range s.kept {
		c.kept[f] = v
	}
	return &c
}

func (s *state) tunnel() Tunnel {
	t := Tunnel{ID: s.kept[flow.TunID].Lo}
	t.Src = outer(s.kept[flow.TunSrc], s.kept[flow.TunIPv6Src])
	t.Dst = outer(s.kept[flow.TunDst], s.kept[flow.TunIPv6Dst])
	return t
}

func outer(v4, v6 flow.Value) netip.Addr {
	switch {
	case !v4.IsZero():
		return netip.AddrFrom4([4]byte(v4.Bytes(4)))
	case !v6.IsZero():
		return netip.AddrFrom16([16]byte(v6.Bytes(16)))
	}
	return netip.Addr{}
}

// has says whether the packet has the field's header, so that the field can be read and written.
func (s *state) has(f *flow.Field) bool {
	if f.Needs == flow.NeedNothing {
		return true
	}
	switch f {
	case flow.IPProto, flow.IPFrag:
		return s.at.ip4 >= 0 || s.at.ip6 >= 0
	}
	_, ok := s.location(f)
	return ok
}

// get reads a field; one that the packet does not have is zero.
func (s *state) get(f *flow.Field) flow.Value {
	switch f {
	case flow.InPort:
		return flow.U32(s.inPort)
	case flow.InPort16:
		return flow.U32(s.inPort & 0xffff)
	case flow.EthType:
		return flow.U32(uint32(s.at.etherType))
	case flow.VLANTCI:
		return s.vlan()
	case flow.IPProto:
		return flow.U32(uint32(s.at.proto))
	case flow.IPFrag:
		return flow.U32(uint32(s.at.frag))
	}
	if regs := s.registers(f); regs != nil {
		var v flow.Value
		for _, r := range regs {
			v = v.Shl(32).Or(flow.U32(r))
		}
		return v
	}
	if p, ok := s.location(f); ok {
		return flow.ValueOf(s.frame[p.at : p.at+p.bytes]).Shr(p.shift).And(f.Exact())
	}
	return s.kept[f]
}

// set writes a whole field and says whether the packet has it.
func (s *state) set(f *flow.Field, v flow.Value) bool {
	switch f {
	case flow.InPort:
		s.inPort = uint32(v.Lo)
		return true
	case flow.InPort16:
		s.inPort = flow.WidePort(uint16(v.Lo))
		return true
	case flow.VLANTCI:
		s.setVLAN(uint16(v.Lo))
		return true
	}
	if regs := s.registers(f); regs != nil {
		for i := range regs {
			regs[i] = uint32(v.Shr(32 * (len(regs) - 1 - i)).Lo)
		}
		return true
	}
	if p, ok := s.location(f); ok {
		if identifies(f) {
			s.ct.found = nil
		}
		whole := flow.ValueOf(s.frame[p.at : p.at+p.bytes]).AndNot(f.Exact().Shl(p.shift)).Or(v.Shl(p.shift))
		overwrite(s.frame, s.at, p.at, whole.Bytes(p.bytes))
		s.at = parse(s.frame)
		return true
	}
	if f.Needs != flow.NeedNothing {
		return false
	}
	s.kept[f] = v
	return true
}

// registers are those that a register field covers, the most significant first.
func (s *state) registers(f *flow.Field) []uint32 {
	for i, r := range flow.Registers {
		if f == r {
			return s.regs[i : i+1]
		}
	}
	for i, x := range wide64 {
		if f == x {
			return s.regs[2*i : 2*i+2]
		}
	}
	for i, xx := range wide128 {
		if f == xx {
			return s.regs[4*i : 4*i+4]
		}
	}
	return nil
}

var (
	wide64  = []*flow.Field{flow.XReg0, flow.XReg1, flow.XReg2, flow.XReg3, flow.XReg4, flow.XReg5, flow.XReg6, flow.XReg7}
	wide128 = []*flow.Field{flow.XXReg0, flow.XXReg1, flow.XXReg2, flow.XXReg3}
)

const present = 0x1000 // vlan_tci of a tagged frame

func (s *state) vlan() flow.Value {
	if !s.at.tagged {
		return flow.Value{}
	}
	return flow.ValueOf(s.frame[14:16]).Or(flow.U32(present))
}

// setVLAN pushes, changes or pops the tag.
func (s *state) setVLAN(tci uint16) {
	if s.at.tagged {
		s.frame = slices.Delete(s.frame, 12, 16)
	}
	if tci&present != 0 {
		tci &^= present
		s.frame = slices.Insert(s.frame, 12, etherVLAN>>8, etherVLAN&0xff, byte(tci>>8), byte(tci))
	}
	s.at = parse(s.frame)
}

// identifies says whether a connection is known by the field: OVS looks the connection up anew after a change.
func identifies(f *flow.Field) bool {
	for _, fields := range [][]*flow.Field{srcFields, dstFields, srcPorts, dstPorts} {
		if slices.Contains(fields, f) {
			return true
		}
	}
	return false
}

// showTracking has flows see what connection tracking knows of the packet.
func (s *state) showTracking() {
	s.kept[flow.CTState] = flow.U32(s.ct.state)
	s.kept[flow.CTZone] = flow.U32(uint32(s.ct.zone))
}

// hideTracking makes the packet look untracked.
func (s *state) hideTracking() {
	delete(s.kept, flow.CTState)
	delete(s.kept, flow.CTZone)
}

// clearTracking makes the packet untracked; one that looks so already stays as it is.
func (s *state) clearTracking() {
	if !s.kept[flow.CTState].IsZero() {
		s.ct = tracking{}
		s.hideTracking()
	}
}
