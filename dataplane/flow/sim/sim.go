// Package sim is a switch as a value: it runs a packet through flows and groups as Open vSwitch would, and tells the
// story of what happened. It never talks to a switch. Mirrors, byte limits on controller packets, and fragments in
// connection tracking are not in it.
package sim

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/overlane/overlane/dataplane/flow"
)

// Config is what a switch contains. Its zero value is a switch that drops everything.
type Config struct {
	Flows    []flow.Flow
	Groups   []flow.Group
	Symbols  flow.Symbols      // for the story
	Ports    map[uint32]string // names, for the story; a packet to a port that is not listed is lost. Nil: every port exists
	Tunnels  map[uint32]bool   // the ports that encapsulate with what tun_id and tun_dst say. Nil: unknown; the story then tells of them at every port
	Exceeded map[uint32]bool   // meters that have no credit left

	// Recirculations bounds how deep actions ct with a table may be nested. Zero: six, which every version of Open
	// vSwitch allows.
	Recirculations int

	Connections *Connections // what connection tracking remembers; nil: begins with none. Switches in turn may share it, as flows change and connections stay
}

// Switch runs packets. Between two of them it keeps connections only. Several goroutines may use it at once.
type Switch struct {
	config Config
	tables map[uint8]*table
	groups map[uint32]flow.Group
}

// Packet is a packet as it arrives.
type Packet struct {
	InPort uint32
	Frame  []byte                     // Ethernet, without FCS; at least 14 bytes
	Tunnel Tunnel                     // if it came by a tunnel port
	Fields map[*flow.Field]flow.Value // registers, metadata and marks that are not zero
}

// Output is a packet as it leaves.
type Output struct {
	Port     uint32 // flow.PortController for the controller
	Frame    []byte
	Tunnel   Tunnel // what a tunnel port encapsulates with
	Userdata []byte // of a packet to the controller
}

// Result is what became of a packet.
type Result struct {
	Outputs []Output
	Story   []Step
	Lost    string // why nothing came out; empty if something did
}

// Step is one line of a story.
type Step struct {
	Depth int        // of resubmits and buckets
	Flow  *flow.Flow // the flow that took the packet; nil for what happened within, and for a table where none did
	Text  string
}

// New makes a switch. It does not check the flows; see [flow.Soundness].
func New(c Config) *Switch {
	s := &Switch{config: c, tables: classify(c.Flows), groups: map[uint32]flow.Group{}}
	if c.Connections == nil {
		s.config.Connections = &Connections{}
	}
	s.config.Recirculations = cmp.Or(c.Recirculations, leastRecirculations)
	for _, g := range c.Groups {
		s.groups[g.ID] = g
	}
	return s
}

// Send runs a packet through the switch, from table 0.
func (s *Switch) Send(p Packet) Result {
	r := &run{s: s}
	if len(p.Frame) < 14 {
		r.lose("frame of %d bytes", len(p.Frame))
		return r.result
	}
	r.state = newState(p)
	by := ""
	if s.config.Tunnels[p.InPort] {
		by = p.Tunnel.String()
	}
	r.say("arrives at %s: %s%s", s.port(p.InPort), r.state.describe(), by)
	r.enter(0)
	if len(r.result.Outputs) > 0 {
		r.result.Lost = ""
	}
	return r.result
}

// Forget removes the connections of a zone.
func (s *Switch) Forget(zone uint16) { s.config.Connections.Forget(zone) }

// String is the story, a line for each step, and how it ended.
func (r Result) String() string {
	var b strings.Builder
	for _, step := range r.Story {
		fmt.Fprintf(&b, "%s%s\n", strings.Repeat("  ", step.Depth), step.Text)
	}
	if r.Lost != "" {
		fmt.Fprintf(&b, "lost: %s\n", r.Lost)
	}
	return b.String()
}

// port is how the story calls a port.
func (s *Switch) port(p uint32) string {
	if name, ok := s.config.Ports[p]; ok {
		return fmt.Sprintf("port %d (%s)", p, name)
	}
	switch p {
	case flow.PortLocal:
		return "port LOCAL"
	case flow.PortController:
		return "the controller"
	}
	return fmt.Sprintf("port %d", p)
}

func (s *Switch) hasPort(p uint32) bool {
	_, listed := s.config.Ports[p]
	return s.config.Ports == nil || listed
}

func (s *Switch) table(id uint8) string {
	if name, ok := s.config.Symbols.Tables[id]; ok {
		return name
	}
	return fmt.Sprintf("table %d", id)
}
