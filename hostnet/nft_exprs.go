package hostnet

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Offsets in the headers of IPv4 (RFC 791 section 3.1) and UDP (RFC 768).
const (
	ipSource      = 12
	ipDestination = 16
	udpDestPort   = 2
)

// What is done with a packet.
var (
	accept          = exprs{&expr.Verdict{Kind: expr.VerdictAccept}}
	acceptUntracked = exprs{&expr.Notrack{}, &expr.Verdict{Kind: expr.VerdictAccept}}
	setMark         = slices.Concat(mark, bits(^uint32(remoteMask), remoteMark), exprs{&expr.Meta{Key: expr.MetaKeyMARK, Register: 1, SourceRegister: true}})
)

func jumpTo(chain string) exprs { return exprs{&expr.Verdict{Kind: expr.VerdictJump, Chain: chain}} }

// drop drops what all of these match.
func drop(counter string, matches ...exprs) exprs {
	return append(slices.Concat(matches...),
		&expr.Objref{Type: int(nftables.ObjTypeCounter), Name: counter},
		&expr.Verdict{Kind: expr.VerdictDrop},
	)
}

// What of a packet is compared.
var (
	cameBy = exprs{&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1}}
	goesBy = exprs{&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1}}
	mark   = exprs{&expr.Meta{Key: expr.MetaKeyMARK, Register: 1}}
)

// address loads one of the addresses of the packet.
func address(offset uint32) exprs {
	return exprs{&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: 4}}
}

// network loads the first bits of an address.
func network(bits int, offset uint32) exprs {
	return append(address(offset), &expr.Bitwise{
		SourceRegister: 1, DestRegister: 1, Len: 4, Mask: binary.BigEndian.AppendUint32(nil, netmask(bits)), Xor: make([]byte, 4),
	})
}

func netmask(bits int) uint32 { return ^uint32(0) << (32 - bits) }

// bits keeps some of what was loaded, and turns others over.
func bits(keep, turn uint32) exprs {
	return exprs{&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: native32(keep), Xor: native32(turn)}}
}

func native32(n uint32) []byte { return binaryutil.NativeEndian.PutUint32(n) }

func is(value []byte) exprs    { return exprs{&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: value}} }
func isNot(value []byte) exprs { return exprs{&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: value}} }

// isIn matches packets of which what was loaded is in the set.
func isIn(name string, load exprs) exprs {
	return slices.Concat(load, exprs{&expr.Lookup{SourceRegister: 1, SetName: name}})
}

func isNotIn(name string, load exprs) exprs {
	return slices.Concat(load, exprs{&expr.Lookup{SourceRegister: 1, SetName: name, Invert: true}})
}

func within(p netip.Prefix, offset uint32) exprs {
	return slices.Concat(network(p.Bits(), offset), is(p.Addr().AsSlice()))
}

func outOf(p netip.Prefix, offset uint32) exprs {
	return slices.Concat(network(p.Bits(), offset), isNot(p.Addr().AsSlice()))
}

func from(name string) exprs  { return slices.Concat(cameBy, is(interfaceName(name))) }
func to(name string) exprs    { return slices.Concat(goesBy, is(interfaceName(name))) }
func notTo(name string) exprs { return slices.Concat(goesBy, isNot(interfaceName(name))) }

// fromEdgePorts matches what comes in by any port that leads to an edge.
var fromEdgePorts = slices.Concat(cameBy, is([]byte(EdgePorts)))

var hasMark = slices.Concat(mark, bits(remoteMask, 0), is(native32(remoteMark)))

// state matches connections in any of these states.
func state(any uint32) exprs {
	return slices.Concat(exprs{&expr.Ct{Register: 1, Key: expr.CtKeySTATE}}, bits(any, 0), isNot(make([]byte, 4)))
}

// toPort matches UDP to the tunnel port.
func toPort(port uint16) exprs {
	return exprs{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_UDP}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: udpDestPort, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binary.BigEndian.AppendUint16(nil, port)},
	}
}

// notTheWayBack matches what came in by an interface that does not lead back to its source (RFC 3704 section 2.2,
// strict). A container may send in any name, but not from where the name's owner is.
var notTheWayBack = exprs{
	&expr.Fib{Register: 1, ResultOIF: true, FlagSADDR: true, FlagIIF: true},
	&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: native32(0)},
}

// fromSocket matches what a process sends, whoever it belongs to. The kernel's own tunnels send without a socket's
// owner, and ovs-vswitchd's pass by below.
var fromSocket = exprs{
	&expr.Meta{Key: expr.MetaKeySKUID, Register: 1},
	&expr.Cmp{Op: expr.CmpOpGte, Register: 1, Data: native32(0)},
}

// notUnicast matches destinations that are the host's own, broadcast, or multicast.
var notUnicast = slices.Concat(
	exprs{&expr.Fib{Register: 1, ResultADDRTYPE: true, FlagDADDR: true}},
	isNot(native32(unix.RTN_UNICAST)),
)
