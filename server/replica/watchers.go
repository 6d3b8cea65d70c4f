package replica

import (
	"context"
	"errors"

	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/server/api"
	"github.com/overlane/overlane/store"
)

// streams are those who are told of every change. They are told under the replica's lock and nobody waits for them: what
// one has not read yet is kept, up to a limit.
type streams struct {
	watchers map[*Watcher]bool
	viewers  map[string]map[*Viewer]bool // by host
}

func newStreams() streams {
	return streams{watchers: map[*Watcher]bool{}, viewers: map[string]map[*Viewer]bool{}}
}

// Watcher is a stream of events.
type Watcher struct {
	news chan News
}

// News are the commits in order. It is closed when the watcher was too slow: more than its backlog behind.
func (w *Watcher) News() <-chan News { return w.news }

// News is one commit as a watcher is told it.
type News struct {
	Revision int64
	Events   []Event
}

// Event is a line of a watch, of [api.Event]. It is encoded once for all watchers.
type Event struct {
	Key  model.Key
	Line []byte
}

// FromTheStart has a watch begin with all objects.
const FromTheStart = -1

// Watch starts a watcher, and gives what it has missed: all objects if after is [FromTheStart], else those that have changed since that revision of
// the store. The watcher may lag behind by so many commits.
func (r *Replica) Watch(ctx context.Context, backlog int, after int64) (*Watcher, News, error) {
	w, now, first := r.begin(backlog, after)
	if after == FromTheStart || after == now {
		return w, News{now, first}, nil
	}
	missed, err := r.missed(ctx, after, now)
	if err != nil {
		r.Unwatch(w)
		return nil, News{}, err
	}
	return w, missed, nil
}

// begin enters a watcher at the present revision, with all objects if it wants them. Even one that knows that revision may not know
// who has fallen silent since.
func (r *Replica) begin(backlog int, after int64) (w *Watcher, now int64, first []Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch after {
	case FromTheStart:
		for _, kind := range model.Kinds {
			for o := range r.state.List(kind.Name) {
				first = append(first, r.event(r.revision, o.Key()))
			}
		}
	case r.revision:
		first = r.events(update{revision: r.revision, turned: r.turnedSince(after)})
	}
	return r.watch(backlog), r.revision, first
}

// missed asks the store's history what has changed after a revision and until now, and tells of each such object as it is now.
func (r *Replica) missed(ctx context.Context, after, now int64) (News, error) {
	if after > now {
		return News{}, api.Gone.Errorf("revision %d is yet to come: the store is at %d; list, then watch from there", after, now)
	}
	u := update{revision: now, statuses: map[model.Key]measured{}}
	for c, err := range r.store.Watch(ctx, after) {
		if errors.Is(err, store.ErrCompacted) {
			return News{}, api.Gone.Errorf("revision %d is no longer in the store's history; list, then watch from there", after)
		}
		if err != nil {
			return News{}, err
		}
		if c.Revision <= now {
			u.note(c)
		}
		if c.Revision >= now {
			break
		}
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	u.turned = r.turnedSince(after)
	return News{now, r.events(u)}, nil
}

// note adds the objects that a commit touched.
func (u *update) note(c store.Commit) {
	touch := func(stored string) {
		if key, ok := keyOf(objectPrefix, stored); ok {
			u.changes = append(u.changes, model.ChangeTo(key, nil))
		} else if key, ok := keyOf(statusPrefix, stored); ok {
			u.statuses[key] = measured{}
		}
	}
	for _, item := range c.Put {
		touch(item.Key)
	}
	for _, key := range c.Delete {
		touch(key)
	}
}

// watch adds a watcher. The caller holds the lock.
func (r *Replica) watch(backlog int) *Watcher {
	w := &Watcher{news: make(chan News, backlog)}
	r.watchers[w] = true
	return w
}

// Unwatch ends a watcher.
func (r *Replica) Unwatch(w *Watcher) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.watchers, w)
}

func (r *Replica) notifyWatchers(u update) {
	if len(r.watchers) == 0 {
		return
	}
	b := News{u.revision, r.events(u)}
	for w := range r.watchers {
		select {
		case w.news <- b:
		default:
			close(w.news)
			delete(r.watchers, w)
		}
	}
}

// events tells each object that changed once, as it is now, in spec and status; with an endpoint its public IP and the ports forwarded to it, whose status follows.
func (r *Replica) events(u update) []Event {
	var events []Event
	seen := map[model.Key]bool{}
	one := func(key model.Key) {
		if !seen[key] {
			seen[key] = true
			events = append(events, r.event(u.revision, key))
		}
	}
	tell := func(key model.Key) {
		one(key)
		if key.Kind != "Endpoint" {
			return
		}
		if o := r.state.PublicIPOf(key.Name); o != nil {
			one(o.Key())
		}
		for o := range r.state.ForwardsTo(key.Name) {
			one(o.Key())
		}
	}
	for _, c := range u.changes {
		if _, known := model.KindByName(c.Key().Kind); known { // one that only a newer server knows was never told
			tell(c.Key())
		}
	}
	for key := range u.statuses {
		if r.state.Get(key) != nil {
			tell(key)
		}
	}
	for _, host := range u.turned {
		if key := (model.Key{Kind: "Host", Name: host}); r.state.Get(key) != nil {
			tell(key)
		}
		for o := range r.state.EndpointsOn(host) {
			tell(o.Key())
		}
	}
	return events
}

// event tells what an object is now. The caller holds the lock.
func (r *Replica) event(revision int64, key model.Key) Event {
	e := api.Event{Type: api.Delete, Revision: revision, Object: &model.Object{Kind: key.Kind, Name: key.Name}}
	if o := r.state.Get(key); o != nil {
		full := r.with(o)
		e.Type, e.Object = api.Put, &full
	}
	return Event{key, api.Line(e)}
}
