package firewall

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Outside is the way out for what the switch has translated: it comes in by a port of the switch, and leaves in the name of this host.
type Outside struct {
	Port     string       // interface by which it comes in
	Range    netip.Prefix // its sources, which the outside never sees
	Exits    []string     // interfaces that it may leave by, sorted; nobody else's network is reached
	Reserved []netip.Addr // addresses of hosts and servers, sorted; like the host's own, they are reached by an allowance only
	Allow    []Allowance
	Closed   []string // exits, sorted, that forward for this only, and for nobody else
	Copied   string   // interface whose packets the switch has taken, and the kernel sees copies of; empty if there is none
}

// Allowance lets one source reach what would be guarded.
type Allowance struct {
	Source netip.Addr
	To     netip.Prefix
}

func (o Outside) equal(p Outside) bool {
	return slices.Equal(o.Exits, p.Exits) && slices.Equal(o.Reserved, p.Reserved) && slices.Equal(o.Closed, p.Closed) && slices.Equal(o.Allow, p.Allow)
}

func (o Outside) check() error {
	if !o.Range.Addr().Is4() || o.Range != o.Range.Masked() {
		return fmt.Errorf("the way outside: range %s is no network of IPv4; give one such as 100.64.0.0/10", o.Range)
	}
	for _, name := range slices.Concat([]string{o.Port}, o.Exits, o.Closed) {
		if name == "" || len(name) >= unix.IFNAMSIZ {
			return fmt.Errorf("the way outside: %q is no name of an interface; give one of 1 to %d bytes", name, unix.IFNAMSIZ-1)
		}
	}
	if len(o.Copied) >= unix.IFNAMSIZ {
		return fmt.Errorf("the way outside: %q is no name of an interface; give one of up to %d bytes", o.Copied, unix.IFNAMSIZ-1)
	}
	for _, a := range o.Reserved {
		if !a.Is4() {
			return fmt.Errorf("the way outside: reserved address %s is none of IPv4", a)
		}
	}
	for _, a := range o.Allow {
		if !a.Source.Is4() || !a.To.Addr().Is4() {
			return fmt.Errorf("the way outside: allowance of %s for %s is not of IPv4", a.To, a.Source)
		}
	}
	return nil
}

func (o Outside) sets() []set { return []set{o.allowances(), interfaces(exitSet, o.Exits)} }

func interfaces(name string, of []string) set {
	s := set{Set: &nftables.Set{Table: table(), Name: name, KeyType: nftables.TypeIFName, KeyByteOrder: binaryutil.NativeEndian}}
	for _, i := range of {
		s.elements = append(s.elements, nftables.SetElement{Key: ifname(i)})
	}
	return s
}

// ifname is a name as the kernel compares it.
func ifname(name string) []byte {
	padded := make([]byte, unix.IFNAMSIZ)
	copy(padded, name)
	return padded
}

// allowances leaves out those inside of others, since the kernel refuses ranges that overlap.
func (o Outside) allowances() set {
	s := set{Set: &nftables.Set{
		Table: table(), Name: allowedSet, KeyType: nftables.MustConcatSetType(nftables.TypeIPAddr, nftables.TypeIPAddr), Interval: true, Concatenation: true,
	}}
	sorted := slices.Clone(o.Allow)
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

func netmask(bits int) uint32 { return ^uint32(0) << (32 - bits) }

// guardedChain is gone through before others translate destinations and after: either might be a guarded one.
const guardedChain = "guarded"

// linkLocal must not be forwarded (RFC 3927 section 2.7). A cloud's metadata service, which trusts whoever asks for a host, lives there.
var linkLocal = netip.MustParsePrefix("169.254.0.0/16")

func (o Outside) guarded() chain {
	const secondRegister = 9 // the second 4 bytes of register 1 (NFT_REG32_01)
	allowed := slices.Concat(address(ipSource), rule{
		&expr.Payload{DestRegister: secondRegister, Base: expr.PayloadBaseNetworkHeader, Offset: ipDestination, Len: 4},
	})
	return regular(guardedChain,
		drop(GuardedHost, outOf(o.Range, ipSource)),
		drop(GuardedHost, within(o.Range, ipDestination)),
		append(isIn(allowedSet, allowed), &expr.Verdict{Kind: expr.VerdictAccept}),
		drop(GuardedHost, isIn(reservedSet, address(ipDestination))),
		drop(GuardedHost, within(linkLocal, ipDestination)),
		drop(GuardedHost, notUnicast),
	)
}

// forward may not go on after the jump, which accepts what is allowed.
func (o Outside) forward(jump rule) []rule {
	const noConnection = expr.CtStateBitINVALID | expr.CtStateBitUNTRACKED
	return []rule{
		drop(Unsolicited, to(o.Port), state(noConnection|expr.CtStateBitNEW)),
		drop(Unsolicited, isIn(closedSet, cameBy), notTo(o.Port)),
		drop(NoExit, o.cameIn(), isNotIn(exitSet, goesBy)),
		drop(Untracked, o.cameIn(), state(noConnection)),
		jump,
	}
}

// copies keeps connections from hearing packets twice: a RST would end one, and then come once more, of none. What is to an address of the interface
// itself is no copy.
func (o Outside) copies() []rule {
	if o.Copied == "" {
		return nil
	}
	return []rule{slices.Concat(
		rule{&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1}}, is(ifname(o.Copied)),
		rule{&expr.Fib{Register: 1, ResultADDRTYPE: true, FlagDADDR: true, FlagIIF: true}}, isNot(binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL)),
		rule{&expr.Notrack{}},
	)}
}

// translate goes by the source, since kernels before 5.7 do not know in postrouting where a packet came in.
func (o Outside) translate() chain {
	return chain{nftables.Chain{
		Name: "postrouting", Type: nftables.ChainTypeNAT, Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource,
	}, []rule{append(o.leaves(), &expr.Masq{})}}
}

// leaving drops what has not been translated, for whatever reason.
func (o Outside) leaving() chain {
	return chain{nftables.Chain{
		Name: "leaving", Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityRef(*nftables.ChainPriorityNATSource + 10),
	}, []rule{drop(Untracked, o.leaves())}}
}

func (o Outside) leaves() rule {
	return slices.Concat(within(o.Range, ipSource), isIn(exitSet, goesBy))
}

// cameIn matches what the switch has sent.
func (o Outside) cameIn() rule { return from(o.Port) }

func is(value []byte) rule    { return rule{&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: value}} }
func isNot(value []byte) rule { return rule{&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: value}} }

func within(p netip.Prefix, offset uint32) rule {
	return slices.Concat(network(p.Bits(), offset), is(p.Addr().AsSlice()))
}

func outOf(p netip.Prefix, offset uint32) rule {
	return slices.Concat(network(p.Bits(), offset), isNot(p.Addr().AsSlice()))
}

// network loads the first bits of an address.
func network(bits int, offset uint32) rule {
	return append(address(offset), &expr.Bitwise{
		SourceRegister: 1, DestRegister: 1, Len: 4, Mask: binary.BigEndian.AppendUint32(nil, netmask(bits)), Xor: make([]byte, 4),
	})
}

// state matches connections in any of these states.
func state(bits uint32) rule {
	return slices.Concat(rule{
		&expr.Ct{Register: 1, Key: expr.CtKeySTATE},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(bits), Xor: make([]byte, 4)},
	}, isNot(make([]byte, 4)))
}

// notUnicast matches destinations that are the host's own, broadcast, or multicast.
var notUnicast = slices.Concat(
	rule{&expr.Fib{Register: 1, ResultADDRTYPE: true, FlagDADDR: true}},
	isNot(binaryutil.NativeEndian.PutUint32(unix.RTN_UNICAST)),
)

func jumpTo(chain string) rule { return rule{&expr.Verdict{Kind: expr.VerdictJump, Chain: chain}} }
