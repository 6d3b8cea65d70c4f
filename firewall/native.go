package firewall

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Native is public traffic that passes this host over the underlay as it is, without a tunnel, between edges and the hosts of endpoints. The kernel
// keeps nothing of its connections, whose two directions need not pass the same hosts. With a way outside ([Outside]), endpoints of this host may have
// public addresses, and are reached by that way's port.
type Native struct {
	Underlay string       // interface that leads to the other hosts
	Edges    string       // what the names of the ports begin with by which endpoints' packets come from the switch, for edges
	Hosted   []netip.Addr // of this host's endpoints, as they are known on the underlay, sorted
	Reserved []netip.Addr // addresses of hosts and servers, sorted, which endpoints do not reach in a public name

	Passage string       // on an edge, the switch's port to the underlay; "": this host is none
	Passed  []netip.Addr // of other hosts' endpoints, as they are known on the underlay, sorted; on an edge
	Mark    uint32       // for what comes from those, by which the host's routing leads it to the passage
	Mask    uint32       // of its bits; those beside it stay as they are

	Closed bool // the underlay's interface forwards for this only, and for nobody else
}

func (n Native) alike(o Native) bool {
	return n.Underlay == o.Underlay && n.Edges == o.Edges && n.Passage == o.Passage && n.Mark == o.Mark && n.Mask == o.Mask
}

func (n Native) equal(o Native) bool {
	return n.Closed == o.Closed && slices.Equal(n.Hosted, o.Hosted) && slices.Equal(n.Reserved, o.Reserved) && slices.Equal(n.Passed, o.Passed)
}

func (n Native) check() error {
	for _, name := range []string{n.Underlay, n.Edges, n.Passage} {
		if name == "" && name != n.Passage || len(name) >= unix.IFNAMSIZ {
			return fmt.Errorf("public traffic over the underlay: %q is no name of an interface; give one of 1 to %d bytes", name, unix.IFNAMSIZ-1)
		}
	}
	for _, a := range slices.Concat(n.Hosted, n.Reserved, n.Passed) {
		if !a.Is4() {
			return fmt.Errorf("public traffic over the underlay: address %s is none of IPv4", a)
		}
	}
	if n.Passage != "" && (n.Mark == 0 || n.Mark&^n.Mask != 0) {
		return fmt.Errorf("public traffic over the underlay: mark %#x has bits beside its mask %#x, or none", n.Mark, n.Mask)
	}
	return nil
}

func (n Native) sets() []set {
	return []set{addresses(hostedSet, n.Hosted), addresses(passedSet, n.Passed)}
}

// Chains for what comes from an endpoint to this host's kernel, from another host to an edge's, and from an edge's switch to its kernel.
const (
	endpointsChain = "endpoints"
	arrivingChain  = "arriving"
	passedChain    = "passed"
)

// judges are the chains that say which packets are carried. Those are tracked by nobody, and so led elsewhere by nobody.
func (n Native) judges(hosting bool) (chains []chain) {
	carried := rule{&expr.Notrack{}, &expr.Verdict{Kind: expr.VerdictAccept}}
	if hosting {
		chains = append(chains, regular(endpointsChain,
			drop(GuardedHost, isNotIn(hostedSet, address(ipSource))),
			drop(GuardedHost, isIn(reservedSet, address(ipDestination))),
			drop(GuardedHost, within(linkLocal, ipDestination)),
			drop(GuardedHost, notUnicast),
			carried,
		))
	}
	if n.Passage != "" {
		chains = append(chains,
			regular(arrivingChain, drop(GuardedHost, notUnicast), slices.Concat(n.setMark(), carried)),
			regular(passedChain, drop(GuardedHost, isNotIn(passedSet, address(ipDestination))), carried),
		)
	}
	return chains
}

// prerouting comes before the kernel decides on a packet's way. What is for an endpoint here is not for the passage.
func (n Native) prerouting(hosting bool) (rules []rule) {
	if hosting {
		rules = append(rules,
			slices.Concat(from(n.Underlay), isIn(hostedSet, address(ipDestination)), rule{&expr.Notrack{}, &expr.Verdict{Kind: expr.VerdictAccept}}),
			slices.Concat(n.fromSwitch(), jumpTo(endpointsChain)),
		)
	}
	if n.Passage != "" {
		rules = append(rules,
			slices.Concat(from(n.Underlay), isIn(passedSet, address(ipSource)), jumpTo(arrivingChain)),
			slices.Concat(from(n.Passage), jumpTo(passedChain)),
		)
	}
	return rules
}

// forward goes by what prerouting has let pass. In the name of an endpoint, nobody else sends to the underlay.
func (n Native) forward(o *Outside) (rules []rule) {
	accept := rule{&expr.Verdict{Kind: expr.VerdictAccept}}
	if o != nil {
		rules = append(rules,
			slices.Concat(from(n.Underlay), to(o.Port), isIn(hostedSet, address(ipDestination)), accept),
			drop(NoExit, n.fromSwitch(), notTo(n.Underlay)),
			slices.Concat(n.fromSwitch(), accept),
		)
	}
	if n.Passage != "" {
		rules = append(rules,
			slices.Concat(from(n.Underlay), to(n.Passage), n.hasMark(), accept),
			drop(Unsolicited, to(n.Passage)),
			slices.Concat(from(n.Passage), accept),
		)
	}
	if o != nil {
		return append(rules, drop(GuardedHost, to(n.Underlay), isIn(hostedSet, address(ipSource))))
	}
	return append(rules, drop(Unsolicited, isIn(closedSet, cameBy)))
}

// fromSwitch matches what comes in by any port that leads to an edge.
func (n Native) fromSwitch() rule { return slices.Concat(cameBy, is([]byte(n.Edges))) }

func (n Native) hasMark() rule {
	return slices.Concat(rule{&expr.Meta{Key: expr.MetaKeyMARK, Register: 1}}, bits(n.Mask, 0), is(native32(n.Mark)))
}

func (n Native) setMark() rule {
	return slices.Concat(rule{&expr.Meta{Key: expr.MetaKeyMARK, Register: 1}}, bits(^n.Mask, n.Mark), rule{&expr.Meta{Key: expr.MetaKeyMARK, Register: 1, SourceRegister: true}})
}

// bits keeps some of what was loaded, and turns others over.
func bits(keep, turn uint32) rule {
	return rule{&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: native32(keep), Xor: native32(turn)}}
}

func native32(n uint32) []byte { return binaryutil.NativeEndian.PutUint32(n) }

var (
	cameBy = rule{&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1}}
	goesBy = rule{&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1}}
)

func from(name string) rule  { return slices.Concat(cameBy, is(ifname(name))) }
func to(name string) rule    { return slices.Concat(goesBy, is(ifname(name))) }
func notTo(name string) rule { return slices.Concat(goesBy, isNot(ifname(name))) }
