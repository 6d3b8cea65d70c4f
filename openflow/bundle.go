package openflow

import "errors"

// BundleStep is a step of a bundle's life, asked for and answered (OpenFlow 1.5.1 section 7.3.9).
type BundleStep uint16

const (
	BundleOpen      BundleStep = 0
	BundleOpened    BundleStep = 1
	BundleClose     BundleStep = 2
	BundleClosed    BundleStep = 3
	BundleCommit    BundleStep = 4
	BundleCommitted BundleStep = 5
	BundleDiscard   BundleStep = 6
	BundleDiscarded BundleStep = 7
)

// Flags of a bundle; every message of it must repeat them.
const (
	BundleAtomic  uint16 = 1 << 0 // all or nothing, and no packet sees a part
	BundleOrdered uint16 = 1 << 1
)

// BundleControl moves a bundle a step on, or answers that it did.
type BundleControl struct {
	ID    uint32
	Step  BundleStep
	Flags uint16
}

func (BundleControl) kind() kind { return kindBundleControl }

func (m BundleControl) encode(w *buffer) {
	w.u32(m.ID)
	w.u16(uint16(m.Step))
	w.u16(m.Flags)
}

func decodeBundleControl(c *cursor) Message {
	m := BundleControl{ID: c.u32(), Step: BundleStep(c.u16()), Flags: c.u16()}
	c.rest() // properties
	return m
}

// BundleAdd puts a message into a bundle. The two have the same xid.
type BundleAdd struct {
	ID      uint32
	Flags   uint16
	XID     uint32 // the BundleAdd's own, for the message within
	Message Message
}

func (BundleAdd) kind() kind { return kindBundleAdd }

func (m BundleAdd) encode(w *buffer) {
	w.u32(m.ID)
	w.u16(0)
	w.u16(m.Flags)
	w.message(m.XID, m.Message)
}

var errBundled = errors.New("no message for a bundle")

func decodeBundleAdd(c *cursor) Message {
	m := BundleAdd{ID: c.u32()}
	c.skip(2)
	m.Flags = c.u16()
	b := c.rest()
	if len(b) < HeaderLen {
		c.fail(errShort)
		return nil
	}
	if k := kind(b[1]); k != kindFlowMod && k != kindGroupMod && k != kindPacketOut {
		c.fail(errBundled)
		return nil
	}
	n, err := Length(b)
	if err != nil || n > len(b) {
		c.fail(errShort)
		return nil
	}
	if m.Message, m.XID, err = Decode(b[:n]); err != nil {
		c.fail(err)
	}
	return m
}
