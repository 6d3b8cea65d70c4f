package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/overlane/overlane/agent/local"
	"github.com/overlane/overlane/border"
	"github.com/overlane/overlane/dataplane"
	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/server/api"
	"github.com/overlane/overlane/view"
)

var (
	routerAddress = netip.MustParseAddr("203.0.113.1")
	routerMAC     = model.MAC{2, 0, 0, 0, 0, 1}
	otherMAC      = model.MAC{2, 0, 0, 0, 0, 2}
)

// upstreamLab is a border host g1 beside another one, g2, and a host, with a pretended switch and upstream network.
// It runs in the time of a synctest bubble.
type upstreamLab struct {
	t        *testing.T
	calls    chan func()
	view     view.View
	wires    dataplane.Wiring
	stale    bool              // the switch has not confirmed changes
	dead     map[string]bool   // peers of which BFD finds nothing
	tells    map[string]string // what BFD says of others; "true" unless it is here
	underlay border.Link
	host     borderHost
	stop     context.CancelFunc
	ended    chan struct{}
	log      bytes.Buffer
	since    time.Time

	mu       sync.Mutex
	state    string        // the folder on disk
	history  []string      // when the border host opened and shut
	warnings []string      // conditions that were set
	nic      string        // that the machine has
	link     bool          // of the NIC
	router   model.MAC     // zero: it does not answer
	delay    time.Duration // of its answers
	twice    bool          // it answers each question twice
	ignores  int           // questions that it is yet to ignore
	broken   bool          // the switch does not send
	asked    int
	says     map[string]int // announcements, by next hop
	at       map[string]time.Time
}

// newUpstreamLab has everything well, and nothing running.
func newUpstreamLab(t *testing.T) *upstreamLab {
	hop := func(host, address string, order ...string) view.NextHop {
		n := view.NextHop{Host: host, Address: netip.MustParsePrefix(address), Router: routerAddress, FailoverOrder: order}
		if host == "g1" {
			n.Interface = "eth1"
		}
		return n
	}
	l := &upstreamLab{t: t, state: t.TempDir(), nic: "eth1", link: true, underlay: border.LinkUp, router: routerMAC, dead: map[string]bool{}, tells: map[string]string{}, says: map[string]int{}, at: map[string]time.Time{}}
	l.view = view.View{Host: "g1", NextHops: map[string]view.NextHop{"g1": hop("g1", "203.0.113.11/24", "g1", "g2"), "g2": hop("g2", "203.0.113.12/24", "g2", "g1")}}
	l.wires = dataplane.Wiring{UpstreamPort: 3, BFDPorts: map[string]uint32{"g2": 100, "host1": 101}}
	return l
}

// PacketOut takes announcements.
func (l *upstreamLab) PacketOut(_ context.Context, _ uint32, _ []flow.Action, frame []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	from := fmt.Sprint(netip.AddrFrom4([4]byte(frame[28:32])))
	l.says[from]++
	l.at[from] = time.Now()
	return nil
}

// PacketOutDone takes questions to the router, who answers.
func (l *upstreamLab) PacketOutDone(_ context.Context, _ uint32, _ []flow.Action, frame []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken {
		return errors.New("the switch is gone")
	}
	if got := netip.AddrFrom4([4]byte(frame[38:42])); got != routerAddress {
		l.t.Errorf("%s is asked, not the router", got)
	}
	l.asked++
	if l.ignores > 0 {
		l.ignores--
		return nil
	}
	if mac := l.router; mac != (model.MAC{}) {
		answers := l.host.answers
		answer := func() {
			select {
			case answers <- mac:
			default:
			}
		}
		time.AfterFunc(l.delay, answer)
		if l.twice {
			time.AfterFunc(l.delay+time.Millisecond, answer)
		}
	}
	return nil
}

func (l *upstreamLab) bfd(host string) map[string]string {
	if l.dead[host] {
		return map[string]string{"state": "down", "forwarding": "false"}
	}
	forwarding := "true"
	if says, ok := l.tells[host]; ok {
		forwarding = says
	}
	return map[string]string{"state": "up", "forwarding": forwarding}
}

func (l *upstreamLab) facts() borderFacts {
	return borderFacts{view: &l.view, complete: true, wiring: &l.wires, upToDate: !l.stale, bfd: l.bfd,
		underlay: func() (string, border.Link) { return "eth0", l.underlay }}
}

// boot starts an agent that finds the state of the one before on disk, and the border host as that has left it.
func (l *upstreamLab) boot(open bool) {
	ctx, stop := context.WithCancel(l.t.Context())
	calls := make(chan func())
	l.calls, l.stop, l.ended = calls, stop, make(chan struct{})
	l.since = time.Now()
	l.history = nil
	l.host = newBorderHost(local.Config{State: l.state, BFDInterval: api.Duration(32 * time.Millisecond)}, borderLoop{
		do: func(ctx context.Context, f func()) {
			select {
			case calls <- f:
			case <-ctx.Done():
			}
		},
		setCondition: func(condition string, err error) {
			if err != nil {
				l.warnings = append(l.warnings, condition+": "+err.Error())
			}
		},
	}, slog.New(slog.NewTextHandler(&l.log, nil)))
	l.host.hasLink = func(nic string) (bool, error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		if nic != l.nic {
			return false, errors.New("there is no " + nic)
		}
		return l.link, nil
	}
	if err := l.host.load(); err != nil {
		l.t.Fatal(err)
	}
	l.host.inherit(open)
	l.host.nic = "eth1"
	go l.run(ctx)
}

// run is the part of the agent's loop that a border host sees.
func (l *upstreamLab) run(ctx context.Context) {
	defer close(l.ended)
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		turn.Lock()
		l.step(ctx)
		turn.Unlock()
		select {
		case f := <-l.calls:
			f()
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

func (l *upstreamLab) step(ctx context.Context) {
	l.host.announce(ctx, l.facts(), l)
	l.decide()
}

func (l *upstreamLab) decide() {
	if l.host.decide(l.facts(), time.Now()) {
		what := "shut"
		if l.host.state.Open {
			what = "open"
		}
		l.history = append(l.history, fmt.Sprint(what, " after ", time.Since(l.since)))
	}
}

// now has the loop run something, and begins the history anew.
func (l *upstreamLab) now(f func()) {
	done := make(chan struct{})
	l.calls <- func() { l.since, l.history = time.Now(), nil; f(); close(done) }
	<-done
	synctest.Wait()
}

// outside changes the upstream network, and begins the history anew.
func (l *upstreamLab) outside(f func()) {
	l.now(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		f()
	})
}

// connect has the switch connected, with or without the flows to the router, and loaded.
func (l *upstreamLab) connect(exit bool) {
	l.now(func() {
		l.host.connected()
		l.host.flowsRead(exit)
		l.decide()
		l.host.flowsLoaded()
	})
}

// halt ends the agent.
func (l *upstreamLab) halt() {
	l.stop()
	<-l.ended
	synctest.Wait()
}

// within wants that the border host has opened or shut once since the history began, not before after and not after
// before.
func (l *upstreamLab) within(what string, after, before time.Duration) {
	l.t.Helper()
	if len(l.history) != 1 {
		l.t.Fatalf("%v, want once %s within %s to %s; %s", l.history, what, after, before, l.log.String())
	}
	got, at, _ := strings.Cut(l.history[0], " after ")
	if d, err := time.ParseDuration(at); err != nil || got != what || d < after || d > before {
		l.t.Fatalf("%v, want %s within %s to %s; %s", l.history, what, after, before, l.log.String())
	}
}

// stays wants that it has not.
func (l *upstreamLab) stays(open bool) {
	l.t.Helper()
	if len(l.history) != 0 || l.host.state.Open != open {
		l.t.Fatalf("%v, and open is %v, want nothing, and %v; %s", l.history, l.host.state.Open, open, l.log.String())
	}
}

// flapsAndStaysShut takes the link away, which shuts the border host, and gives it back, which does not open it.
func (l *upstreamLab) flapsAndStaysShut() {
	l.t.Helper()
	l.outside(func() { l.link = false })
	pass(time.Second)
	l.within("shut", 0, lookAtLink)
	l.outside(func() { l.link = true })
	pass(time.Minute)
	l.stays(false)
}

// questions counts how often the router was asked.
func (l *upstreamLab) questions() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.asked
}

// moves counts how often the router was found with another MAC.
func (l *upstreamLab) moves() int { return strings.Count(l.log.String(), "found the upstream router") }

// turn is the loop's while it works. A test takes it before it lets the loop go on, so that the race detector knows that
// what the test has read was before.
var (
	turn  sync.Mutex
	turns int
)

// pass lets time pass, and waits until what follows is done.
func pass(d time.Duration) {
	turn.Lock()
	turns++
	turn.Unlock()
	time.Sleep(d)
	synctest.Wait()
}

const tick = time.Second // of the loop, which looks whether it has been well for long

// opened runs f with a border host that has opened.
func opened(t *testing.T, f func(l *upstreamLab)) {
	synctest.Test(t, func(t *testing.T) {
		l := newUpstreamLab(t)
		l.boot(false)
		defer l.halt()
		pass(10 * time.Second)
		l.stays(false)
		if len(l.warnings) != 0 {
			t.Errorf("before it knows its flows it warns %q", l.warnings)
		}
		l.connect(false)
		pass(10 * time.Second)
		l.within("open", border.Settle, border.Settle+tick)
		f(l)
	})
}

func TestBorderOpensOnceItIsWell(t *testing.T) {
	opened(t, func(l *upstreamLab) {
		if l.host.kept.RouterMAC != routerMAC || l.moves() != 1 {
			t.Errorf("the router is %s, and has moved %d times", l.host.kept.RouterMAC, l.moves())
		}
	})
}

func TestBorderLinkFlaps(t *testing.T) {
	opened(t, func(l *upstreamLab) {
		l.outside(func() { l.link = false })
		pass(time.Minute)
		l.within("shut", 0, lookAtLink)
		for range 20 { // each time for less than it takes to settle
			l.outside(func() { l.link = true })
			pass(2 * time.Second)
			l.stays(false)
			l.outside(func() { l.link = false })
			pass(time.Second)
			l.stays(false)
		}
		l.warnings = nil
		l.outside(func() { l.link = true })
		pass(time.Minute)
		l.within("open", border.Settle, border.Settle+lookAtLink+tick)
		for _, w := range l.warnings {
			if !strings.Contains(w, "no link") {
				t.Errorf("while it settles it warns %q", w)
			}
		}
	})
}

func TestBorderNICVanishes(t *testing.T) {
	opened(t, func(l *upstreamLab) {
		l.outside(func() { l.nic = "eth2" })
		pass(time.Second)
		l.within("shut", 0, lookAtLink)
	})
}

// A question or two that are lost are nothing; three are the router's silence.
func TestBorderRouterFallsSilent(t *testing.T) {
	opened(t, func(l *upstreamLab) {
		for range 3 {
			l.outside(func() { l.ignores = routerMisses - 1 })
			pass(time.Minute)
			l.stays(true)
		}
		l.outside(func() { l.router = model.MAC{} })
		pass(time.Minute)
		l.within("shut", routerMisses*routerAnswersIn, askRouterAgain+routerMisses*routerAnswersIn)
		l.outside(func() { l.router = routerMAC })
		pass(time.Minute)
		l.within("open", border.Settle, border.Settle+routerAnswersIn+tick)
		if l.moves() != 1 {
			t.Errorf("the router has moved %d times", l.moves())
		}
	})
}

// A second answer to a question is none to the next one.
func TestBorderRouterAnswersTwice(t *testing.T) {
	opened(t, func(l *upstreamLab) {
		l.outside(func() { l.twice = true })
		pass(time.Minute)
		l.outside(func() { l.router = model.MAC{} })
		pass(time.Minute)
		l.within("shut", routerMisses*routerAnswersIn, askRouterAgain+routerMisses*routerAnswersIn)
	})
}

// A switch that does not send is no silence of the router. That it is gone, the connection says.
func TestBorderSwitchDoesNotSend(t *testing.T) {
	opened(t, func(l *upstreamLab) {
		l.outside(func() { l.broken = true })
		pass(time.Minute)
		l.stays(true)
		l.outside(func() { l.broken = false })
		pass(time.Minute)
		l.stays(true)
	})
}

// Another router of the same address is heard of at the next question, and told on.
func TestBorderRouterIsReplaced(t *testing.T) {
	opened(t, func(l *upstreamLab) {
		l.outside(func() { l.router = otherMAC })
		pass(askRouterAgain)
		l.stays(true)
		if l.moves() != 2 || l.host.kept.RouterMAC != otherMAC {
			t.Errorf("moved %d times, %s", l.moves(), l.host.kept.RouterMAC)
		}
	})
}

func TestBorderIsDrainedAndNoMore(t *testing.T) {
	opened(t, func(l *upstreamLab) {
		drain := func(drained bool) {
			l.now(func() {
				own := l.view.NextHops["g1"]
				own.Drain = drained
				l.view.NextHops["g1"] = own
			})
		}
		l.warnings = nil
		drain(true)
		pass(time.Minute)
		l.within("shut", 0, 0)
		if len(l.warnings) != 0 {
			t.Errorf("it is drained on purpose: %q", l.warnings)
		}
		asked := l.questions()
		pass(time.Minute)
		if l.questions()-asked < 50 {
			t.Errorf("the router was asked %d times in a minute", l.questions()-asked)
		}
		drain(false)
		pass(time.Minute)
		l.within("open", border.Settle, border.Settle+tick)
		drain(true)
		l.now(func() { l.tells["g2"] = "false" }) // the other one wants no traffic either
		l.stays(false)
		drain(false)
		l.within("open", 0, 0)
	})
}

func TestBorderIsCutOff(t *testing.T) {
	opened(t, func(l *upstreamLab) {
		l.now(func() { l.dead["host1"] = true })
		pass(time.Minute)
		l.stays(true)
		l.now(func() { l.dead["g2"] = true })
		pass(time.Minute)
		l.within("shut", 0, 0)
		if want := condBorder + ": the tunnels to all hosts are dead"; !slices.Contains(l.warnings, want) {
			t.Errorf("warnings are %q", l.warnings)
		}
		l.now(func() { l.dead["g2"], l.tells["g2"] = false, "false" }) // alone, it does not wait
		pass(time.Minute)
		l.within("open", 0, 0)
	})
}

// A moment in which BFD finds all peers dead shuts the border host, and it opens at once if no other one is open,
// or has settled.
func TestBorderFalseAlarm(t *testing.T) {
	opened(t, func(l *upstreamLab) {
		l.now(func() { l.dead["host1"], l.dead["g2"] = true, true })
		l.within("shut", 0, 0)
		l.now(func() { clear(l.dead) })
		pass(time.Minute)
		l.within("open", border.Settle, border.Settle+tick)
		l.now(func() { l.dead["g2"] = true })
		l.now(func() { clear(l.dead) })
		l.stays(true)
	})
}

func TestBorderSwitchRestarts(t *testing.T) {
	opened(t, func(l *upstreamLab) {
		announced := func() int { l.mu.Lock(); defer l.mu.Unlock(); return l.says["203.0.113.11"] }
		l.now(func() { l.host.disconnected(); l.decide() })
		l.within("shut", 0, 0)
		asked, said := l.questions(), announced()
		pass(time.Minute)
		if l.questions() != asked || announced() != said {
			t.Error("it speaks without a switch")
		}
		l.outside(func() { l.router = model.MAC{} })
		l.connect(false)
		l.stays(false) // the router has answered before, but that was another switch
		if s := l.host.status(l.facts()); s.Answers || s.Reason != "the router 203.0.113.1 has not answered ARP yet" {
			t.Errorf("%+v", s)
		}
		l.outside(func() { l.router = routerMAC })
		pass(time.Minute)
		l.within("open", border.Settle, border.Settle+time.Second+tick)
	})
}

// While the switch has not confirmed its flows, a border host that is shut stays so, and one that is open does.
func TestBorderFlowsArePending(t *testing.T) {
	opened(t, func(l *upstreamLab) {
		l.now(func() { l.stale = true })
		pass(time.Minute)
		l.stays(true)
		l.flapsAndStaysShut()
		l.now(func() { l.stale = false })
		pass(time.Minute)
		l.within("open", border.Settle, border.Settle+tick)
	})
}

// An agent that is started again finds the router on disk, and the border host open, as the database says. Nothing
// shuts it.
func TestBorderAgentRestarts(t *testing.T) {
	opened(t, func(l *upstreamLab) {
		l.halt()
		l.boot(true)
		pass(time.Minute) // the database takes long
		own := l.view.NextHops["g1"]
		if l.host.routerMAC(own) != routerMAC {
			t.Errorf("the router is %s", l.host.routerMAC(own))
		}
		l.outside(func() { l.router = model.MAC{} })
		l.connect(true)
		pass(routerMisses*routerAnswersIn - 1)
		l.stays(true)
		pass(time.Second)
		l.within("shut", routerMisses*routerAnswersIn, routerMisses*routerAnswersIn)
	})
}

func TestBorderAgentAndSwitchRestart(t *testing.T) {
	opened(t, func(l *upstreamLab) {
		l.halt()
		l.boot(true)
		l.connect(false)
		if len(l.history) != 1 || l.history[0] != "shut after 0s" {
			t.Errorf("%v", l.history)
		}
		pass(time.Minute)
		if !l.host.state.Open {
			t.Error("it stays shut")
		}
	})
}

// Every next hop is announced, again and again; a change of the view is heard at once, and flows that are not
// confirmed delay that.
func TestBorderAnnounces(t *testing.T) {
	opened(t, func(l *upstreamLab) {
		const every = 2 * 32 * time.Millisecond
		count := func() map[string]int {
			l.mu.Lock()
			defer l.mu.Unlock()
			said := l.says
			l.says = map[string]int{}
			return said
		}
		count()
		pass(100 * every)
		for address, n := range count() {
			if n < 99 || n > 101 {
				t.Errorf("%s was announced %d times, want 100", address, n)
			}
		}
		l.now(func() {
			l.stale = true
			n := l.view.NextHops["g2"]
			n.Host, n.Address = "g3", netip.MustParsePrefix("203.0.113.13/24")
			l.view.NextHops["g3"] = n
		})
		pass(10 * every)
		if said := count(); said["203.0.113.13"] != 0 || said["203.0.113.11"] == 0 {
			t.Errorf("before its flows are there: %v", said)
		}
		l.now(func() { l.stale = false })
		if said := count(); said["203.0.113.13"] != 1 {
			t.Errorf("once its flows are there: %v", said)
		}
		l.now(func() { l.wires.UpstreamPort = 0 })
		count()
		pass(10 * every)
		if said := count(); len(said) != 0 {
			t.Errorf("without a port it announces %v", said)
		}
		l.now(func() { l.wires.UpstreamPort = 3 })
		if said := count(); len(said) != 3 {
			t.Errorf("with the port again it announces %v", said)
		}
		l.now(func() { delete(l.view.NextHops, "g1") })
		count()
		pass(10 * every)
		if said := count(); len(said) != 0 {
			t.Errorf("as no border host it announces %v", said)
		}
	})
}

// What an announcer has found that was stopped meanwhile is of another time.
func TestBorderStoppedAnnouncerIsNotHeard(t *testing.T) {
	opened(t, func(l *upstreamLab) {
		before := l.host.announcer
		l.now(func() { l.host.silence() })
		l.stays(true)
		go before.tell(l.t.Context(), before, upstreamEvent{arp: border.ARPSilent})
		pass(time.Second)
		l.stays(true)
	})
}

// Of two hosts alone, the one whose underlay has no link is cut off.
func TestBorderIsCutOffFromTheOnlyPeer(t *testing.T) {
	opened(t, func(l *upstreamLab) {
		l.now(func() { l.wires.BFDPorts = map[string]uint32{"g2": 100}; l.dead["g2"] = true })
		pass(time.Minute)
		l.stays(true)
		l.now(func() { l.underlay = border.LinkDown })
		l.within("shut", 0, 0)
	})
}

// An interface that the host cannot be kept out of keeps a border host shut, and does not shut it.
func TestBorderNICIsRefused(t *testing.T) {
	opened(t, func(l *upstreamLab) {
		l.now(func() { l.host.nicErr = errors.New("it has an address") })
		pass(time.Minute)
		l.stays(true)
		l.flapsAndStaysShut()
		if s := l.host.status(l.facts()); s.Reason != "it has an address" {
			t.Errorf("%+v", s)
		}
	})
}

// What is known of a router is of no use for another one.
func TestBorderRouterMACIsOfItsRouter(t *testing.T) {
	b := borderHost{kept: borderKept{Router: routerAddress, RouterMAC: routerMAC}}
	if got := b.routerMAC(view.NextHop{Router: routerAddress}); got != routerMAC {
		t.Errorf("its own: %s", got)
	}
	if got := b.routerMAC(view.NextHop{Router: routerAddress.Next()}); got != (model.MAC{}) {
		t.Errorf("another's: %s", got)
	}
}

// One tunnel of several is enough to find that the border host was open.
func TestBorderInherits(t *testing.T) {
	for _, told := range [][]bool{{true, false}, {false, true}} {
		var b borderHost
		for _, open := range told {
			b.inherit(open)
		}
		if !b.state.Open {
			t.Errorf("%v: it is shut", told)
		}
	}
}

// The status says what the border host is, and why.
func TestBorderStatus(t *testing.T) {
	opened(t, func(l *upstreamLab) {
		status := func() (s model.BorderStatus) {
			l.now(func() { s = *l.host.status(l.facts()) })
			s.Since = time.Time{}
			return s
		}
		want := model.BorderStatus{Open: true, Router: "203.0.113.1", RouterMAC: "02:00:00:00:00:01", Answers: true, ActiveNextHops: []string{"g1"}}
		if got := status(); !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, want %+v", got, want)
		}
		l.now(func() { l.dead["g2"] = true })
		want.ActiveNextHops = []string{"g1", "g2"}
		if got := status(); !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, want %+v", got, want)
		}
		l.outside(func() { clear(l.dead); l.router = model.MAC{} })
		pass(time.Minute)
		l.now(func() { l.wires.Shut = true })
		want = model.BorderStatus{Reason: "the router 203.0.113.1 does not answer ARP", Router: "203.0.113.1", RouterMAC: "02:00:00:00:00:01"}
		if got := status(); !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, want %+v", got, want)
		}
		l.outside(func() { l.router = routerMAC })
		pass(time.Second)
		want.Reason, want.Answers = "all is well, but it has not been for long", true
		if got := status(); !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, want %+v", got, want)
		}
		l.now(func() { delete(l.view.NextHops, "g1") })
		if got := l.host.status(l.facts()); got != nil {
			t.Errorf("no border host is %+v", got)
		}
	})
}

// At no time does nobody answer for the next hop: g1 does while its switch is loaded for that, and g2 while it has not
// heard that g1 is open.
func TestBorderNextHopIsAlwaysAnswered(t *testing.T) {
	opened(t, func(l *upstreamLab) {
		answers, heardOpen := l.host.state.Open, l.host.state.Open
		carry := func() {
			check := func() {
				if !answers && heardOpen {
					t.Errorf("nobody answers, on the way to open = %v", l.host.state.Open)
				}
			}
			l.host.carryOut(func() { answers = l.host.state.Open; check() }, func() { heardOpen = l.host.state.Open; check() })
		}
		for range 2 {
			l.outside(func() { l.link = !l.link })
			pass(time.Minute)
			l.now(carry)
			if answers != l.link || heardOpen != l.link {
				t.Errorf("link is %v: answers %v, heard %v", l.link, answers, heardOpen)
			}
		}
	})
}

// 0.1.0 reads what this version writes, and the other way round.
func TestBorderOnDisk(t *testing.T) {
	const text = `{"router":"203.0.113.1","routerMAC":"02:00:00:00:00:01","nic":"eth1","was":{"arp":true,"sysctl":{"ipv4/conf/eth1/rp_filter":"2"},"offloads":{"gro":true}}}`
	c := local.Config{State: t.TempDir()}
	b := newBorderHost(c, borderLoop{}, nil)
	if err := os.WriteFile(c.State+"/passage.json", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := b.load(); err != nil || b.kept.RouterMAC != routerMAC || b.kept.NIC != "eth1" || b.kept.Was == nil || !b.kept.Was.Offloads["gro"] {
		t.Errorf("%+v, %v", b.kept, err)
	}
	if err := b.save(); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(c.State + "/passage.json"); err != nil || string(got) != text {
		t.Errorf("%s, %v", got, err)
	}
}
