package openflow

import (
	"fmt"
	"time"
)

// Stats are a flow's counters (OXS, OpenFlow 1.5.1 section 7.2.4).
type Stats struct {
	Age     time.Duration // since the flow was added
	Idle    time.Duration // since a packet last took it
	Flows   uint32        // of an aggregate
	Packets uint64
	Bytes   uint64
}

const oxsClass = 0x8002

const (
	oxsDuration = 0
	oxsIdle     = 1
	oxsFlows    = 3
	oxsPackets  = 4
	oxsBytes    = 5
)

func (w *buffer) stats(s Stats) {
	start := len(w.b)
	w.u16(0)
	w.u16(0)
	w.oxs(oxsDuration, splitSeconds(s.Age))
	w.oxs(oxsIdle, splitSeconds(s.Idle))
	w.u32(oxsClass<<16 | oxsFlows<<9 | 4)
	w.u32(s.Flows)
	w.oxs(oxsPackets, s.Packets)
	w.oxs(oxsBytes, s.Bytes)
	w.length(start+2, start)
	w.pad(start)
}

func (w *buffer) oxs(field uint32, v uint64) {
	w.u32(oxsClass<<16 | field<<9 | 8)
	w.u64(v)
}

// splitSeconds is 32 bits of seconds and 32 bits of nanoseconds.
func splitSeconds(d time.Duration) uint64 {
	return uint64(d/time.Second)<<32 | uint64(d%time.Second)
}

func joinSeconds(v uint64) time.Duration {
	return time.Duration(v>>32)*time.Second + time.Duration(uint32(v))
}

func (c *cursor) stats() (s Stats) {
	c.skip(2)
	n := int(c.u16())
	list := cursor{b: c.take(n - 4), err: c.err}
	c.skip(padding(n))
	for list.more() {
		h := list.u32()
		field := cursor{b: list.take(int(h & 0xff)), err: list.err}
		if h>>16 == oxsClass {
			s.read(h>>9&0x7f, &field)
		}
		list.adopt(&field)
	}
	c.adopt(&list)
	return s
}

func (s *Stats) read(field uint32, c *cursor) {
	switch field {
	case oxsDuration:
		s.Age = joinSeconds(c.u64())
	case oxsIdle:
		s.Idle = joinSeconds(c.u64())
	case oxsFlows:
		s.Flows = c.u32()
	case oxsPackets:
		s.Packets = c.u64()
	case oxsBytes:
		s.Bytes = c.u64()
	}
}

func nameOf[N ~uint8 | ~uint16](n N, names ...string) string {
	if int(n) < len(names) && names[n] != "" {
		return names[n]
	}
	return fmt.Sprintf("number %d", uint16(n))
}
