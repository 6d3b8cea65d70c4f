package openflow

import (
	"encoding/binary"
	"fmt"
)

// Error is the switch's answer to a message that it refuses, whose xid it has (OpenFlow 1.5.1 section 7.5.4).
type Error struct {
	Type uint16
	Code uint16
	Data []byte // the beginning of the refused message, or text; after the experimenter's number if Type is 0xffff
}

// BadRequest is the type of errors about a message that the switch does not know, or not so (OFPET_BAD_REQUEST).
const BadRequest = 1

const errorExperimenter = 0xffff

func (Error) kind() kind { return kindError }

func (m Error) encode(w *buffer) {
	w.u16(m.Type)
	w.u16(m.Code)
	w.bytes(m.Data)
}

func decodeError(c *cursor) Message {
	m := Error{Type: c.u16(), Code: c.u16()}
	m.Data = c.rest()
	return m
}

// Error is the name that Open vSwitch prints for the code.
func (m Error) Error() string {
	names := errorNames[m.Type]
	switch {
	case int(m.Code) < len(names):
		return names[m.Code]
	case m.Type == errorExperimenter && len(m.Data) >= 4 && binary.BigEndian.Uint32(m.Data) == nicira && niciraErrorNames[m.Code] != "":
		return niciraErrorNames[m.Code]
	}
	return fmt.Sprintf("OpenFlow error type %d code %d", m.Type, m.Code)
}

// BundleMessageFailed says that a bundle was not committed because of a message in it, about which there is an error of
// its own.
func (m Error) BundleMessageFailed() bool { return m.Type == 17 && m.Code == 13 }
