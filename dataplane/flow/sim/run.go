package sim

import (
	"fmt"
	"slices"

	"github.com/overlane/overlane/dataplane/flow"
)

// run is one packet's way through a switch. What each action does, and when it does nothing, follows OVS
// (ofproto/ofproto-dpif-xlate.c).
type run struct {
	s       *Switch
	state   *state
	result  Result
	where   string // the table, for "lost"
	depth   int
	entered int  // tables and buckets
	tracked int  // how many ct with a table are around the current one
	stopped bool // nothing more happens to this packet: a meter took it, or it went in circles
}

// OVS gives up on a packet that goes about as deep or far, and drops even what it had sent.
const (
	maxDepth   = 64
	maxEntered = 4096

	leastRecirculations = 6 // MAX_RECIRC_DEPTH in lib/dpif-netdev.c up to Open vSwitch 3.2
)

func (r *run) say(format string, args ...any) {
	r.result.Story = append(r.result.Story, Step{Depth: r.depth, Text: fmt.Sprintf(format, args...)})
}

// lose notes why the packet, or this copy of it, goes no further.
func (r *run) lose(format string, args ...any) {
	reason := fmt.Sprintf(format, args...)
	if r.where != "" {
		reason = r.where + ": " + reason
	}
	r.result.Lost = reason
}

// enter looks the packet up in a table and does what the flow says.
func (r *run) enter(id uint8) {
	r.where = r.s.table(id)
	if r.tooFar() {
		return
	}
	f := r.s.tables[id].lookup(r.state)
	if f == nil {
		r.say("%s: no flow takes it", r.where)
		r.lose("no flow takes it")
		return
	}
	r.result.Story = append(r.result.Story, Step{Depth: r.depth, Flow: f, Text: r.s.took(*f)})
	r.lose("%s", r.s.ended(*f))
	r.do(f.Actions)
}

// tooFar counts steps, and gives up on the packet after too many.
func (r *run) tooFar() bool {
	if r.entered++; r.depth <= maxDepth && r.entered <= maxEntered {
		return false
	}
	if !r.stopped {
		r.stopped, r.result.Outputs = true, nil
		r.say("goes in circles")
		r.lose("goes in circles")
	}
	return true
}

// do runs a list of actions. A TTL that would reach zero ends the list, not what called it.
func (r *run) do(list []flow.Action) {
	for i, a := range list {
		if c, ok := a.(flow.CheckLarger); ok && !r.stopped {
			r.checkLarger(c, list[i+1:])
			return
		}
		if r.stopped || !r.act(a) {
			return
		}
	}
}

// act says whether the list goes on.
func (r *run) act(a flow.Action) bool {
	switch a := a.(type) {
	case flow.SetField:
		r.set(a)
	case flow.Move:
		r.move(a)
	case flow.Output:
		r.output(a.Port)
	case flow.OutputReg:
		port := flow.WidePort(uint16(r.state.get(a.Field).Lo))
		r.say("%s says %s", a.Field, r.s.port(port))
		r.output(port)
	case flow.ToGroup:
		r.group(a.ID)
	case flow.Goto:
		r.enter(a.Table)
		return false
	case flow.Resubmit:
		r.resubmit(a.Table)
	case flow.Controller:
		r.controller(a)
	case flow.UseMeter:
		return r.meter(a.ID)
	case flow.DecTTL:
		return r.decTTL()
	case flow.CT:
		r.ct(a)
	case flow.CTClear:
		r.state.clearTracking()
	}
	return true
}

func (r *run) set(a flow.SetField) {
	mask := a.Mask
	if mask.IsZero() {
		mask = a.Field.Exact()
	}
	v := r.state.get(a.Field).AndNot(mask).Or(a.Value)
	if !r.state.set(a.Field, v) {
		r.say("%s: the packet has no such field", a)
	}
}

func (r *run) move(a flow.Move) {
	if !r.state.has(a.Src) || !r.state.has(a.Dst) {
		r.say("%s: the packet has no such field", a)
		return
	}
	mask := flow.Ones(a.Bits)
	bits := r.state.get(a.Src).Shr(a.SrcBit).And(mask)
	r.state.set(a.Dst, r.state.get(a.Dst).AndNot(mask.Shl(a.DstBit)).Or(bits.Shl(a.DstBit)))
}

// output sends to a port, but never back to the one that in_port names: that takes IN_PORT.
func (r *run) output(port uint32) {
	switch port {
	case flow.PortInPort:
		port = r.state.inPort
	case r.state.inPort:
		r.say("not sent: %s is where it came in", r.s.port(port))
		r.lose("%s is where it came in", r.s.port(port))
		return
	}
	if !r.s.hasPort(port) {
		r.say("not sent: there is no port %d", port)
		r.lose("there is no port %d", port)
		return
	}
	if r.s.config.Tunnels[port] && !r.state.tunnel().Dst.IsValid() {
		r.say("not sent: %s, and no tun_dst", r.s.port(port))
		r.lose("%s, and no tun_dst", r.s.port(port))
		return
	}
	r.send(Output{Port: port})
}

func (r *run) controller(a flow.Controller) {
	r.send(Output{Port: flow.PortController, Userdata: a.Userdata})
}

// send fills in the packet as it is now.
func (r *run) send(o Output) {
	o.Frame, o.Tunnel = slices.Clone(r.state.frame), r.state.tunnel()
	r.result.Outputs = append(r.result.Outputs, o)
	by := ""
	if tunnels := r.s.config.Tunnels; tunnels == nil || tunnels[o.Port] {
		by = o.Tunnel.String()
	}
	r.say("sent to %s: %s%s", r.s.port(o.Port), r.state.describe(), by)
}

func (r *run) resubmit(table uint8) {
	where := r.where
	r.depth++
	r.enter(table)
	r.depth--
	r.where = where
}

// group gives each bucket a copy of the packet. Groups of other types than "all" use their first bucket.
func (r *run) group(id uint32) {
	g, ok := r.s.groups[id]
	switch {
	case !ok:
		r.say("group %d does not exist", id)
		r.lose("group %d does not exist", id)
		return
	case len(g.Buckets) == 0:
		r.say("group %d is empty", id)
		r.lose("group %d is empty", id)
		return
	}
	buckets := g.Buckets
	if g.Type != flow.GroupAll {
		buckets = buckets[:1]
	}
	where, whole := r.where, r.state
	r.depth++
	for i, b := range buckets {
		if r.tooFar() {
			break
		}
		r.state = whole.clone()
		r.say("group %s, bucket %d: %s", r.s.config.Symbols.GroupName(id), i, r.s.config.Symbols.Actions(b.Actions))
		r.do(b.Actions)
	}
	r.depth--
	r.where, r.state = where, whole
}

func (r *run) meter(id uint32) bool {
	if !r.s.config.Exceeded[id] {
		return true
	}
	r.say("meter %d is exceeded", id)
	r.lose("meter %d is exceeded", id)
	r.stopped = true
	return false
}

func (r *run) decTTL() bool {
	if !r.state.has(flow.IPTTL) {
		return true
	}
	ttl := r.state.get(flow.IPTTL).Lo
	if ttl <= 1 {
		r.say("TTL is %d: ends here", ttl)
		r.lose("TTL is %d", ttl)
		return false
	}
	r.state.set(flow.IPTTL, flow.U64(ttl-1))
	return true
}

// checkLarger has a copy go on in the list. What its caller does afterwards, it does with the packet as it was.
func (r *run) checkLarger(a flow.CheckLarger, rest []flow.Action) {
	if len(rest) == 0 {
		return
	}
	larger := len(r.state.frame) > int(a.Len)
	r.say("%d bytes, larger than %d: %t", len(r.state.frame), a.Len, larger)
	where, whole, stopped := r.where, r.state, r.stopped
	r.state = whole.clone()
	bit := flow.U64(0)
	if larger {
		bit = flow.U64(1).Shl(a.Bit)
	}
	r.set(flow.SetField{Field: a.Dst, Value: bit, Mask: flow.U64(1).Shl(a.Bit)})
	r.do(rest)
	r.where, r.state, r.stopped = where, whole, stopped
}

// ct tracks the packet, and has a copy go on in the table. What its caller does afterwards, it does with the packet as
// translated, but untracked.
func (r *run) ct(a flow.CT) {
	r.say("ct zone %d: %s", a.Zone, r.s.config.Connections.track(r.state, a))
	if a.Table == 0 {
		r.state.hideTracking()
		return
	}
	if most := r.s.config.Recirculations; r.tracked == most {
		r.say("ct nested more than %d deep", most)
		r.lose("ct nested more than %d deep", most)
		return
	}
	where, whole, stopped := r.where, r.state, r.stopped
	r.state = whole.clone()
	r.state.showTracking()
	r.tracked++
	r.enter(a.Table)
	r.tracked--
	r.where, r.state, r.stopped = where, whole, stopped
	whole.hideTracking()
}
