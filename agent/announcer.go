package agent

import (
	"context"
	"maps"
	"reflect"
	"time"

	"github.com/overlane/overlane/border"
	"github.com/overlane/overlane/dataplane"
	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/ovs"
	"github.com/overlane/overlane/view"
)

// How the upstream router is asked. A router that has answered is asked again a second later, so that it takes up
// to a second and a half to notice one that is gone; a link that is gone is noticed at once.
const (
	askRouterAgain  = time.Second
	routerAnswersIn = 150 * time.Millisecond
	routerMisses    = 3 // in a row: it is silent
	lookAtLink      = 100 * time.Millisecond
)

// announceIntervals is how many BFD intervals are between announcements.
const announceIntervals = 2

// frameSender has the switch send frames; [ovs.Switch] does.
type frameSender interface {
	PacketOut(ctx context.Context, inPort uint32, actions []flow.Action, frame []byte) error
	// PacketOutDone returns when the switch has done it.
	PacketOutDone(ctx context.Context, inPort uint32, actions []flow.Action, frame []byte) error
}

// announcerConfig is what an announcer says, and by which interface.
type announcerConfig struct {
	external uint32 // port of the NIC
	nic      string
	own      view.NextHop
	hops     map[string]view.NextHop
	interval time.Duration // between announcements of a next hop
}

// upstream is what an announcer works on.
type upstream struct {
	frames  frameSender
	answers <-chan model.MAC // of the router
	hasLink func(nic string) (bool, error)
}

// upstreamEvent is what an announcer has found; what is zero is as it was.
type upstreamEvent struct {
	link border.Link
	arp  border.ARP
	mac  model.MAC // of a router that answers
}

// announcer speaks for this border host on the upstream network, beside the loop, which may be busy: it announces
// next hops, which the switch lets out where they are active, asks the router, and looks at the link.
type announcer struct {
	announcerConfig
	upstream
	tell func(context.Context, *announcer, upstreamEvent)
	stop context.CancelFunc
}

// startAnnouncer starts one that tells of what it finds until it is stopped, or ctx ends.
func startAnnouncer(ctx context.Context, c announcerConfig, u upstream, tell func(context.Context, *announcer, upstreamEvent)) *announcer {
	ctx, stop := context.WithCancel(ctx)
	c.hops = maps.Clone(c.hops)
	h := &announcer{c, u, tell, stop}
	go h.announce(ctx)
	go h.watchLink(ctx)
	go h.askRouter(ctx)
	return h
}

// announce says where every next hop is. What is not active here the switch does not let out.
func (h *announcer) announce(ctx context.Context) {
	every(ctx, h.interval, func() {
		for _, n := range h.hops {
			// The loop hears of a switch that is gone.
			_ = h.frames.PacketOut(ctx, flow.PortLocal, dataplane.Announce(n), announcement(n))
		}
	})
}

// watchLink tells how the link is, and when it changes. An interface that is gone has none.
func (h *announcer) watchLink(ctx context.Context) {
	last := border.LinkUnknown
	every(ctx, lookAtLink, func() {
		now := border.LinkDown
		if has, err := h.hasLink(h.nic); err == nil && has {
			now = border.LinkUp
		}
		if now != last {
			last = now
			h.tell(ctx, h, upstreamEvent{link: now})
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

// askRouter tells when the router answers after it has not, and when it has become silent. A question that the
// switch has not sent yet does not count.
func (h *announcer) askRouter(ctx context.Context) {
	var known model.MAC
	misses := 0
	question := routerQuestion(h.own)
	for ctx.Err() == nil {
		pause := time.Duration(0)
		mac, ok, err := h.ask(ctx, question)
		switch {
		case err != nil:
			pause = routerAnswersIn
		case ok:
			if mac != known || misses >= routerMisses {
				h.tell(ctx, h, upstreamEvent{arp: border.ARPAnswers, mac: mac})
			}
			known, misses, pause = mac, 0, askRouterAgain
		default:
			if misses++; misses == routerMisses {
				h.tell(ctx, h, upstreamEvent{arp: border.ARPSilent})
			}
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

func (h *announcer) ask(ctx context.Context, question []byte) (mac model.MAC, ok bool, err error) {
	select {
	case <-h.answers: // to a question of before
	default:
	}
	if err := h.frames.PacketOutDone(ctx, flow.PortLocal, dataplane.AskRouter(dataplane.Wiring{UpstreamPort: h.external}), question); err != nil {
		return mac, false, err
	}
	select {
	case mac = <-h.answers:
		return mac, true, nil
	case <-time.After(routerAnswersIn):
		return mac, false, nil
	case <-ctx.Done():
		return mac, false, ctx.Err()
	}
}

// announce has an announcer speak once the switch has the flows for it, and another one when there is something
// else to say.
func (b *borderHost) announce(ctx context.Context, f borderFacts, frames frameSender) {
	own, ok := ownHop(f.view)
	if !ok || b.flows != border.FlowsConfirmed || f.wiring.UpstreamPort == 0 {
		b.silence()
		return
	}
	c := announcerConfig{external: f.wiring.UpstreamPort, nic: b.nic, own: own, hops: f.view.NextHops, interval: b.announceEvery}
	if !f.upToDate || b.announcer != nil && reflect.DeepEqual(b.announcer.announcerConfig, c) {
		return
	}
	b.silence()
	b.announcer = startAnnouncer(ctx, c, upstream{frames, b.answers, b.hasLink}, func(ctx context.Context, from *announcer, found upstreamEvent) {
		b.loop.do(ctx, func() {
			if b.announcer == from {
				b.take(found, time.Now())
			}
		})
	})
}

func (b *borderHost) silence() {
	if b.announcer != nil {
		b.announcer.stop()
		b.announcer = nil
	}
}

// routerAnswered takes an answer past the loop, which may be busy; ok is false if the packet is none.
func (b *borderHost) routerAnswered(p ovs.PacketIn) (ok bool) {
	if len(p.Userdata) == 0 || p.Userdata[0] != dataplane.ForAgentRouterARP {
		return false
	}
	if mac, _, ok := arpSender(p.Frame); ok {
		select {
		case b.answers <- mac:
		default:
		}
	}
	return true
}
