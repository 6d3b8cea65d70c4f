package flow

import (
	"net/netip"
	"slices"
)

// Part is something that [On] puts into a match: a [Term], or a [Match] of several.
type Part interface{ terms() []Term }

func (t Term) terms() []Term  { return []Term{t} }
func (m Match) terms() []Term { return m }

// What later terms need first: On(TCP, Eq(TCPDst, U32(80))).
var (
	IP    = Match{Eq(EthType, U32(0x0800))}
	IP6   = Match{Eq(EthType, U32(0x86dd))}
	ARP   = Match{Eq(EthType, U32(0x0806))}
	ICMP  = Match{IP[0], Eq(IPProto, U32(1))}
	TCP   = Match{IP[0], Eq(IPProto, U32(6))}
	UDP   = Match{IP[0], Eq(IPProto, U32(17))}
	ICMP6 = Match{IP6[0], Eq(IPProto, U32(58))}
	TCP6  = Match{IP6[0], Eq(IPProto, U32(6))}
	UDP6  = Match{IP6[0], Eq(IPProto, U32(17))}

	NDSolicit = Match{IP6[0], ICMP6[1], Eq(ICMPv6Type, U32(135)), Eq(ICMPv6Code, U32(0))}
	NDAdvert  = Match{IP6[0], ICMP6[1], Eq(ICMPv6Type, U32(136)), Eq(ICMPv6Code, U32(0))}

	// Untagged takes frames without a VLAN tag.
	Untagged = Masked(VLANTCI, U32(0), U32(0x1fff))
	// Multicast takes frames to a group address, broadcast included.
	Multicast = Masked(EthDst, MAC([6]byte{1}), MAC([6]byte{1}))
)

// Eq is "the field is v".
func Eq(f *Field, v Value) Term { return Term{f, v, f.Exact()} }

// Masked is "the field is v where mask has a one". Other bits of v do not count.
func Masked(f *Field, v, mask Value) Term { return Term{f, v.And(mask), mask} }

// Prefix is "the address is in p". The prefix's family must be the field's.
func Prefix(f *Field, p netip.Prefix) Term {
	return Masked(f, Addr(p.Addr()), Ones(p.Bits()).Shl(f.Bits-p.Bits()))
}

// Flags of ct_state (ovs-fields(7)).
const (
	CTNew  uint32 = 1 << iota // of a connection that is not known, or of which only this direction has been seen
	CTEst                     // of a connection that is known
	CTRel                     // an ICMP error about a connection that is known
	CTRpl                     // against the direction of the connection's first packet
	CTInv                     // of no connection, and can begin none
	CTTrk                     // has been through ct
	CTSNAT                    // its source was translated
	CTDNAT                    // its destination was translated
)

// Tracked is "ct_state has all flags of set, and none of unset": Tracked(CTTrk|CTEst, CTInv) is "+est-inv+trk".
func Tracked(set, unset uint32) Term { return Masked(CTState, U32(set), U32(set|unset)) }

// On joins parts to a match in canonical order. A term given twice counts once, a term that takes everything counts for
// nothing, wide registers become 32-bit ones, and a VLAN's parts become one term. It refuses nothing: two terms that
// contradict each other, or a missing prerequisite, are left for [Match.Check] to find.
func On(parts ...Part) Match {
	n := 0
	for _, p := range parts {
		n += len(p.terms())
	}
	m := make(Match, 0, n)
	for _, p := range parts {
		for _, t := range p.terms() {
			m = appendCanonical(m, t)
		}
	}
	slices.SortStableFunc(m, compareTerms)
	return slices.Compact(joinRegisters(joinVLAN(m)))
}

// joinRegisters joins terms on different bits of one register into one term.
func joinRegisters(m Match) Match {
	joined := m[:0]
	for _, t := range m {
		_, register := location(t.Field, 0, t.Field.Bits)
		if n := len(joined); register && n > 0 && joined[n-1].Field == t.Field && joined[n-1].Mask.And(t.Mask).IsZero() {
			joined[n-1].Value, joined[n-1].Mask = joined[n-1].Value.Or(t.Value), joined[n-1].Mask.Or(t.Mask)
			continue
		}
		joined = append(joined, t)
	}
	return joined
}

// And is the match with more parts.
func (m Match) And(parts ...Part) Match { return On(append(parts, m)...) }

// Lookup finds the term on a field.
func (m Match) Lookup(f *Field) (Term, bool) {
	for _, t := range m {
		if t.Field == f {
			return t, true
		}
	}
	return Term{}, false
}

// Exactly returns the value that the match demands of a whole field.
func (m Match) Exactly(f *Field) (Value, bool) {
	t, ok := m.Lookup(f)
	return t.Value, ok && t.exact()
}

func (t Term) exact() bool { return t.Mask == t.Field.Exact() }

func appendCanonical(m Match, t Term) Match {
	switch {
	case t.Mask.IsZero():
		return m
	case t.Field == InPort16:
		return append(m, Eq(InPort, U32(WidePort(uint16(t.Value.Lo)))))
	}
	narrow := narrowRegisters(t.Field)
	if narrow == nil {
		return append(m, t)
	}
	for i, r := range narrow {
		shift := 32 * (len(narrow) - 1 - i)
		if mask := t.Mask.Shr(shift).And(r.Exact()); !mask.IsZero() {
			m = append(m, Masked(r, t.Value.Shr(shift), mask))
		}
	}
	return m
}

// narrowRegisters are the 32-bit registers that a wide one consists of, the most significant first; nil for any other
// field.
func narrowRegisters(f *Field) []*Field {
	switch {
	case XReg0.order <= f.order && f.order <= XReg7.order:
		i := 2 * (f.order - XReg0.order)
		return Registers[i : i+2]
	case XXReg0.order <= f.order && f.order <= XXReg3.order:
		i := 4 * (f.order - XXReg0.order)
		return Registers[i : i+4]
	}
	return nil
}

// joinVLAN turns vlan_vid and vlan_pcp, each at most once, into vlan_tci.
func joinVLAN(m Match) Match {
	tci := Term{Field: VLANTCI}
	at := -1
	for i, t := range m {
		switch t.Field {
		case VLANVID:
			tci.Value, tci.Mask = tci.Value.Or(t.Value), tci.Mask.Or(t.Mask)
		case VLANPCP:
			tci.Value, tci.Mask = tci.Value.Or(t.Value.Shl(13)).Or(U32(0x1000)), tci.Mask.Or(U32(0xf000))
		default:
			continue
		}
		if at < 0 {
			at = i
		}
	}
	if at < 0 {
		return m
	}
	m[at] = tci
	return slices.DeleteFunc(m, func(t Term) bool { return t.Field == VLANVID || t.Field == VLANPCP })
}

func compareTerms(a, b Term) int { return a.Field.order - b.Field.order }

// WidePort is a 16-bit OpenFlow 1.0 port number as OpenFlow 1.1 and later write it (ovs-fields(7), in_port).
func WidePort(p uint16) uint32 {
	if p >= 0xff00 {
		return 0xffff0000 | uint32(p)
	}
	return uint32(p)
}
