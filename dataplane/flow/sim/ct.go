package sim

import (
	"fmt"
	"maps"
	"net/netip"
	"sync"

	"github.com/overlane/overlane/dataplane/flow"
)

// Connections are what connection tracking remembers, as OVS's userspace datapath does (lib/conntrack.c), but for ever:
// there are no timeouts and no limits, TCP's sequence numbers are not looked at, and fragments are not put together. A
// new port is not picked at random: it is the packet's own if it will do, else the first that does. The zero value
// knows none.
type Connections struct {
	mu    sync.Mutex
	known map[connKey]*conn // by both directions
}

// connKey is what a packet of a connection looks like.
type connKey struct {
	zone     uint16
	proto    uint8
	src, dst connEnd
}

// connEnd is one side of a connection. Of ICMP, port is the identifier, and kind the type that this side sends.
type connEnd struct {
	addr netip.Addr
	port uint16
	kind uint8
}

func (k connKey) reversed() connKey {
	k.src, k.dst = k.dst, k.src
	return k
}

func (k connKey) hasPorts() bool { return k.proto == protoTCP || k.proto == protoUDP }

// conn is a connection. Without translation, its replies are its packets reversed.
type conn struct {
	key, reply connKey
	nat        *flow.NAT   // nil: none
	tcp        [2]tcpState // of the side that began, and of the other
	answered   bool        // of other protocols: has had a reply
}

// tracking is what connection tracking keeps beside a packet. OVS keeps it until ct_clear, also where flows see nothing
// of it.
type tracking struct {
	state uint32 // ct_state
	zone  uint16
	found *conn // by the last ct, if that did not translate: the next one in the zone takes it as it is
	reply bool
	about bool // found by an ICMP error about it
}

// Forget removes the connections of a zone.
func (t *Connections) Forget(zone uint16) {
	t.mu.Lock()
	defer t.mu.Unlock()
	maps.DeleteFunc(t.known, func(k connKey, _ *conn) bool { return k.zone == zone })
}

// find says whether the key is of a connection's replies.
func (t *Connections) find(key connKey) (c *conn, reply bool) {
	c = t.known[key]
	return c, c != nil && c.key != key
}

func (t *Connections) add(c *conn) {
	if t.known == nil {
		t.known = map[connKey]*conn{}
	}
	t.known[c.key] = c
	if t.known[c.reply] == nil {
		t.known[c.reply] = c
	}
}

func (t *Connections) remove(c *conn) {
	maps.DeleteFunc(t.known, func(_ connKey, other *conn) bool { return c == other })
}

const translated = flow.CTSNAT | flow.CTDNAT

// track runs a packet through connection tracking, and says in words what it found.
func (t *Connections) track(s *state, a flow.CT) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := t.process(s, a)
	s.ct.state |= flow.CTTrk
	s.ct.zone = a.Zone
	return text
}

func (t *Connections) process(s *state, a flow.CT) string {
	p := &s.ct
	if c := p.found; c != nil && c.key.zone == a.Zone {
		text := "the same connection"
		if a.NAT != nil {
			text += s.translate(c, p.reply, p.about)
			p.found = nil
		}
		return text
	}
	key, about, why := s.connKey(a.Zone)
	if why != "" {
		p.state = flow.CTInv
		return "invalid, " + why
	}
	if p.zone != a.Zone {
		p.state = 0
	}
	c, key, reply := t.lookup(key, p.state&translated != 0)
	text := ""
	switch {
	case c == nil && about:
		p.state = flow.CTInv
		text = "invalid, an ICMP error about no connection that is known"
	case c == nil:
		c, text = t.begin(s, a, key)
	case s.update(c, reply, about):
		t.remove(c)
		c, text = t.begin(s, a, key)
	default:
		text = describeState(p.state)
		if a.NAT != nil {
			text += s.translate(c, reply, about)
		}
	}
	p.found, p.reply, p.about = c, reply, about
	if a.NAT != nil {
		p.found = nil
	}
	return text
}

// lookup finds a packet's connection. A packet that was translated in this zone before is known by its replies.
func (t *Connections) lookup(key connKey, natted bool) (c *conn, k connKey, reply bool) {
	if !natted {
		c, reply = t.find(key)
		return c, key, reply
	}
	c, reply = t.find(key.reversed())
	switch {
	case c == nil:
		return nil, key, false
	case reply:
		return c, c.key, false
	}
	return c, c.reply, true
}

// update notes a packet of a known connection, and says whether it begins a new one in place of one that is closed.
func (s *state) update(c *conn, reply, about bool) (again bool) {
	p := &s.ct
	direction := uint32(0)
	if reply {
		direction = flow.CTRpl
	}
	switch {
	case about:
		p.state |= flow.CTRel | direction
		return false
	case c.key.proto == protoTCP:
		switch c.updateTCP(s.frame[s.at.l4+13], reply) {
		case updateInvalid:
			p.state = flow.CTInv
			return false
		case updateAgain:
			return true
		case updateNew:
			p.state |= flow.CTNew
			return false
		}
	case !reply && !c.answered:
		p.state |= flow.CTNew
		return false
	default:
		c.answered = true
	}
	p.state = p.state&^flow.CTNew | flow.CTEst | direction
	return false
}

// begin is for a packet of no known connection.
func (t *Connections) begin(s *state, a flow.CT, key connKey) (*conn, string) {
	if why := s.cannotBegin(); why != "" {
		s.ct.state = flow.CTInv
		return nil, "invalid, " + why
	}
	s.ct.state = flow.CTNew
	if !a.Commit {
		return nil, "new"
	}
	c := &conn{key: key, reply: key.reversed(), nat: a.NAT, tcp: [2]tcpState{tcpSynSent, tcpClosed}}
	text := "new connection"
	if a.NAT != nil {
		if !t.pick(c) {
			return nil, fmt.Sprintf("new, but %s has nothing free: not committed, not translated", a.NAT)
		}
		text += s.translate(c, false, false)
	}
	t.add(c)
	return c, text
}

func describeState(state uint32) string {
	text := "established"
	switch {
	case state&flow.CTInv != 0:
		return "invalid, not what the connection waits for"
	case state&flow.CTRel != 0:
		text = "related"
	case state&flow.CTNew != 0:
		text = "still new"
	}
	if state&flow.CTRpl != 0 {
		text += ", reply"
	}
	return text
}
