package hostnet

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Sets of the table.
const (
	peerSet     = "peers"
	reservedSet = "reserved"
	allowedSet  = "allowed"
	exitSet     = "exits"
	closedSet   = "closed"
	hostedSet   = "hosted"
	passedSet   = "passed"
)

// Chains that others jump to.
const (
	guardedChain   = "guarded"   // before others translate destinations and after: either might be guarded
	endpointsChain = "endpoints" // for what comes from an endpoint by the port of an edge
	arrivingChain  = "arriving"  // for what comes to an edge from the host of an endpoint
	passedChain    = "passed"    // for what comes from an edge's switch
)

// linkLocal must not be forwarded (RFC 3927 section 2.7). A cloud's metadata service, which trusts whoever asks for a
// host, lives there.
var linkLocal = netip.MustParsePrefix("169.254.0.0/16")

// A packet that an edge gets in the name of a hosted address bears this mark, in the byte that neither Tailscale,
// Kubernetes nor AWS mark.
const remoteMark, remoteMask = 0x4f000000, 0xff000000

// table describes the nftables table of a host.
//
// It keeps tunnel packets the switch's business: a host's VTEP address proves to its peers that a tunnel packet comes
// from that host's switch, so nothing else on the host may send to their tunnel ports - no process without privileges,
// and no container behind the host, in whatever name. Root on the host is trusted, and could remove the table. It is
// also the only way out for what endpoints send to the outside, and keeps that from the host itself.
func (c Config) table() table {
	return table{sets: c.sets(), counters: c.counters(), chains: c.chains()}
}

func (c Config) sets() []set {
	all := []set{addressSet(peerSet, c.Peers)}
	if !c.forwards() {
		return all
	}
	if n := c.SNAT; n != nil {
		all = append(all, addressSet(reservedSet, n.Reserved), n.allowances(), interfaceSet(exitSet, n.Exits))
	} else {
		all = append(all, addressSet(reservedSet, nil))
	}
	all = append(all, interfaceSet(closedSet, c.closed()))
	if d := c.Direct; d != nil {
		all = append(all, addressSet(hostedSet, d.Hosted), addressSet(passedSet, d.remoteAddresses()))
	}
	return all
}

// allowances leaves out those inside of others, since the kernel refuses ranges that overlap.
func (n SNAT) allowances() set {
	s := set{Set: &nftables.Set{
		Table: ourTable(), Name: allowedSet, KeyType: nftables.MustConcatSetType(nftables.TypeIPAddr, nftables.TypeIPAddr), Interval: true, Concatenation: true,
	}}
	sorted := slices.Clone(n.Allow)
	slices.SortFunc(sorted, func(a, b Allowance) int {
		if by := a.Source.Compare(b.Source); by != 0 {
			return by
		}
		return a.To.Masked().Compare(b.To.Masked())
	})
	var last Allowance
	for _, a := range sorted {
		if a.Source == last.Source && last.To.Contains(a.To.Addr()) {
			continue
		}
		last = a
		source, first := a.Source.AsSlice(), a.To.Masked().Addr().AsSlice()
		end := binary.BigEndian.AppendUint32(nil, binary.BigEndian.Uint32(first)|^netmask(a.To.Bits()))
		s.elements = append(s.elements, nftables.SetElement{Key: slices.Concat(source, first), KeyEnd: slices.Concat(source, end)})
	}
	return s
}

func (c Config) counters() []string {
	if !c.forwards() {
		return []string{Forged}
	}
	return []string{Forged, GuardedAddress, NoExit, Untracked, Unsolicited}
}

// filter is a chain that sees packets before other chains do.
func filter(name string, at *nftables.ChainHook, rules ...exprs) chain {
	return chain{nftables.Chain{Name: name, Type: nftables.ChainTypeFilter, Hooknum: at, Priority: nftables.ChainPriorityRaw}, rules}
}

// regular is a chain that others jump to.
func regular(name string, rules ...exprs) chain { return chain{nftables.Chain{Name: name}, rules} }

func (c Config) chains() []chain {
	toPeer, fromPeer, toTunnel := isIn(peerSet, address(ipDestination)), isIn(peerSet, address(ipSource)), toPort(c.TunnelPort)
	output := []exprs{drop(Forged, toTunnel, toPeer, fromSocket)}
	// The host may be the router between two others, and then hears each from where it sends to it.
	forward := []exprs{
		drop(Forged, toTunnel, toPeer, isNotIn(peerSet, address(ipSource))),
		drop(Forged, toTunnel, toPeer, notTheWayBack),
	}
	var input []exprs
	if c.Inbound {
		input = append(input, drop(Forged, toTunnel, fromPeer, notTheWayBack))
	}
	var jumpedTo, last []chain
	var prerouting []exprs
	if d := c.Direct; d != nil {
		jumpedTo = d.jumpedTo(c.SNAT != nil)
		prerouting = d.prerouting(c.SNAT != nil)
		forward = append(forward, d.forward(c.SNAT != nil)...)
	}
	if n := c.SNAT; n != nil {
		jump := slices.Concat(from(SNATPort), jumpTo(guardedChain))
		jumpedTo = append(jumpedTo, guarded(c.Range))
		prerouting = slices.Concat(prerouting, []exprs{jump}, n.copies())
		forward = append(forward, forwardSNAT(jump)...)
		input = append(input, jump)
		last = []chain{translate(c.Range), leaving(c.Range)}
	}
	if c.SNAT == nil && c.forwards() {
		forward = append(forward, dropClosed)
	}
	all := jumpedTo
	if prerouting != nil {
		all = append(all, filter("prerouting", nftables.ChainHookPrerouting, prerouting...))
	}
	all = append(all, filter("output", nftables.ChainHookOutput, output...), filter("forward", nftables.ChainHookForward, forward...))
	if input != nil {
		all = append(all, filter("input", nftables.ChainHookInput, input...))
	}
	return append(all, last...)
}

func guarded(sources netip.Prefix) chain {
	const secondRegister = 9 // the second 4 bytes of register 1 (NFT_REG32_01)
	allowed := slices.Concat(address(ipSource), exprs{
		&expr.Payload{DestRegister: secondRegister, Base: expr.PayloadBaseNetworkHeader, Offset: ipDestination, Len: 4},
	})
	return regular(guardedChain,
		drop(GuardedAddress, outOf(sources, ipSource)),
		drop(GuardedAddress, within(sources, ipDestination)),
		slices.Concat(isIn(allowedSet, allowed), accept),
		drop(GuardedAddress, isIn(reservedSet, address(ipDestination))),
		drop(GuardedAddress, within(linkLocal, ipDestination)),
		drop(GuardedAddress, notUnicast),
	)
}

// dropClosed is for hosts without SNAT, where [forwardSNAT] lets answers pass.
var dropClosed = drop(Unsolicited, isIn(closedSet, cameBy))

// forwardSNAT may not go on after the jump, which accepts what is allowed.
func forwardSNAT(jump exprs) []exprs {
	const noConnection = expr.CtStateBitINVALID | expr.CtStateBitUNTRACKED
	return []exprs{
		drop(Unsolicited, to(SNATPort), state(noConnection|expr.CtStateBitNEW)),
		drop(Unsolicited, isIn(closedSet, cameBy), notTo(SNATPort)),
		drop(NoExit, from(SNATPort), isNotIn(exitSet, goesBy)),
		drop(Untracked, from(SNATPort), state(noConnection)),
		jump,
	}
}

// copies keeps connections from hearing packets twice: a RST would end one, and then come once more, of none. What is
// to an address of the interface itself is no copy.
func (n SNAT) copies() []exprs {
	if n.Copied == "" {
		return nil
	}
	return []exprs{slices.Concat(
		from(n.Copied),
		exprs{&expr.Fib{Register: 1, ResultADDRTYPE: true, FlagDADDR: true, FlagIIF: true}}, isNot(native32(unix.RTN_LOCAL)),
		exprs{&expr.Notrack{}},
	)}
}

// translate goes by the source, since kernels before 5.7 do not know in postrouting where a packet came in.
func translate(sources netip.Prefix) chain {
	return chain{nftables.Chain{
		Name: "postrouting", Type: nftables.ChainTypeNAT, Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource,
	}, []exprs{append(leaves(sources), &expr.Masq{})}}
}

// leaving drops what has not been translated, for whatever reason.
func leaving(sources netip.Prefix) chain {
	return chain{nftables.Chain{
		Name: "leaving", Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityRef(*nftables.ChainPriorityNATSource + 10),
	}, []exprs{drop(Untracked, leaves(sources))}}
}

func leaves(sources netip.Prefix) exprs {
	return slices.Concat(within(sources, ipSource), isIn(exitSet, goesBy))
}

// jumpedTo are the chains that say which packets take the direct path. Nobody tracks those, and so nobody leads them
// elsewhere.
func (d DirectPath) jumpedTo(hosting bool) (chains []chain) {
	if hosting {
		chains = append(chains, regular(endpointsChain,
			drop(GuardedAddress, isNotIn(hostedSet, address(ipSource))),
			drop(GuardedAddress, isIn(reservedSet, address(ipDestination))),
			drop(GuardedAddress, within(linkLocal, ipDestination)),
			drop(GuardedAddress, notUnicast),
			acceptUntracked,
		))
	}
	if d.IsEdge {
		chains = append(chains,
			regular(arrivingChain, drop(GuardedAddress, notUnicast), slices.Concat(setMark, acceptUntracked)),
			regular(passedChain, drop(GuardedAddress, isNotIn(passedSet, address(ipDestination))), acceptUntracked),
		)
	}
	return chains
}

// prerouting comes before the kernel decides on a packet's route. What is for an endpoint here does not go on to
// another host.
func (d DirectPath) prerouting(hosting bool) (rules []exprs) {
	if hosting {
		rules = append(rules,
			slices.Concat(from(d.Underlay), isIn(hostedSet, address(ipDestination)), acceptUntracked),
			slices.Concat(fromEdgePorts, jumpTo(endpointsChain)),
		)
	}
	if d.IsEdge {
		rules = append(rules,
			slices.Concat(from(d.Underlay), isIn(passedSet, address(ipSource)), jumpTo(arrivingChain)),
			slices.Concat(from(UnderlayPort), jumpTo(passedChain)),
		)
	}
	return rules
}

// forward goes by what prerouting has let pass. In the name of an endpoint, nobody else sends to the underlay.
func (d DirectPath) forward(hosting bool) (rules []exprs) {
	if hosting {
		rules = append(rules,
			slices.Concat(from(d.Underlay), to(SNATPort), isIn(hostedSet, address(ipDestination)), accept),
			drop(NoExit, fromEdgePorts, notTo(d.Underlay)),
			slices.Concat(fromEdgePorts, accept),
		)
	}
	if d.IsEdge {
		rules = append(rules,
			slices.Concat(from(d.Underlay), to(UnderlayPort), hasMark, accept),
			drop(Unsolicited, to(UnderlayPort)),
			slices.Concat(from(UnderlayPort), accept),
		)
	}
	if hosting {
		rules = append(rules, drop(GuardedAddress, to(d.Underlay), isIn(hostedSet, address(ipSource))))
	}
	return rules
}
