package attach

import (
	"context"
	"fmt"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/overlane/overlane/internal/backoff"
	"github.com/overlane/overlane/internal/ifname"
	"github.com/overlane/overlane/netdump"
)

// LinkGone says that the interface of an endpoint has vanished from the host: its container or namespace ended, or a
// user removed it.
type LinkGone struct{ Name string }

const resubscribePause = 100 * time.Millisecond

// Watch reports interfaces of endpoints that vanish, from those that exist now. If it misses messages it lists all
// interfaces, so none is lost for good. The channel is closed when ctx ends.
func Watch(ctx context.Context) (<-chan LinkGone, error) {
	w := &watch{known: map[string]bool{}, gone: make(chan LinkGone)}
	updates, err := w.subscribe(ctx)
	if err != nil {
		return nil, err
	}
	go w.run(ctx, updates)
	return w.gone, nil
}

type watch struct {
	known map[string]bool
	gone  chan LinkGone
}

// subscribe subscribes before it lists: an interface that vanishes in between is reported twice rather than not at all,
// and the second report is not passed on.
func (w *watch) subscribe(ctx context.Context) (<-chan netlink.LinkUpdate, error) {
	ctx, cancel := context.WithCancel(ctx)
	updates := make(chan netlink.LinkUpdate, 64)
	err := netlink.LinkSubscribeWithOptions(updates, ctx.Done(), netlink.LinkSubscribeOptions{ReceiveBufferSize: 1 << 20})
	if err != nil {
		cancel()
		return nil, fmt.Errorf("subscribe to network interfaces: %w", err)
	}
	if err := w.look(ctx); err != nil {
		cancel()
		go drain(updates)
		return nil, err
	}
	context.AfterFunc(ctx, cancel)
	return updates, nil
}

// drain lets a subscription end that may be waiting to deliver a message.
func drain(updates <-chan netlink.LinkUpdate) {
	for range updates {
	}
}

func (w *watch) look(ctx context.Context) error {
	links, err := netdump.List(netlink.LinkList)
	if err != nil {
		return fmt.Errorf("list network interfaces: %w", err)
	}
	there := map[string]bool{}
	for _, l := range links {
		if name := l.Attrs().Name; ifname.IsEndpoint(name) {
			there[name] = true
		}
	}
	before := w.known
	w.known = there
	for name := range before {
		if !there[name] {
			w.tell(ctx, name)
		}
	}
	return nil
}

func (w *watch) tell(ctx context.Context, name string) {
	select {
	case w.gone <- LinkGone{name}:
	case <-ctx.Done():
	}
}

func (w *watch) run(ctx context.Context, updates <-chan netlink.LinkUpdate) {
	defer close(w.gone)
	for ctx.Err() == nil {
		for u := range updates {
			w.take(ctx, u)
		}
		// The kernel had more messages than the socket could hold, or the subscription ended with ctx.
		updates = w.again(ctx)
	}
}

func (w *watch) again(ctx context.Context) <-chan netlink.LinkUpdate {
	for pause := (backoff.Backoff{First: resubscribePause, Most: resubscribePause}); ctx.Err() == nil; pause.Wait(ctx) {
		if updates, err := w.subscribe(ctx); err == nil {
			return updates
		}
	}
	none := make(chan netlink.LinkUpdate)
	close(none)
	return none
}

func (w *watch) take(ctx context.Context, u netlink.LinkUpdate) {
	name := u.Attrs().Name
	if !ifname.IsEndpoint(name) || u.Family != unix.AF_UNSPEC { // a bridge announces its ports in the same way
		return
	}
	if u.Header.Type == unix.RTM_NEWLINK {
		w.known[name] = true
		return
	}
	if w.known[name] {
		delete(w.known, name)
		w.tell(ctx, name)
	}
}
