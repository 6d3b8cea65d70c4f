package openflow

import "bytes"

// Port is a port of the bridge (OpenFlow 1.5.1 section 7.2.1).
type Port struct {
	Number uint32
	MAC    [6]byte
	Name   string // of the interface; at most 15 bytes
	Config uint32
	State  uint32
}

// Bits of a port's Config and State.
const (
	PortConfigDown uint32 = 1 << 0
	PortStateDown  uint32 = 1 << 0 // no link
	PortStateLive  uint32 = 1 << 2
)

const portNameLen = 16

func (w *buffer) port(p Port) {
	start := len(w.b)
	w.u32(p.Number)
	w.u16(0)
	w.u16(0)
	w.bytes(p.MAC[:])
	w.u16(0)
	var name [portNameLen]byte
	copy(name[:portNameLen-1], p.Name)
	w.bytes(name[:])
	w.u32(p.Config)
	w.u32(p.State)
	w.length(start+4, start)
}

// ports reads ports to the end.
func (c *cursor) ports() []Port {
	var ports []Port
	for c.more() {
		ports = append(ports, c.port())
	}
	return ports
}

func (c *cursor) port() (p Port) {
	p.Number = c.u32()
	n := int(c.u16())
	body := c.sub(n - 6)
	body.skip(2)
	copy(p.MAC[:], body.take(6))
	body.skip(2)
	name, _, _ := bytes.Cut(body.take(portNameLen), []byte{0})
	p.Name = string(name)
	p.Config, p.State = body.u32(), body.u32()
	c.adopt(body)
	return p
}

// PortChange is what a [PortStatus] tells.
type PortChange uint8

const (
	PortAdded    PortChange = 0
	PortDeleted  PortChange = 1
	PortModified PortChange = 2
)

func (p PortChange) String() string { return nameOf(p, "added", "deleted", "modified") }

// PortStatus says that a port came, went or changed (OpenFlow 1.5.1 section 7.4.3).
type PortStatus struct {
	Change PortChange
	Port   Port
}

func (PortStatus) kind() kind { return kindPortStatus }

func (m PortStatus) encode(w *buffer) {
	w.u8(uint8(m.Change))
	w.zero(7)
	w.port(m.Port)
}

func decodePortStatus(c *cursor) Message {
	m := PortStatus{Change: PortChange(c.u8())}
	c.skip(7)
	m.Port = c.port()
	return m
}
