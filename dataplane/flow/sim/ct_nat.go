package sim

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"github.com/overlane/overlane/dataplane/flow"
)

const firstEphemeral = 1024

// A translation writes these fields, whatever the family and protocol.
var (
	srcFields = []*flow.Field{flow.IPSrc, flow.IPv6Src}
	dstFields = []*flow.Field{flow.IPDst, flow.IPv6Dst}
	srcPorts  = []*flow.Field{flow.TCPSrc, flow.UDPSrc}
	dstPorts  = []*flow.Field{flow.TCPDst, flow.UDPDst}
)

// pick chooses the translation of a new connection, so that its replies are those of no other. It tries the new port
// (of ICMP and others: none), then, of a destination without a range, other source ports. False if all are taken.
func (t *Connections) pick(c *conn) bool {
	n := c.nat
	addr, port := &c.reply.src.addr, &c.reply.src.port
	if n.Kind == flow.NATSrc {
		addr, port = &c.reply.dst.addr, &c.reply.dst.port
	}
	*addr = n.Addr
	if !c.key.hasPorts() {
		return t.known[c.reply] == nil
	}
	if n.LastPort != 0 && t.tryPorts(&c.reply, port, n.FirstPort, n.LastPort) {
		return true
	}
	if n.Kind == flow.NATSrc && n.LastPort != 0 {
		return false
	}
	return t.tryPorts(&c.reply, &c.reply.dst.port, firstEphemeral, 65535)
}

// tryPorts tries the port that key has, if it is in the range or there is no range to speak of, and then the range.
func (t *Connections) tryPorts(key *connKey, port *uint16, first, last uint16) bool {
	own := *port
	if (own >= first && own <= last || first == firstEphemeral && last == 65535) && t.known[*key] == nil {
		return true
	}
	for next := int(first); next <= int(last); next++ {
		*port = uint16(next)
		if t.known[*key] == nil {
			return true
		}
	}
	*port = own
	return false
}

// translate gives a packet of a connection the addresses and ports that the other side knows, unless that has happened,
// and says so: ", source becomes 1.2.3.4:1024". Of an ICMP error, also the packet within is translated.
func (s *state) translate(c *conn, reply, about bool) string {
	if c.nat == nil || c.nat.Kind == flow.NATKnown || s.ct.state&translated != 0 {
		return ""
	}
	was := c.key
	is := c.reply.reversed()
	if reply {
		was, is = c.reply, c.key.reversed()
	}
	source := (c.nat.Kind == flow.NATSrc) != reply
	if source {
		s.ct.state |= flow.CTSNAT
	} else {
		s.ct.state |= flow.CTDNAT
	}
	if about {
		s.translateInner(is.reversed())
	}
	return s.rewriteEnds(was, is, source, about)
}

// rewriteEnds writes what has changed; of an ICMP error only the address of the side that is translated.
func (s *state) rewriteEnds(was, is connKey, source, about bool) string {
	text := ""
	for _, e := range []struct {
		name        string
		was, is     connEnd
		addr, ports []*flow.Field
		translated  bool
	}{{"source", was.src, is.src, srcFields, srcPorts, source}, {"destination", was.dst, is.dst, dstFields, dstPorts, !source}} {
		switch {
		case about && !e.translated, e.was == e.is:
			continue
		case about || !is.hasPorts():
			s.setAny(e.addr, flow.Addr(e.is.addr))
			text += fmt.Sprintf(", %s becomes %s", e.name, e.is.addr)
			continue
		}
		s.setAny(e.addr, flow.Addr(e.is.addr))
		s.setAny(e.ports, flow.U32(uint32(e.is.port)))
		text += fmt.Sprintf(", %s becomes %s", e.name, netip.AddrPortFrom(e.is.addr, e.is.port))
	}
	return text
}

// setAny writes the one of the fields that the packet has.
func (s *state) setAny(fields []*flow.Field, v flow.Value) {
	for _, f := range fields {
		if s.has(f) && s.get(f) != v {
			s.set(f, v)
		}
	}
}

// translateInner makes the packet in an ICMP error the one that the receiver of the error has sent.
func (s *state) translateInner(is connKey) {
	h := s.at
	icmp := s.frame[h.l4:s.end()]
	b := icmp[8:]
	in := parseInner(h.proto, b)
	l4 := in.l4
	if in.proto == protoTCP && len(b) < l4+20 { // its checksum is cut off
		in.l4 = -1
	}
	src, dst, size := 12, 16, 4
	if in.ip6 == 0 {
		src, dst, size = 8, 24, 16
	}
	write := func(at int, v []byte) {
		if !slices.Equal(b[at:at+len(v)], v) {
			overwrite(b, in, at, v)
		}
	}
	write(src, is.src.addr.AsSlice()[:size])
	write(dst, is.dst.addr.AsSlice()[:size])
	if is.hasPorts() {
		write(l4, binary.BigEndian.AppendUint16(nil, is.src.port))
		write(l4+2, binary.BigEndian.AppendUint16(nil, is.dst.port))
	}
	binary.BigEndian.PutUint16(icmp[2:], 0)
	checksum := ^fold(uint32(sum(icmp)) + s.pseudoHeader(len(icmp)))
	binary.BigEndian.PutUint16(icmp[2:], checksum)
}
