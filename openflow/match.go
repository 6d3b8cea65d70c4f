package openflow

import (
	"errors"
	"fmt"

	"github.com/overlane/overlane/dataplane/flow"
)

// ErrUnknown is the error for a match, action or instruction that this package does not know. The message around it is
// well-formed.
var ErrUnknown = errors.New("not known here")

const matchOXM = 1

// Match as bytes is a list of fields, each with a header: 16 bits class, 7 bits field, 1 bit "has a mask", 8 bits
// length of what follows (OpenFlow 1.5.1 section 7.2.3). Prerequisites come first; flow's canonical order sees to that.

var fieldsByNumber = func() map[uint32]*flow.Field {
	fields := make(map[uint32]*flow.Field, len(flow.Fields))
	for _, f := range flow.Fields {
		fields[header(f)>>9] = f
	}
	return fields
}()

// header is the header of a field without a mask.
func header(f *flow.Field) uint32 { return uint32(f.Class)<<16 | uint32(f.ID)<<9 | uint32(f.Bytes()) }

const hasMask = 1 << 8

func (w *buffer) oxm(f *flow.Field, v, mask flow.Value) {
	n := f.Bytes()
	if mask == f.Exact() {
		w.u32(header(f))
		w.value(v, n)
		return
	}
	w.u32(header(f)&^0xff | hasMask | uint32(2*n))
	w.value(v, n)
	w.value(mask, n)
}

// value writes the low n bytes.
func (w *buffer) value(v flow.Value, n int) {
	for i := n - 1; i >= 0; i-- {
		w.b = append(w.b, byte(v.Shr(8*i).Lo))
	}
}

// match writes a match with its header and padding; raw, if there is one, in place of m.
func (w *buffer) match(m flow.Match, raw []byte) {
	start := len(w.b)
	w.u16(matchOXM)
	w.u16(0)
	if raw == nil {
		for _, t := range m {
			w.oxm(t.Field, t.Value, t.Mask)
		}
	}
	w.bytes(raw)
	w.length(start+2, start)
	w.pad(start)
}

// AppendMatch appends the fields of a match as they are on the wire, without a header. Equal matches in canonical order
// give equal bytes.
func AppendMatch(b []byte, m flow.Match) []byte {
	w := buffer{b: b}
	for _, t := range m {
		w.oxm(t.Field, t.Value, t.Mask)
	}
	return w.b
}

// match reads a match's header and padding, and returns its fields as they are.
func (c *cursor) match() []byte {
	typ := c.u16()
	n := int(c.u16())
	fields := c.take(n - 4)
	c.skip(padding(n))
	if typ != matchOXM {
		c.fail(fmt.Errorf("match of type %d", typ))
	}
	return fields
}

// DecodeMatch reads fields as they are on the wire, without a header, into a match in canonical order.
// A field that the flow package does not have is an [ErrUnknown].
func DecodeMatch(b []byte) (flow.Match, error) {
	c := cursor{b: b}
	terms := make(flow.Match, 0, 8)
	for c.more() {
		t, err := c.term()
		if err != nil {
			return nil, err
		}
		terms = append(terms, t)
	}
	if c.err != nil {
		return nil, fmt.Errorf("%w: match: %w", ErrMalformed, c.err)
	}
	return flow.On(terms), nil
}

// decodeKnown is [DecodeMatch] without unknown fields: a packet comes with fields that the request did not ask for.
func (c *cursor) decodeKnown() flow.Match {
	var terms flow.Match
	for c.more() {
		t, err := c.term()
		if err == nil {
			terms = append(terms, t)
		} else if !errors.Is(err, ErrUnknown) {
			c.fail(err)
		}
	}
	return flow.On(terms)
}

// term reads one field. After an error that is an ErrUnknown the cursor is behind the field.
func (c *cursor) term() (flow.Term, error) {
	h := c.u32()
	body := cursor{b: c.take(int(h & 0xff)), err: c.err}
	if c.err != nil {
		return flow.Term{}, c.err
	}
	f := fieldsByNumber[h>>9]
	if f == nil {
		return flow.Term{}, fmt.Errorf("%w: field %d of class %#x", ErrUnknown, h>>9&0x7f, h>>16)
	}
	n, masked := f.Bytes(), h&hasMask != 0
	if want := n * (1 + int(h/hasMask&1)); len(body.b) != want {
		return flow.Term{}, fmt.Errorf("%w: %s has %d bytes, not %d", ErrMalformed, f, len(body.b), want)
	}
	t := flow.Term{Field: f, Value: flow.ValueOf(body.take(n)).And(f.Exact()), Mask: f.Exact()}
	if masked {
		t.Mask = t.Mask.And(flow.ValueOf(body.take(n)))
		t.Value = t.Value.And(t.Mask)
	}
	return t, nil
}
