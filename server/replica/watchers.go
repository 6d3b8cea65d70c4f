package replica

import (
	"context"
	"errors"

	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/server/api"
	"github.com/overlane/overlane/store"
)

// streams are the watchers and viewers. They are told about changes under the replica's lock, which never waits for
// them: each has a backlog of unread news, up to a limit.
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

// News are the commits, in order. The channel is closed if the watcher is more than its backlog behind.
func (w *Watcher) News() <-chan News { return w.news }

// News is one commit in the form for watchers.
type News struct {
	Revision int64
	Events   []Event
}

// Event is an [api.Event], encoded once for all watchers.
type Event struct {
	Key  model.Key
	Line []byte
}

// FromTheStart makes a watch begin with all objects.
const FromTheStart = -1

// Watch starts a watcher, and returns its first news: all objects if after is [FromTheStart], or else the objects that
// have changed since that revision of the store. backlog is the number of commits that the watcher may lag behind.
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

// begin adds a watcher at the present revision, and returns its first events: all objects, or the hosts that may have
// fallen silent since its revision.
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

// missed reads the changes after a revision from the store's history, and returns each changed object as it is now.
func (r *Replica) missed(ctx context.Context, after, now int64) (News, error) {
	if after > now {
		return News{}, api.Gone.Errorf("revision %d is yet to come: the store is at %d; list, then watch from there",
			after, now)
	}
	u := update{revision: now, statuses: map[model.Key]measured{}}
	for c, err := range r.store.Watch(ctx, after) {
		if errors.Is(err, store.ErrCompacted) {
			return News{}, api.Gone.Errorf("revision %d is no longer in the store's history; list, then watch from "+
				"there", after)
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

// note adds the objects that a commit has touched.
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

// events returns an event for each changed object, with spec and status as they are now. A changed endpoint adds its
// public IP and its forwarded ports, whose status depends on it.
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
		if _, known := model.KindByName(c.Key().Kind); known { // a kind of a newer server was never told
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

// event returns the event of an object as it is now. The caller holds the lock.
func (r *Replica) event(revision int64, key model.Key) Event {
	e := api.Event{Type: api.Delete, Revision: revision, Object: &model.Object{Kind: key.Kind, Name: key.Name}}
	if o := r.state.Get(key); o != nil {
		full := r.with(o)
		e.Type, e.Object = api.Put, &full
	}
	return Event{key, api.Line(e)}
}
