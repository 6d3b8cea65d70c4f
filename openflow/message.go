// Package openflow turns OpenFlow 1.5 messages, and Open vSwitch's extensions to them, into bytes and back (OpenFlow
// 1.5.1; Open vSwitch's openflow/nicira-ext.h and openflow/openflow-1.5.h for what the standard leaves open). It never
// opens a connection, and it decodes what Overlane uses: other messages come out as [Unknown].
package openflow

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Version is OpenFlow 1.5 on the wire.
const Version = 6

// HeaderLen is the length of the header that every message starts with.
const HeaderLen = 8

// MaxLen is the longest message: its length is a 16-bit number.
const MaxLen = 0xffff

// Message is one OpenFlow message without its header. The types of this package that have an encode method are all
// there are.
type Message interface {
	kind() kind
	encode(w *buffer)
}

// kind is the type of a message in its header (OpenFlow 1.5.1 section 7.1.1).
type kind uint8

const (
	kindHello            kind = 0
	kindError            kind = 1
	kindEchoRequest      kind = 2
	kindEchoReply        kind = 3
	kindExperimenter     kind = 4
	kindFeaturesRequest  kind = 5
	kindFeaturesReply    kind = 6
	kindSetConfig        kind = 9
	kindFlowRemoved      kind = 11
	kindPortStatus       kind = 12
	kindPacketOut        kind = 13
	kindFlowMod          kind = 14
	kindGroupMod         kind = 15
	kindMultipartRequest kind = 18
	kindMultipartReply   kind = 19
	kindBarrierRequest   kind = 20
	kindBarrierReply     kind = 21
	kindSetAsync         kind = 28
	kindMeterMod         kind = 29
	kindRequestForward   kind = 32
	kindBundleControl    kind = 33
	kindBundleAdd        kind = 34
)

// ErrMalformed is the kind of every error of Decode.
var ErrMalformed = errors.New("malformed OpenFlow message")

// Append appends a message to b. The error is a message that has no form on the wire: over 65,535 bytes, or with an
// action of an unknown type.
func Append(b []byte, xid uint32, m Message) ([]byte, error) {
	w := buffer{b: b}
	w.message(xid, m)
	if w.err != nil {
		return b, fmt.Errorf("encode %s: %w", name(m), w.err)
	}
	return w.b, nil
}

// Length reads a message's length from the start of its header, of which there must be 4 bytes. Less than [HeaderLen]
// is an error.
func Length(header []byte) (int, error) {
	n := int(binary.BigEndian.Uint16(header[2:]))
	if n < HeaderLen {
		return 0, fmt.Errorf("%w: length %d", ErrMalformed, n)
	}
	return n, nil
}

// Decode reads one whole message. Byte slices in the message share b's memory.
func Decode(b []byte) (m Message, xid uint32, err error) {
	if len(b) < HeaderLen {
		return nil, 0, fmt.Errorf("%w: %d bytes", ErrMalformed, len(b))
	}
	xid = binary.BigEndian.Uint32(b[4:])
	c := cursor{b: b[HeaderLen:]}
	k := kind(b[1])
	switch n := int(binary.BigEndian.Uint16(b[2:])); {
	case n != len(b):
		return nil, xid, fmt.Errorf("%w: %d bytes say that they are %d", ErrMalformed, len(b), n)
	case b[0] != Version && k != kindHello && k != kindError:
		return nil, xid, fmt.Errorf("%w: version %d", ErrMalformed, b[0])
	}
	m = decodeBody(&c, k)
	if c.err != nil {
		return nil, xid, fmt.Errorf("%w: type %d: %w", ErrMalformed, k, c.err)
	}
	return m, xid, nil
}

func decodeBody(c *cursor, k kind) Message {
	switch k {
	case kindMultipartRequest:
		return decodeMultipartRequest(c)
	case kindMultipartReply:
		return decodeMultipartReply(c)
	case kindExperimenter:
		return decodeExperimenter(c)
	}
	if decode := decoders[k]; decode != nil {
		return decode(c)
	}
	return Unknown{Type: uint8(k), Body: c.rest()}
}

// decoders has the messages that the header's type alone identifies. It is filled by init, because a [BundleAdd] holds
// a message.
var decoders [256]func(*cursor) Message

func init() {
	decoders = [256]func(*cursor) Message{
		kindHello:           decodeHello,
		kindError:           decodeError,
		kindEchoRequest:     func(c *cursor) Message { return EchoRequest{c.rest()} },
		kindEchoReply:       func(c *cursor) Message { return EchoReply{c.rest()} },
		kindFeaturesRequest: func(*cursor) Message { return FeaturesRequest{} },
		kindFeaturesReply:   decodeFeaturesReply,
		kindSetConfig:       func(c *cursor) Message { return SetConfig{c.u16(), c.u16()} },
		kindFlowRemoved:     decodeFlowRemoved,
		kindPortStatus:      decodePortStatus,
		kindPacketOut:       decodePacketOut,
		kindFlowMod:         decodeFlowMod,
		kindGroupMod:        decodeGroupMod,
		kindBarrierRequest:  func(*cursor) Message { return BarrierRequest{} },
		kindBarrierReply:    func(*cursor) Message { return BarrierReply{} },
		kindSetAsync:        decodeSetAsync,
		kindMeterMod:        decodeMeterMod,
		kindRequestForward:  decodeRequestForward,
		kindBundleControl:   decodeBundleControl,
		kindBundleAdd:       decodeBundleAdd,
	}
}

func name(m Message) string { return fmt.Sprintf("%T", m) }

// Unknown is a message that this package does not know.
type Unknown struct {
	Type uint8
	Body []byte
}

func (m Unknown) kind() kind       { return kind(m.Type) }
func (m Unknown) encode(w *buffer) { w.bytes(m.Body) }
