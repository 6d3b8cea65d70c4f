package agent

import (
	"context"
	"maps"
	"reflect"
	"time"

	"github.com/overlane/overlane/attach"
	"github.com/overlane/overlane/dataplane"
	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/ovs"
	"github.com/overlane/overlane/view"
)

// How the upstream router is asked. A router that has answered is asked again a second later, so that it takes up to a second and a half to notice one that
// is gone; a link that is gone is noticed at once.
const (
	askRouterAgain  = time.Second
	routerAnswersIn = 150 * time.Millisecond
	routerMisses    = 3 // in a row: it is silent
	lookAtLink      = 100 * time.Millisecond
)

// announceEvery is how many BFD intervals are between announcements.
const announceEvery = 2

// routerSeen is what is known of the upstream router since the switch was connected.
type routerSeen struct {
	answers, silent bool
	since           time.Time
}

// errand is what a herald works with.
type errand struct {
	sw       *ovs.Switch
	external uint32
	own      view.NextHop
	hops     map[string]view.NextHop
	nic      string
	interval time.Duration
}

// herald speaks for this passage on the upstream network, beside the loop, which may be busy: it announces next hops, which the switch lets out where they
// are held, asks the router, and looks at the link.
type herald struct {
	errand
	stop context.CancelFunc
}

// hail has a herald speak once the switch has the flows for it, and another one when anything of its errand changes.
func (a *Agent) hail(ctx context.Context) {
	p := &a.passage
	own, ok := a.ownHop()
	speaks := ok && a.sw != nil && p.loaded && a.wiring.External != 0
	if speaks && (a.resync != "" || len(a.touched) > 0) {
		return
	}
	e := errand{a.sw, a.wiring.External, own, a.view.NextHops, p.nic, announceEvery * time.Duration(a.config.BFDInterval)}
	if p.herald != nil && (!speaks || !reflect.DeepEqual(p.herald.errand, e)) {
		p.herald.stop()
		p.herald = nil
	}
	if speaks && p.herald == nil {
		e.hops = maps.Clone(e.hops)
		a.send(ctx, e)
	}
}

func (a *Agent) send(ctx context.Context, e errand) {
	ctx, stop := context.WithCancel(ctx)
	h := &herald{e, stop}
	a.passage.herald = h
	tell := func(f func()) {
		a.do(ctx, func() {
			if a.passage.herald == h {
				f()
			}
		})
	}
	go h.announce(ctx)
	go h.watchLink(ctx, func(link bool) { tell(func() { a.passage.linkless = !link }) })
	go h.askRouter(ctx, a.routerAnswers, func(mac model.MAC) { tell(func() { a.routerAnswered(mac) }) }, func() { tell(a.routerSilent) })
}

// announce says where every next hop is. What the switch does not hold it does not let out.
func (h *herald) announce(ctx context.Context) {
	every(ctx, h.interval, func() {
		for _, n := range h.hops {
			_ = h.sw.PacketOut(ctx, flow.PortLocal, dataplane.Announce(n), announcement(n)) // the loop hears of a switch that is gone
		}
	})
}

func (h *herald) watchLink(ctx context.Context, tell func(link bool)) {
	told, had := false, false
	every(ctx, lookAtLink, func() {
		has, err := attach.HasLink(h.nic)
		if has = has && err == nil; !told || has != had {
			told, had = true, has
			tell(has)
		}
	})
}

// every does something now and then until ctx ends.
func every(ctx context.Context, interval time.Duration, do func()) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for ctx.Err() == nil {
		do()
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
}

// askRouter tells when the router answers after it has not, and when it has become silent. A question that the switch has not sent yet does not count.
func (h *herald) askRouter(ctx context.Context, answers <-chan model.MAC, answered func(model.MAC), silent func()) {
	var known model.MAC
	misses := 0
	question := routerQuestion(h.own)
	for ctx.Err() == nil {
		pause := time.Duration(0)
		mac, ok, err := h.ask(ctx, question, answers)
		switch {
		case err != nil:
			pause = routerAnswersIn
		case ok:
			if mac != known || misses >= routerMisses {
				answered(mac)
			}
			known, misses, pause = mac, 0, askRouterAgain
		default:
			if misses++; misses == routerMisses {
				silent()
			}
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

func (h *herald) ask(ctx context.Context, question []byte, answers <-chan model.MAC) (mac model.MAC, ok bool, err error) {
	select {
	case <-answers: // to a question of before
	default:
	}
	if err := h.sw.PacketOutDone(ctx, flow.PortLocal, dataplane.AskRouter(dataplane.Wiring{External: h.external}), question); err != nil {
		return mac, false, err
	}
	select {
	case mac = <-answers:
		return mac, true, nil
	case <-time.After(routerAnswersIn):
		return mac, false, nil
	case <-ctx.Done():
		return mac, false, ctx.Err()
	}
}

// heardRouter takes an answer past the loop, which may be busy.
func (a *Agent) heardRouter(p ovs.PacketIn) bool {
	if len(p.Userdata) == 0 || p.Userdata[0] != dataplane.ForAgentRouter {
		return false
	}
	if mac, _, ok := arpSender(p.Frame); ok {
		select {
		case a.routerAnswers <- mac:
		default:
		}
	}
	return true
}

func (a *Agent) routerAnswered(mac model.MAC) {
	p := &a.passage
	own, _ := a.ownHop()
	p.router = routerSeen{answers: true, since: time.Now()}
	if p.kept.Router != own.Router || p.kept.RouterMAC != mac {
		p.kept.Router, p.kept.RouterMAC = own.Router, mac
		a.note(inDisk, p.save())
	}
	a.wirePassage()
}

func (a *Agent) routerSilent() {
	a.passage.router = routerSeen{silent: true, since: time.Now()}
}
