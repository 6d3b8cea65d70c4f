// Package border decides whether a border host, a host of role gateway or edge, takes public traffic. It is pure:
// the agent looks at the host, hands over what it sees as a value, and carries the decision out.
//
// While a border host is open, hosts send public traffic to it and it holds next hops. While it is shut, BFD tells
// the peers so ("cpath_down", ovs-vswitchd.conf.db(5)); what still comes passes all the same.
package border

import (
	"fmt"
	"time"
)

// Settle is how long nothing may be wrong before a border host that was shut opens, unless no other one is open: a
// router or a link that flaps does not move the traffic each time.
const Settle = 3 * time.Second

// Observation is everything that a decision depends on, as it is now. Its zero value is a host that is no border
// host, of which nothing is known.
type Observation struct {
	IsBorder     bool // the view has a next hop of this host
	ViewComplete bool // a complete view has come since the agent started
	Drained      bool // by intent

	NIC     NIC
	Router  Router
	Flows   Flows
	Tunnels Tunnels
}

// NIC is the interface on the upstream network.
type NIC struct {
	Name    string // as the view has it
	Claimed bool   // it is kept for the switch, or was before the agent started
	Refused string // why it cannot be kept for the switch; empty: nothing is known against it
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

// ARP is what questions to the upstream router came to since the switch was connected.
type ARP uint8

const (
	ARPUnasked ARP = iota // no answer yet, and not enough questions to make anything of that
	ARPAnswers
	ARPSilent // several questions in a row were not answered
)

// Flows is what the agent knows of the switch's flows.
type Flows uint8

const (
	FlowsUnread    Flows = iota // not read since the agent started, or since it connected
	FlowsLost                   // the connection has ended: a switch that starts again may have none
	FlowsMissing                // read: the flow to the upstream router is not there
	FlowsInherited              // read: the flow to the upstream router is there, from the agent before this one
	FlowsPending                // this agent has loaded them, and has changes that the switch has not confirmed
	FlowsConfirmed              // the switch has confirmed what view and wiring ask for
)

// loaded tells whether this agent has loaded the flows since it connected.
func (f Flows) loaded() bool { return f == FlowsPending || f == FlowsConfirmed }

// Tunnels sums up the BFD sessions to the peers (RFC 5880).
type Tunnels struct {
	Peers     int  // sessions that there are
	AnyUp     bool // at least one is up, whether the peer wants traffic or not
	OtherOpen bool // at least one leads to another border host of the upstream network that is open

	Underlay     string // the interface that tunnel packets leave by
	UnderlayLink Link
}

// UnderlayMatters tells that the link of the underlay decides whether the host is cut off. Otherwise nobody needs
// to look.
func (t Tunnels) UnderlayMatters() bool { return t.Peers == 1 && !t.AnyUp }

// State is whether the border host takes public traffic. Its zero value is shut, and has decided nothing.
type State struct {
	Open        bool
	Since       time.Time // when this agent opened or shut it; zero: it is as the agent before this one left it
	Healthy     time.Time // since when Why has been empty; zero: it is not
	FlowsLoaded bool      // the flows have been loaded since the host became a border host, so that being shut is worth a warning
	Why         Reason    // what keeps it shut or, while it is open, what would keep it shut
}

// Reason is a cause, and a sentence about it for people.
type Reason struct {
	Cause Cause
	Text  string
}

// Cause is what keeps a border host shut.
type Cause uint8

// A fault shuts a border host that is open. An open question keeps shut one that is shut.
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

// Fault tells whether the cause shuts a border host that is open.
func (c Cause) Fault() bool { return Drained <= c && c <= CutOff }

// Decide gives the state that follows from what was before and what is observed. Now must not go back; it is best
// read by [time.Now], whose monotonic part does not follow the wall clock.
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

// examine gives the first fault or, if there is none, the first open question.
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

// cutOff tells why the host counts as cut off from all others; empty: it does not. Each of two hosts alone would
// take the death of the other for that, so there the underlay's link must be down as well. A peer that is shut
// counts: it is there.
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
