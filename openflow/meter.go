package openflow

import (
	"fmt"

	"github.com/overlane/overlane/dataplane/flow"
)

// MeterCommand says what a [MeterMod] does.
type MeterCommand uint16

const (
	MeterAdd    MeterCommand = 0
	MeterModify MeterCommand = 1
	MeterDelete MeterCommand = 2 // and with it every flow that names the meter
)

func (c MeterCommand) String() string { return nameOf(c, "added", "modified", "removed") }

// AllMeters is the ID of a request that concerns all meters.
const AllMeters uint32 = 0xffffffff

const (
	meterPackets = 1 << 1
	meterBurst   = 1 << 2
	meterStats   = 1 << 3
	meterDrop    = 1 // the type of a band that drops
)

// MeterMod adds, changes or removes a meter (OpenFlow 1.5.1 section 7.3.4.4). Open vSwitch refuses it inside a bundle.
type MeterMod struct {
	Command MeterCommand
	Meter   flow.Meter // of which Delete looks at the ID only
}

func (MeterMod) kind() kind { return kindMeterMod }

func (m MeterMod) encode(w *buffer) {
	w.u16(uint16(m.Command))
	if m.Command == MeterDelete {
		w.u16(0)
		w.u32(m.Meter.ID)
		return
	}
	w.meter(m.Meter)
}

func decodeMeterMod(c *cursor) Message {
	m := MeterMod{Command: MeterCommand(c.u16())}
	if m.Command == MeterDelete {
		c.skip(2)
		m.Meter.ID = c.u32()
		c.rest()
		return m
	}
	m.Meter = c.meter()
	return m
}

func (w *buffer) meter(m flow.Meter) {
	w.u16(meterPackets | meterBurst | meterStats)
	w.u32(m.ID)
	w.u16(meterDrop)
	w.u16(16)
	w.u32(m.Rate)
	w.u32(m.Burst)
	w.u32(0)
}

const meterLen = 6 + 16 // flags, ID and one band

// meter reads flags, ID and the one band. A meter of another form than flow's is an ErrUnknown.
func (c *cursor) meter() flow.Meter {
	whole := len(c.b) == meterLen
	flags := c.u16()
	m := flow.Meter{ID: c.u32()}
	if c.err == nil && (!whole || flags&^meterStats != meterPackets|meterBurst) {
		c.fail(fmt.Errorf("%w: meter with flags %#x", ErrUnknown, flags))
		return m
	}
	if typ, n := c.u16(), c.u16(); c.err == nil && (typ != meterDrop || n != 16) {
		c.fail(fmt.Errorf("%w: meter band of type %d", ErrUnknown, typ))
	}
	m.Rate, m.Burst = c.u32(), c.u32()
	c.skip(4)
	return m
}
