// Package border decides whether a border host, a host of role gateway or edge, takes public traffic. It is pure: the
// agent observes the host, passes the observation as a value, and executes the decision.
// While a border host is open, hosts send public traffic to it, and next hops are active on it. While it is shut, BFD
// tells the peers so ("cpath_down", ovs-vswitchd.conf.db(5)), but the border host still forwards the packets that it
// gets.
package border

import (
	"fmt"
	"time"
)

// Settle is the time without a fault after which a border host that was shut opens, if another one is open. Without it,
// a router or a link that flaps would move the traffic each time.
const Settle = 3 * time.Second

// Observation is everything that a decision depends on, as it is now. Its zero value is a host without the role, of
// which nothing is known.
type Observation struct {
	IsBorder     bool // the view has a next hop of this host
	ViewComplete bool // the agent has received a complete view since it started
	Drained      bool // by intent

	NIC     NIC
	Router  Router
	Flows   Flows
	Tunnels Tunnels
}

// NIC is the interface on the upstream network.
type NIC struct {
	Name    string // as the view has it
	Claimed bool   // reserved for the switch, now or before the agent started
	Refused string // why it cannot be reserved for the switch; empty: no reason is known
	HasPort bool   // the switch has it as a port
	Link    Link
}

// Link is whether an interface is up and its cable plugged in.
type Link uint8

const (
	LinkUnknown Link = iota
	LinkUp
	LinkDown
)

// Router is the upstream router.
type Router struct {
	Address string
	ARP     ARP
}

// ARP is the result of the ARP requests to the upstream router since the agent connected to the switch.
type ARP uint8

const (
	ARPUnasked ARP = iota // no answer yet, and too few requests to conclude anything
	ARPAnswers
	ARPSilent // several requests in a row had no answer
)

// Flows is the agent's knowledge of the switch's flows.
type Flows uint8

const (
	FlowsUnread    Flows = iota // not read since the agent started or connected
	FlowsLost                   // the connection has ended; a restarted switch may have no flows
	FlowsMissing                // read: the flow to the upstream router is missing
	FlowsInherited              // read: the flow to the upstream router is there, from the previous agent
	FlowsPending                // loaded by this agent, with changes that the switch has not confirmed
	FlowsConfirmed              // the switch has confirmed all flows of view and wiring
)

// loaded reports whether this agent has loaded the flows since it connected.
func (f Flows) loaded() bool { return f == FlowsPending || f == FlowsConfirmed }

// Tunnels sums up the BFD sessions to the peers (RFC 5880).
type Tunnels struct {
	Peers     int  // number of sessions
	AnyUp     bool // at least one session is up, even if the peer is shut
	OtherOpen bool // another border host of the upstream network is open

	Underlay     string // the interface that tunnel packets leave by
	UnderlayLink Link
}

// UnderlayMatters reports whether the link of the underlay decides if the host is cut off. Otherwise the agent need not
// look at it.
func (t Tunnels) UnderlayMatters() bool { return t.Peers == 1 && !t.AnyUp }

// State is the decision: whether the border host takes public traffic. Its zero value is shut, without a decision.
type State struct {
	Open        bool
	Since       time.Time // when this agent opened or shut it; zero: unchanged since the previous agent
	Healthy     time.Time // since when Why is empty; zero: it is not
	FlowsLoaded bool      // loaded since the host became a border host; being shut deserves a warning
	Why         Reason    // why it is shut or, if it is open, why it would stay shut
}

// Reason is a cause, and a sentence about it for people.
type Reason struct {
	Cause Cause
	Text  string
}

// Cause identifies a reason.
type Cause uint8

// A fault shuts a border host that is open. An open question only keeps a border host shut.
const (
	None Cause = iota

	// Faults.
	Drained
	NoLink
	RouterSilent
	FlowsGone
	CutOff

	// Questions.
	NICRefused
	FlowsUnconfirmed
	PortMissing
	RouterUnasked
	Settling
)

// Fault reports whether the cause shuts a border host that is open.
func (c Cause) Fault() bool { return Drained <= c && c <= CutOff }

// Decide returns the state that follows from the state before and an observation. Now must not go back: take it from
// [time.Now], whose monotonic reading does not follow the wall clock.
func Decide(before State, o Observation, now time.Time) State {
	if !o.IsBorder {
		if o.ViewComplete {
			return State{}
		}
		return before
	}
	next := before
	next.Why = examine(o)
	next.FlowsLoaded = before.FlowsLoaded || o.Flows.loaded()
	switch {
	case next.Why.Cause != None:
		next.Healthy = time.Time{}
	case before.Healthy.IsZero() || now.Before(before.Healthy):
		next.Healthy = now
	}
	switch {
	case before.Open && next.Why.Cause.Fault():
		next.Open, next.Since = false, now
	case before.Open || next.Why.Cause != None:
	case o.Tunnels.OtherOpen && now.Sub(next.Healthy) < Settle:
		next.Why = Reason{Settling, "all is well, but it has not been for long"}
	default:
		next.Open, next.Since = true, now
	}
	return next
}

// examine returns the first fault or, if there is none, the first open question.
func examine(o Observation) Reason {
	cutOff := o.Tunnels.cutOff()
	switch {
	case o.Drained:
		return Reason{Drained, "it is drained (overlane host drain --undo)"}
	case o.NIC.Claimed && o.NIC.Link == LinkDown:
		return because(NoLink, "interface %s has no link", o.NIC.Name)
	case o.Router.ARP == ARPSilent:
		return because(RouterSilent, "the router %s does not answer ARP", o.Router.Address)
	case o.Flows == FlowsLost, o.Flows == FlowsMissing:
		return Reason{FlowsGone, flowsUnconfirmed}
	case o.Flows.loaded() && cutOff != "":
		return Reason{CutOff, cutOff}
	case o.NIC.Refused != "":
		return Reason{NICRefused, o.NIC.Refused}
	case o.Flows != FlowsConfirmed:
		return Reason{FlowsUnconfirmed, flowsUnconfirmed}
	case !o.NIC.HasPort:
		return because(PortMissing, "the switch does not have interface %s", o.NIC.Name)
	case o.Router.ARP != ARPAnswers:
		return because(RouterUnasked, "the router %s has not answered ARP yet", o.Router.Address)
	}
	return Reason{}
}

const flowsUnconfirmed = "the switch has not confirmed its flows"

func because(c Cause, format string, args ...any) Reason {
	return Reason{c, fmt.Sprintf(format, args...)}
}

// cutOff is why the host counts as cut off from all others; empty: it does not. With a single peer, a dead tunnel may
// also mean that the peer has died, so the link of the underlay must be down as well. A peer that is shut counts as
// reachable.
func (t Tunnels) cutOff() string {
	switch {
	case t.AnyUp || t.Peers == 0:
		return ""
	case !t.UnderlayMatters():
		return "the tunnels to all hosts are dead"
	case t.UnderlayLink == LinkDown:
		return fmt.Sprintf("the tunnel to the only other host is dead, and interface %s has no link", t.Underlay)
	}
	return ""
}
