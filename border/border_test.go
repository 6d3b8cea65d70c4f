package border

import (
	"strings"
	"testing"
	"time"
	"unsafe"
)

// healthy is a border host of which nothing is wrong and nothing unknown, beside another one that is open.
func healthy() Observation {
	return Observation{
		IsBorder: true, ViewComplete: true,
		NIC:     NIC{Name: "eth1", Claimed: true, HasPort: true, Link: LinkUp},
		Router:  Router{Address: "203.0.113.1", ARP: ARPAnswers},
		Flows:   FlowsConfirmed,
		Tunnels: Tunnels{Peers: 3, AnyUp: true, OtherOpen: true},
	}
}

// but is a healthy host with something changed.
func but(change func(o *Observation)) Observation {
	o := healthy()
	change(&o)
	return o
}

var start = time.Now()

// open and shut have been so for long.
var (
	open = State{Open: true, Since: start.Add(-time.Hour), Healthy: start.Add(-time.Hour), FlowsLoaded: true}
	shut = State{Since: start.Add(-time.Hour), FlowsLoaded: true}
)

// Each cause keeps a border host shut; only a fault shuts an open one.
func TestCauses(t *testing.T) {
	for what, tt := range map[string]struct {
		o     Observation
		cause Cause
		text  string
	}{
		"drained": {but(func(o *Observation) { o.Drained = true }), Drained,
			"it is drained (overlane host drain --undo)"},
		"no link": {but(func(o *Observation) { o.NIC.Link = LinkDown }), NoLink,
			"interface eth1 has no link"},
		"link not looked at": {but(func(o *Observation) { o.NIC.Link = LinkUnknown }), None, ""},
		"no link of a NIC that is not it": {but(func(o *Observation) { o.NIC.Link, o.NIC.Claimed = LinkDown, false }),
			None, ""},
		"router silent": {but(func(o *Observation) { o.Router.ARP = ARPSilent }), RouterSilent,
			"the router 203.0.113.1 does not answer ARP"},
		"router not asked yet": {but(func(o *Observation) { o.Router.ARP = ARPUnasked }), RouterUnasked,
			"the router 203.0.113.1 has not answered ARP yet"},
		"switch gone": {but(func(o *Observation) { o.Flows = FlowsLost }), FlowsGone,
			"the switch has not confirmed its flows"},
		"switch empty": {but(func(o *Observation) { o.Flows = FlowsMissing }), FlowsGone,
			"the switch has not confirmed its flows"},
		"switch not read": {but(func(o *Observation) { o.Flows = FlowsUnread }), FlowsUnconfirmed,
			"the switch has not confirmed its flows"},
		"flows of the agent before": {but(func(o *Observation) { o.Flows = FlowsInherited }), FlowsUnconfirmed,
			"the switch has not confirmed its flows"},
		"flows pending": {but(func(o *Observation) { o.Flows = FlowsPending }), FlowsUnconfirmed,
			"the switch has not confirmed its flows"},
		"no port": {but(func(o *Observation) { o.NIC.HasPort = false }), PortMissing,
			"the switch does not have interface eth1"},
		"NIC refused": {but(func(o *Observation) { o.NIC.Refused = "it has an address" }),
			NICRefused, "it has an address"},
		"cut off": {but(func(o *Observation) {
			o.Tunnels = Tunnels{Peers: 2,
				OtherOpen: true}
		}), CutOff, "the tunnels to all hosts are dead"},
		"cut off, flows pending": {but(func(o *Observation) {
			o.Tunnels, o.Flows = Tunnels{Peers: 2, OtherOpen: true},
				FlowsPending
		}), CutOff,
			"the tunnels to all hosts are dead"},
		"no tunnel up before the flows are loaded": {but(func(o *Observation) {
			o.Tunnels,
				o.Flows = Tunnels{Peers: 2, OtherOpen: true}, FlowsInherited
		}), FlowsUnconfirmed,
			"the switch has not confirmed its flows"},
		"the first of several faults": {but(func(o *Observation) {
			o.Drained, o.NIC.Link, o.Router.ARP = true, LinkDown,
				ARPSilent
		}), Drained,
			"it is drained (overlane host drain --undo)"},
		"a fault before a question": {but(func(o *Observation) { o.Flows, o.Router.ARP = FlowsUnread, ARPSilent }),
			RouterSilent, "the router 203.0.113.1 does not answer ARP"},
	} {
		want := Reason{tt.cause, tt.text}
		after := Decide(open, tt.o, start)
		if after.Why != want || after.Open == tt.cause.Fault() {
			t.Errorf("%s: an open one is %+v, want %+v", what, after, want)
		}
		if stayed := after.Since.Equal(open.Since); stayed == tt.cause.Fault() {
			t.Errorf("%s: an open one is as it is since %s", what, after.Since)
		}
		if tt.cause == None {
			want = Reason{Settling, "all is well, but it has not been for long"}
		}
		if after := Decide(shut, tt.o, start); after.Open || after.Why != want {
			t.Errorf("%s: a shut one is %+v, want %+v", what, after, want)
		}
	}
}

// Of two hosts, the one whose underlay has no link is cut off. Of more, the one that sees none of the others.
func TestCutOff(t *testing.T) {
	for what, tt := range map[string]struct {
		tunnels Tunnels
		want    string
	}{
		"no peers":      {Tunnels{UnderlayLink: LinkDown}, ""},
		"1 peer, alive": {Tunnels{Peers: 1, AnyUp: true, UnderlayLink: LinkDown}, ""},
		"1 peer, dead":  {Tunnels{Peers: 1, Underlay: "eth0", UnderlayLink: LinkUp}, ""},
		"1 peer, dead, the underlay has no link": {Tunnels{Peers: 1, Underlay: "eth0", UnderlayLink: LinkDown},
			"the tunnel to the only other host is dead, and interface eth0 has no link"},
		"1 peer, dead, the underlay is not known": {Tunnels{Peers: 1}, ""},
		"2 peers, one of them alive":              {Tunnels{Peers: 2, AnyUp: true}, ""},
		"2 peers, all dead": {Tunnels{Peers: 2, UnderlayLink: LinkUp},
			"the tunnels to all hosts are dead"},
		"3 peers, one of them alive": {Tunnels{Peers: 3, AnyUp: true}, ""},
		"3 peers, all dead":          {Tunnels{Peers: 3}, "the tunnels to all hosts are dead"},
	} {
		after := Decide(open, but(func(o *Observation) { o.Tunnels = tt.tunnels }), start)
		want := Reason{}
		if tt.want != "" {
			want = Reason{CutOff, tt.want}
		}
		if after.Why != want || after.Open != (tt.want == "") {
			t.Errorf("%s: %+v, want %q", what, after, tt.want)
		}
	}
}

// seen is what is observed from then on, and what follows.
type seen struct {
	after time.Duration // since the step before
	o     Observation
	open  bool
	cause Cause
}

// Histories begin with a state, and show what each further observation makes of it.
func TestHistories(t *testing.T) {
	var (
		drained = but(func(o *Observation) { o.Drained = true })
		noLink  = but(func(o *Observation) { o.NIC.Link = LinkDown })
		silent  = but(func(o *Observation) { o.Router.ARP = ARPSilent })
		alone   = but(func(o *Observation) { o.Tunnels.OtherOpen = false })
		allDead = but(func(o *Observation) { o.Tunnels = Tunnels{Peers: 3} })
		lost    = but(func(o *Observation) { o.Flows, o.NIC.Link, o.Router.ARP = FlowsLost, LinkUnknown, ARPUnasked })
		unread  = but(func(o *Observation) {
			o.Flows, o.NIC.Link, o.Router.ARP = FlowsUnread, LinkUnknown,
				ARPUnasked
		})
		empty = but(func(o *Observation) {
			o.Flows, o.NIC.Link, o.Router.ARP = FlowsMissing, LinkUnknown,
				ARPUnasked
		})
		inherits = but(func(o *Observation) {
			o.Flows, o.NIC.Link, o.Router.ARP = FlowsInherited, LinkUnknown,
				ARPUnasked
		})
		unasked = but(func(o *Observation) { o.NIC.Link, o.Router.ARP = LinkUnknown, ARPUnasked })
		pending = but(func(o *Observation) { o.Flows = FlowsPending })
		none    = Observation{}
		never   = Observation{ViewComplete: true}
	)
	for what, tt := range map[string]struct {
		from  State
		steps []seen
	}{
		"the link flaps": {open, []seen{
			{0, noLink, false, NoLink}, {time.Second, healthy(), false, Settling}, {2 * time.Second, noLink, false,
				NoLink},
			{time.Second, healthy(), false, Settling}, {Settle - 1, healthy(), false, Settling},
			{1, healthy(), true, None},
		}},
		"the link flaps at the only open one": {open, []seen{{0, noLink, false, NoLink}, {time.Millisecond, alone, true,
			None}}},
		"the other one shuts meanwhile": {shut, []seen{{0, healthy(), false, Settling},
			{time.Second, alone, true, None}}},
		"the router is silent and answers again": {open, []seen{
			{0, silent, false, RouterSilent}, {time.Minute, silent, false, RouterSilent},
			{0, healthy(), false, Settling}, {Settle, healthy(), true, None},
		}},
		"drained, and drained no more": {open, []seen{
			{0, drained, false, Drained}, {time.Hour, drained, false, Drained}, {0, healthy(), false, Settling},
			{Settle, healthy(), true, None},
		}},
		"drained, although it is the last": {open,
			[]seen{{0, but(func(o *Observation) { o.Drained, o.Tunnels.OtherOpen = true, false }), false, Drained}}},
		"all peers die and live again": {open, []seen{
			{0, allDead, false, CutOff}, {time.Hour, allDead, false, CutOff}, {0, healthy(), false, Settling},
			{Settle, healthy(), true, None},
		}},
		"all peers die for a moment, a false alarm": {open, []seen{{0, allDead, false, CutOff},
			{100 * time.Millisecond, alone, true, None}}},
		"one of the peers seems dead": {open, []seen{
			{0, but(func(o *Observation) { o.Tunnels.OtherOpen = false }), true, None},
			{100 * time.Millisecond, healthy(), true, None},
		}},
		"the switch restarts": {open, []seen{
			{0, lost, false, FlowsGone}, {time.Second, unread, false, FlowsUnconfirmed}, {0, empty, false, FlowsGone},
			{0, unasked, false, RouterUnasked},
			{time.Second, healthy(), false, Settling}, {Settle, healthy(), true, None},
		}},
		"the agent restarts": {State{Open: true}, []seen{
			{0, unread, true, FlowsUnconfirmed}, {0, inherits, true, FlowsUnconfirmed},
			{0, unasked, true, RouterUnasked}, {time.Second, healthy(), true, None},
		}},
		"the agent restarts, the switch meanwhile as well": {State{Open: true}, []seen{
			{0, unread, true, FlowsUnconfirmed}, {0, empty, false, FlowsGone}, {0, unasked, false, RouterUnasked},
			{0, healthy(), false, Settling},
		}},
		"the agent restarts, shut": {State{}, []seen{
			{0, unread, false, FlowsUnconfirmed}, {0, inherits, false, FlowsUnconfirmed},
			{time.Hour, healthy(), false, Settling}, {Settle, healthy(), true, None},
		}},
		"the agent restarts, drained meanwhile": {State{Open: true},
			[]seen{{0, but(func(o *Observation) { o.Drained, o.Flows = true, FlowsUnread }), false, Drained}}},
		"changes of flows interrupt settling": {shut, []seen{
			{0, healthy(), false, Settling}, {time.Second, pending, false, FlowsUnconfirmed},
			{0, healthy(), false, Settling},
			{Settle - time.Second, healthy(), false, Settling}, {time.Second, healthy(), true, None},
		}},
		"changes of flows at an open one": {open, []seen{{0, pending, true, FlowsUnconfirmed},
			{time.Second, healthy(), true, None}}},
		"no border host any more": {open, []seen{{0, none, true, None}, {time.Second, never, false, None}}},
	} {
		now, state := start, tt.from
		for i, step := range tt.steps {
			now = now.Add(step.after)
			before := state
			state = Decide(before, step.o, now)
			if state.Open != step.open || state.Why.Cause != step.cause {
				t.Errorf("%s: step %d: %+v", what, i+1, state)
			}
			if changed := state.Open != before.Open && step.o.IsBorder; changed != (!state.Since.Equal(before.Since) &&
				step.o.IsBorder) {
				t.Errorf("%s: step %d: since %s", what, i+1, state.Since)
			}
		}
	}
}

// A host that has been no border host begins anew when it becomes one.
func TestNoBorderHostForgets(t *testing.T) {
	if got := Decide(open, Observation{ViewComplete: true}, start); got != (State{}) {
		t.Errorf("%+v", got)
	}
	if got := Decide(open, Observation{}, start); got != open {
		t.Errorf("before the view is complete: %+v", got)
	}
}

// That a border host is shut is worth a warning once the flows have been loaded, and from then on.
func TestJudged(t *testing.T) {
	state := State{}
	for i, step := range []struct {
		flows Flows
		want  bool
	}{{FlowsUnread, false}, {FlowsMissing, false}, {FlowsInherited, false}, {FlowsPending, true}, {FlowsLost, true}} {
		if state = Decide(state, but(func(o *Observation) { o.Flows = step.flows }),
			start); state.FlowsLoaded != step.want {
			t.Errorf("step %d: %+v", i+1, state)
		}
	}
}

// The wall clock may jump by hours, as NTP and people set it: what counts is the monotonic clock.
func TestWallClockJumps(t *testing.T) {
	for _, jump := range []time.Duration{-24 * time.Hour, 24 * time.Hour} {
		state := Decide(shut, healthy(), start)
		if state = Decide(state, healthy(), wallShifted(t, start.Add(Settle-1), jump)); state.Open {
			t.Errorf("jump of %s: it opens early", jump)
		}
		if state = Decide(state, healthy(), wallShifted(t, start.Add(Settle), jump)); !state.Open {
			t.Errorf("jump of %s: it does not open", jump)
		}
	}
}

// A clock without a monotonic part that goes back costs no more than settling anew.
func TestClockGoesBack(t *testing.T) {
	now := start.Round(0)
	state := Decide(shut, healthy(), now)
	now = now.Add(-time.Hour)
	state = Decide(state, healthy(), now)
	if state = Decide(state, healthy(), now.Add(Settle-1)); state.Open {
		t.Error("it opens early")
	}
	if state = Decide(state, healthy(), now.Add(Settle)); !state.Open {
		t.Error("it does not open")
	}
}

// wallShifted is a time of which the wall clock has jumped, and the monotonic clock has not. Package time has no
// way to make one: the upper half of its first word are a flag and 33 bits of seconds, above 30 bits of
// nanoseconds.
func wallShifted(t *testing.T, of time.Time, by time.Duration) time.Time {
	t.Helper()
	shifted := of
	*(*uint64)(unsafe.Pointer(&shifted)) += uint64(int64(by/time.Second)) << 30
	if !strings.Contains(shifted.String(), "m=") || shifted.Sub(of) != 0 || shifted.Round(0).Sub(of.Round(0)) != by {
		t.Fatalf("package time is made otherwise: %s of %s", shifted, of)
	}
	return shifted
}
