package openflow

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// buffer is a message being written. Its first error stays.
type buffer struct {
	b   []byte
	err error
}

func (w *buffer) u8(v ...uint8)  { w.b = append(w.b, v...) }
func (w *buffer) u16(v uint16)   { w.b = binary.BigEndian.AppendUint16(w.b, v) }
func (w *buffer) u32(v uint32)   { w.b = binary.BigEndian.AppendUint32(w.b, v) }
func (w *buffer) u64(v uint64)   { w.b = binary.BigEndian.AppendUint64(w.b, v) }
func (w *buffer) bytes(v []byte) { w.b = append(w.b, v...) }

var zeros [64]byte

func (w *buffer) zero(n int) { w.b = append(w.b, zeros[:n]...) }

// pad fills what began at start up to a multiple of 8 bytes.
func (w *buffer) pad(start int) { w.zero(padding(len(w.b) - start)) }

func padding(n int) int { return -n & 7 }

// length writes the number of bytes since start into the 16 bits at the given place.
func (w *buffer) length(at, start int) {
	n := len(w.b) - start
	if w.err != nil {
		return
	}
	if n > MaxLen {
		w.fail(fmt.Errorf("%d bytes are more than the %d that a message can hold", n, MaxLen))
		return
	}
	binary.BigEndian.PutUint16(w.b[at:], uint16(n))
}

func (w *buffer) fail(err error) {
	if w.err == nil {
		w.err = err
	}
}

// message writes a message with its header.
func (w *buffer) message(xid uint32, m Message) {
	start := len(w.b)
	w.u8(Version, uint8(m.kind()), 0, 0)
	w.u32(xid)
	m.encode(w)
	w.length(start+2, start)
}

// property writes a type, the length of it all, and what body writes, padded outside of the length (OpenFlow 1.5.1
// section 7.2.1.2).
func (w *buffer) property(typ uint16, body func()) {
	start := len(w.b)
	w.u16(typ)
	w.u16(0)
	body()
	w.length(start+2, start)
	w.pad(start)
}

// cursor reads through a message. Its first error stays, and from then on it gives zeros.
type cursor struct {
	b   []byte
	err error
}

var errShort = errors.New("ends too early")

// take gives the next n bytes, or nil.
func (c *cursor) take(n int) []byte {
	if n < 0 || n > len(c.b) || c.err != nil {
		c.fail(errShort)
		return nil
	}
	b := c.b[:n:n]
	c.b = c.b[n:]
	return b
}

func (c *cursor) fail(err error) {
	if c.err == nil {
		c.err = err
	}
	c.b = nil
}

func (c *cursor) skip(n int)   { c.take(n) }
func (c *cursor) more() bool   { return len(c.b) > 0 }
func (c *cursor) rest() []byte { return c.take(len(c.b)) }

func (c *cursor) u8() uint8 {
	if b := c.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (c *cursor) u16() uint16 {
	if b := c.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (c *cursor) u32() uint32 {
	if b := c.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (c *cursor) u64() uint64 {
	if b := c.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// sub gives a cursor over the next n bytes. Its error is its own: see [cursor.adopt].
func (c *cursor) sub(n int) *cursor { return &cursor{b: c.take(n), err: c.err} }

// adopt takes over the error of a cursor made by sub.
func (c *cursor) adopt(s *cursor) {
	if s.err != nil {
		c.fail(s.err)
	}
}

// tolerate is adopt, except that an ErrUnknown in s is returned and does not fail c.
func (c *cursor) tolerate(s *cursor) error {
	if errors.Is(s.err, ErrUnknown) {
		return s.err
	}
	c.adopt(s)
	return nil
}

// property reads what [buffer.property] wrote: its type and its body. Padding that the end of the message cuts off is
// not missed.
func (c *cursor) property() (typ uint16, body *cursor) {
	typ = c.u16()
	n := int(c.u16())
	body = c.sub(n - 4)
	c.skip(min(padding(n), len(c.b)))
	return typ, body
}

// entry reads the body of something whose first 16 bits are its length.
func (c *cursor) entry() *cursor { return c.sub(int(c.u16()) - 2) }
