package replica

import "github.com/overlane/overlane/view"

// Viewer is a stream of a host's view.
type Viewer struct {
	news chan *view.Delta // pointers, since a backlog of structs would take 128 kB for each stream
	lost bool             // it was too slow, and gets nothing until it has the whole view again
}

// News are the changes of the view, in order. All viewers of a host share them.
func (v *Viewer) News() <-chan *view.Delta { return v.news }

// Subscribe adds a viewer of a host, and returns the whole view.
func (r *Replica) Subscribe(host string, backlog int) (*Viewer, view.Delta) {
	r.mu.Lock()
	defer r.mu.Unlock()
	v := &Viewer{news: make(chan *view.Delta, backlog)}
	if r.viewers[host] == nil {
		r.viewers[host] = map[*Viewer]bool{}
	}
	r.viewers[host][v] = true
	// For a second viewer of the host, this restarts the subscription. That is harmless, since the first viewer has all
	// changes up to now.
	return v, r.tracker.Subscribe(host)
}

// Unsubscribe removes a viewer.
func (r *Replica) Unsubscribe(host string, v *Viewer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.viewers[host], v)
	if len(r.viewers[host]) == 0 {
		delete(r.viewers, host)
		r.tracker.Unsubscribe(host)
	}
}

func (r *Replica) notifyViewers(deltas map[string]view.Delta) {
	for host, d := range deltas {
		for v := range r.viewers[host] {
			if v.lost {
				continue
			}
			select {
			case v.news <- &d:
			default:
				v.lost = true
			}
		}
	}
}

// Recover returns the whole view for a viewer that was too slow and has read all its news.
func (r *Replica) Recover(host string, v *Viewer) (*view.Delta, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !v.lost || len(v.news) > 0 {
		return nil, false
	}
	v.lost = false
	d := r.tracker.Subscribe(host)
	return &d, true
}

// Idle returns an empty delta for a viewer that has read all its news.
func (r *Replica) Idle(v *Viewer) (*view.Delta, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return &view.Delta{Revision: r.state.Revision()}, !v.lost && len(v.news) == 0
}
