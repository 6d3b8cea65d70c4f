package flowtest

import (
	"net/netip"

	"github.com/overlane/overlane/dataplane/flow"
	"pgregory.net/rapid"
)

// AnyFlow draws flows over all fields and actions, most of them nonsense, that pass Check.
func AnyFlow() *rapid.Generator[flow.Flow] {
	return rapid.Custom(func(t *rapid.T) flow.Flow {
		f := flow.Flow{
			Table:    uint8(rapid.IntRange(0, 253).Draw(t, "table")),
			Priority: rapid.SampledFrom([]uint16{0, 1, 100, 32768, 65535}).Draw(t, "priority"),
			Match:    anyMatch().Draw(t, "match"),
		}
		f.Actions = checked(t, f, rapid.SliceOfN(anyAction(), 0, 6).Draw(t, "actions"))
		return f
	})
}

// checked keeps the actions that pass where they stand.
func checked(t *rapid.T, f flow.Flow, list []flow.Action) []flow.Action {
	for _, a := range list {
		longer := append(f.Actions[:len(f.Actions):len(f.Actions)], a)
		if (flow.Flow{Table: f.Table, Match: f.Match, Actions: longer}).Check() == nil {
			f.Actions = longer
		}
	}
	return f.Actions
}

var protocols = []flow.Match{
	nil, flow.IP, flow.IP6, flow.ARP, flow.ICMP, flow.TCP, flow.UDP, flow.ICMP6, flow.TCP6, flow.UDP6, flow.NDSolicit, flow.NDAdvert,
	{flow.Eq(flow.EthType, flow.U32(0x88cc))}, {flow.Eq(flow.EthType, flow.U32(0x8035))},
}

func anyMatch() *rapid.Generator[flow.Match] {
	return rapid.Custom(func(t *rapid.T) flow.Match {
		m := flow.On(rapid.SampledFrom(protocols).Draw(t, "protocol"))
		for _, term := range rapid.SliceOfN(anyTerm(), 0, 8).Draw(t, "terms") {
			if longer := m.And(term); longer.Check() == nil {
				m = longer
			}
		}
		return m
	})
}

func anyTerm() *rapid.Generator[flow.Term] {
	return rapid.Custom(func(t *rapid.T) flow.Term {
		f := anyField().Draw(t, "field")
		v := anyValue(f).Draw(t, "value")
		if !f.Maskable || rapid.Bool().Draw(t, "exact") {
			return flow.Eq(f, v)
		}
		return flow.Masked(f, v, anyMask(f).Draw(t, "mask"))
	})
}

func anyField() *rapid.Generator[*flow.Field] { return rapid.SampledFrom(flow.Fields) }

func anyValue(f *flow.Field) *rapid.Generator[flow.Value] {
	return rapid.Custom(func(t *rapid.T) flow.Value {
		v := flow.Value{Hi: rapid.Uint64().Draw(t, "hi"), Lo: rapid.Uint64().Draw(t, "lo")}
		if f.Form == flow.Port && v.Lo&0xffff > 0xfeff {
			v.Lo = 5
		}
		if f == flow.InPort {
			v.Lo &= 0xffff
		}
		return v.And(f.Exact())
	})
}

func anyMask(f *flow.Field) *rapid.Generator[flow.Value] {
	return rapid.Custom(func(t *rapid.T) flow.Value {
		// of IPv6, prefixes only: ovs-ofctl cannot read a mask that begins with a decimal digit
		if f.Form == flow.IPv6 || rapid.Bool().Draw(t, "prefix") {
			n := rapid.IntRange(0, f.Bits).Draw(t, "length")
			return flow.Ones(n).Shl(f.Bits - n)
		}
		return anyValue(f).Draw(t, "mask")
	})
}

func anyAction() *rapid.Generator[flow.Action] {
	return rapid.Custom(func(t *rapid.T) flow.Action {
		number := rapid.Uint32Range(0, 300).Draw(t, "number")
		switch rapid.IntRange(0, 12).Draw(t, "kind") {
		case 0:
			return flow.Output{Port: number}
		case 1:
			return flow.Output{Port: rapid.SampledFrom([]uint32{flow.PortInPort, flow.PortLocal, flow.PortController}).Draw(t, "reserved")}
		case 2:
			return flow.OutputReg{Field: anyField().Draw(t, "field")}
		case 3:
			return flow.ToGroup{ID: number}
		case 4:
			return flow.Goto{Table: uint8(number)}
		case 5:
			return flow.Resubmit{Table: uint8(number)}
		case 6:
			return flow.Controller{MaxLen: uint16(number), Userdata: rapid.SliceOfN(rapid.Byte(), 0, 4).Draw(t, "userdata")}
		case 7:
			return flow.UseMeter{ID: number}
		case 8:
			return flow.DecTTL{}
		case 9:
			return flow.CTClear{}
		case 10:
			return anyCT().Draw(t, "ct")
		case 11:
			return flow.CheckLarger{Len: uint16(number), Dst: rapid.SampledFrom(flow.Registers[:]).Draw(t, "register"), Bit: rapid.IntRange(0, 31).Draw(t, "bit")}
		}
		return anyWrite().Draw(t, "write")
	})
}

func anyCT() *rapid.Generator[flow.CT] {
	return rapid.Custom(func(t *rapid.T) flow.CT {
		a := flow.CT{
			Commit: rapid.Bool().Draw(t, "commit"),
			Zone:   uint16(rapid.IntRange(0, 65535).Draw(t, "zone")),
			Table:  uint8(rapid.IntRange(0, 253).Draw(t, "table")),
		}
		if kind := rapid.IntRange(-1, 2).Draw(t, "kind"); kind >= 0 {
			a.NAT = anyNAT(t, flow.NATKind(kind))
		}
		return a
	})
}

func anyNAT(t *rapid.T, kind flow.NATKind) *flow.NAT {
	n := &flow.NAT{Kind: kind}
	if kind == flow.NATKnown {
		return n
	}
	bytes := rapid.SampledFrom([]int{4, 16}).Draw(t, "family")
	n.Addr, _ = netip.AddrFromSlice(rapid.SliceOfN(rapid.Byte(), bytes, bytes).Draw(t, "address"))
	if rapid.Bool().Draw(t, "ports") {
		n.FirstPort = rapid.Uint16Range(1, 65535).Draw(t, "first")
		n.LastPort = rapid.Uint16Range(n.FirstPort, 65535).Draw(t, "last")
	}
	return n
}

func anyWrite() *rapid.Generator[flow.Action] {
	return rapid.Custom(func(t *rapid.T) flow.Action {
		dst := anyField().Draw(t, "dst")
		if rapid.Bool().Draw(t, "move") {
			src := anyField().Draw(t, "src")
			bits := rapid.IntRange(1, min(src.Bits, dst.Bits)).Draw(t, "bits")
			return flow.Move{Src: src, Dst: dst, Bits: bits, SrcBit: src.Bits - bits, DstBit: dst.Bits - bits}
		}
		set := flow.SetField{Field: dst, Value: anyValue(dst).Draw(t, "value")}
		if rapid.Bool().Draw(t, "masked") {
			set.Mask = anyMask(dst).Draw(t, "mask")
			set.Value = set.Value.And(set.Mask)
		}
		return set
	})
}

// AnyGroup draws groups of types all and select that pass Check.
func AnyGroup() *rapid.Generator[flow.Group] {
	return rapid.Custom(func(t *rapid.T) flow.Group {
		g := flow.Group{
			ID:   rapid.Uint32Range(0, flow.MaxGroup).Draw(t, "id"),
			Type: rapid.SampledFrom([]flow.GroupType{flow.GroupAll, flow.GroupSelect}).Draw(t, "type"),
		}
		for range rapid.IntRange(0, 4).Draw(t, "buckets") {
			g.Buckets = append(g.Buckets, anyBucket(t, g.Type))
		}
		return g
	})
}

func anyBucket(t *rapid.T, kind flow.GroupType) flow.Bucket {
	var b flow.Bucket
	if kind == flow.GroupSelect {
		b.Weight = uint16(rapid.IntRange(1, 500).Draw(t, "weight"))
		b.WatchPort = uint32(rapid.IntRange(0, 500).Draw(t, "watch"))
	}
	out := rapid.SampledFrom([]flow.Action{flow.Output{Port: 7}, flow.CT{Zone: 7, Table: 7}}).Draw(t, "out")
	for _, a := range rapid.SliceOfN(anyWrite(), 0, 3).Draw(t, "actions") {
		longer := append(b.Actions[:len(b.Actions):len(b.Actions)], a)
		if (flow.Group{Buckets: []flow.Bucket{{Actions: append(longer, out)}}}).Check() == nil {
			b.Actions = longer
		}
	}
	b.Actions = append(b.Actions, out)
	return b
}
