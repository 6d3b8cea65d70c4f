package server

import (
	"encoding/json"

	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/server/api"
	"github.com/overlane/overlane/view"
)

// streams are those who are told of every change. They are told under the replica's lock and nobody waits for them: what
// one has not read yet is kept, up to a limit.
type streams struct {
	watchers map[*watcher]bool
	viewers  map[string]map[*viewer]bool // by host
}

func newStreams() streams {
	return streams{watchers: map[*watcher]bool{}, viewers: map[string]map[*viewer]bool{}}
}

// watcher is a stream of events.
type watcher struct {
	news chan batch // closed when it was too slow
}

// batch is one commit as a watcher is told it.
type batch struct {
	revision int64
	events   []event
}

// event is a line of a watch. It is encoded once for all watchers.
type event struct {
	key  model.Key
	line []byte
}

// watch adds a watcher. The caller holds the lock.
func (r *replica) watch(backlog int) *watcher {
	w := &watcher{news: make(chan batch, backlog)}
	r.watchers[w] = true
	return w
}

func (r *replica) unwatch(w *watcher) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.watchers, w)
}

func (r *replica) tellWatchers(u update) {
	if len(r.watchers) == 0 {
		return
	}
	b := batch{u.revision, r.events(u)}
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
func (r *replica) events(u update) []event {
	var events []event
	told := map[model.Key]bool{}
	one := func(key model.Key) {
		if !told[key] {
			told[key] = true
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
func (r *replica) event(revision int64, key model.Key) event {
	e := api.Event{Type: api.Delete, Revision: revision, Object: &model.Object{Kind: key.Kind, Name: key.Name}}
	if o := r.state.Get(key); o != nil {
		full := r.with(o)
		e.Type, e.Object = api.Put, &full
	}
	return event{key, encode(e)}
}

// encode is a line of a stream.
func encode(value any) []byte {
	line, err := json.Marshal(value)
	if err != nil { // none of our types can fail
		panic("encode a line of a stream: " + err.Error())
	}
	return append(line, '\n')
}

// viewer is a stream of a host's view.
type viewer struct {
	news chan view.Delta
	lost bool // it was too slow, and is told nothing until it has got the whole view again
}

// subscribe adds a viewer of a host, and gives it the whole view.
func (r *replica) subscribe(host string, backlog int) (*viewer, view.Delta) {
	r.mu.Lock()
	defer r.mu.Unlock()
	v := &viewer{news: make(chan view.Delta, backlog)}
	if r.viewers[host] == nil {
		r.viewers[host] = map[*viewer]bool{}
	}
	r.viewers[host][v] = true
	// For a second viewer of the host this starts the tracker anew, which is harmless: the first one has been told
	// everything up to now as well.
	return v, r.tracker.Subscribe(host)
}

func (r *replica) unsubscribe(host string, v *viewer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.viewers[host], v)
	if len(r.viewers[host]) == 0 {
		delete(r.viewers, host)
		r.tracker.Unsubscribe(host)
	}
}

func (r *replica) tellViews(deltas map[string]view.Delta) {
	for host, d := range deltas {
		for v := range r.viewers[host] {
			if v.lost {
				continue
			}
			select {
			case v.news <- d:
			default:
				v.lost = true
			}
		}
	}
}

// recover gives a viewer that got lost, and has read all its news, the whole view.
func (r *replica) recover(host string, v *viewer) (d view.Delta, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !v.lost || len(v.news) > 0 {
		return d, false
	}
	v.lost = false
	return r.tracker.Subscribe(host), true
}

// idle is an empty delta for a viewer that has read all its news.
func (r *replica) idle(v *viewer) (d view.Delta, ok bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return view.Delta{Revision: r.state.Revision()}, !v.lost && len(v.news) == 0
}
