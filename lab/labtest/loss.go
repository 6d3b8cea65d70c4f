package labtest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/overlane/overlane/lab"
)

// A machine that has other work loses packets too: a userspace switch that does not run for a tenth of a second has no
// room for what comes. So a test that counts what an event loses must tell the event's loss from the machine's.
// [Watch.Lossless] is the way to do that.

// Packet is one of a flow: when it was sent, and when it, or its answer, came; zero: it has not.
type Packet struct{ Sent, Came time.Time }

// Loss is what traffic has lost in a window of time.
type Loss struct {
	Sent, Lost int
	Pause      time.Duration // the longest time between packets of a flow
	Runs       []Run         // what was lost, in the order of flows
}

// Run is packets of one flow that were lost one after the other, by when the first and the last of them were sent.
type Run struct {
	Lost        int
	First, Last time.Time
}

// Add adds a flow, of which the packets are in the order in which they were sent.
func (l *Loss) Add(flow []Packet) {
	var run Run
	var last time.Time
	l.Sent += len(flow)
	for _, p := range flow {
		switch {
		case p.Came.IsZero() && run.Lost == 0:
			run = Run{1, p.Sent, p.Sent}
		case p.Came.IsZero():
			run.Lost, run.Last = run.Lost+1, p.Sent
		default:
			l.addRun(run)
			if run = (Run{}); !last.IsZero() {
				l.Pause = max(l.Pause, p.Came.Sub(last))
			}
			last = p.Came
		}
	}
	l.addRun(run)
}

func (l *Loss) addRun(r Run) {
	if r.Lost > 0 {
		l.Lost += r.Lost
		l.Runs = append(l.Runs, r)
	}
}

// shownRuns bounds what a failure lists.
const shownRuns = 6

func (l Loss) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d of %d lost, longest pause %s", l.Lost, l.Sent, l.Pause.Round(time.Millisecond))
	for i, r := range l.Runs {
		if i == shownRuns {
			fmt.Fprintf(&b, ", and %d more", len(l.Runs)-i)
			break
		}
		fmt.Fprintf(&b, ", %d from %s to %s", r.Lost, r.First.Format(clock), r.Last.Format(clock))
	}
	return b.String()
}

const clock = "15:04:05.000"

// Load is traffic that goes on, and is counted in windows of time.
type Load interface {
	fmt.Stringer // its name
	Begin()      // begins a window
	End() Loss   // ends it, once what is on its way has had time to come
}

// Window is what all loads have lost in the same time.
type Window struct {
	Took     time.Duration
	Losses   []string // for a reader, of each load
	Lost     int
	Overflow int // packets that the lab's switches had no room for, of these loads or other traffic
}

func (w Window) String() string {
	return fmt.Sprintf("%d packets lost in %s; %d found a switch's socket full (%s)", w.Lost, w.Took.Round(time.Millisecond), w.Overflow, strings.Join(w.Losses, "; "))
}

// Comparison is what was lost with an event, and without.
type Comparison struct {
	What    string
	With    Window
	Without []Window
}

// Verdict is what a comparison shows.
type Verdict string

// What a comparison may show of an event.
const (
	LosesNothing Verdict = "the event loses nothing"
	Loses        Verdict = "the event loses packets" // that no switch's socket was too full for
	Unclear      Verdict = "the event, or the machine, kept a switch from running"
)

// Verdict judges the difference.
func (c Comparison) Verdict() Verdict {
	if c.With.Lost == 0 {
		return LosesNothing
	}
	if c.With.Lost > c.With.Overflow {
		return Loses
	}
	for _, w := range c.Without {
		if w.Lost >= c.With.Lost {
			return LosesNothing
		}
	}
	return Unclear
}

func (c Comparison) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s: %s", c.What, c.Verdict(), c.With)
	for _, w := range c.Without {
		fmt.Fprintf(&b, "\n\twithout it: %s", w)
	}
	return b.String()
}

// Tries bounds how often an event is repeated. What it does to a switch it does each time; a machine that is busy does
// not.
const Tries = 3

// Lossless repeats a trial while what it shows is unclear, and fails the test if something does lose packets, or if one
// is unclear each time.
func Lossless(t testing.TB, tries int, trial func() []Comparison) {
	t.Helper()
	var unclear []Comparison
	for range tries {
		now := []Comparison{}
		for _, c := range trial() {
			verdict := c.Verdict()
			if verdict == Unclear {
				now = append(now, c)
			}
			if verdict == Loses {
				t.Error(c)
			} else if testing.Verbose() {
				t.Log(c)
			}
		}
		if unclear = now; len(unclear) == 0 || t.Failed() {
			break
		}
	}
	for _, c := range unclear {
		t.Errorf("%s\n(%d tries)", c, tries)
	}
}

// Event is something that is done to a lab while traffic flows.
type Event struct {
	What string
	Do   func()
}

// Watch is a lab, and traffic that goes on in it.
type Watch struct {
	Lab     *lab.Lab
	Loads   []Load
	Recover func() // waits until all flows again; nil: nothing is waited for
}

// Measure does something in a window of its own.
func (w Watch) Measure(t testing.TB, event Event) Window {
	t.Helper()
	for _, l := range w.Loads {
		l.Begin()
	}
	before, began := w.overflows(t), time.Now()
	w.Lab.Log().Info("window begins", "event", event.What)
	time.Sleep(leadTime)
	event.Do()
	time.Sleep(trailTime)
	if w.Recover != nil {
		w.Recover()
	}
	window := Window{Took: time.Since(began)}
	for _, l := range w.Loads {
		lost := l.End()
		window.Lost += lost.Lost
		window.Losses = append(window.Losses, fmt.Sprintf("%s: %s", l, lost))
	}
	window.Overflow = w.overflows(t).Since(before)
	return window
}

// A window begins this long before its event, and ends this long after it.
const (
	leadTime  = 200 * time.Millisecond
	trailTime = time.Second
)

func (w Watch) overflows(t testing.TB) lab.Overflows {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	all, err := w.Lab.Overflows(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Controls are taken of each event at most; they end earlier when the machine turns out to lose as much by itself.
const (
	controls     = 5
	controlsOnce = 20
	controlTime  = 2 * time.Minute // for all of an event
)

// compare does an event and, if that has lost something that it need not be to blame for, measures as long windows in
// which nothing happens.
func (w Watch) compare(t testing.TB, event Event, controls int) Comparison {
	t.Helper()
	c := Comparison{What: event.What, With: w.Measure(t, event)}
	length := c.With.Took - leadTime - trailTime
	for i := 0; i < controls && c.Verdict() == Unclear && time.Duration(i)*c.With.Took < controlTime; i++ {
		c.Without = append(c.Without, w.Measure(t, Event{"nothing happens", func() { time.Sleep(length) }}))
	}
	return c
}

// Lossless wants events to lose nothing that the machine does not lose without them, in windows of the same length with
// the same traffic. The events are a circle: after the last, the first can be done again, which they are if the machine
// is too busy to tell.
func (w Watch) Lossless(t testing.TB, circle ...Event) {
	t.Helper()
	Lossless(t, Tries, func() (all []Comparison) {
		for _, event := range circle {
			all = append(all, w.compare(t, event, controls))
		}
		return all
	})
}

// LosslessOnce is Lossless of what cannot be done again.
func (w Watch) LosslessOnce(t testing.TB, event Event) {
	t.Helper()
	Lossless(t, 1, func() []Comparison { return []Comparison{w.compare(t, event, controlsOnce)} })
}
