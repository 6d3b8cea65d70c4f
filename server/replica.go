package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/store"
	"github.com/overlane/overlane/view"
)

// replica is the store's contents in memory. Only what the store's watch tells changes it, in the store's order; streams
// are told in the same breath, so whoever has seen a revision here finds it in the streams too.
type replica struct {
	store store.Store
	log   *slog.Logger
	now   func() time.Time

	mu       sync.RWMutex
	state    *model.State // its revision is the store's head
	statuses map[model.Key]measured
	heard    map[string]hearing   // by host
	found    map[string]time.Time // by host: when its addresses were others last
	unfound  map[string]bool      // hosts that have changed them too soon after that
	unread   map[model.Key]error  // objects in the store that state lacks, or has an older form of
	revision int64                // of the store
	moved    chan struct{}        // closed, and replaced, when revision grows
	tracker  *view.Tracker
	streams
}

// measured is a status: decoded, and as it is stored, so that the same again is told from news without encoding anything.
type measured struct {
	status any // nil: there is none
	text   []byte
}

// newReplica reads the whole store. An object that cannot be read is an error: to go on without it would be to give its
// address to another.
func newReplica(ctx context.Context, c Config) (*replica, error) {
	snapshot, err := c.Store.Load(ctx, "")
	if err != nil {
		return nil, err
	}
	r := &replica{store: c.Store, log: c.Log, now: c.now, heard: map[string]hearing{}, found: map[string]time.Time{}, unfound: map[string]bool{}, moved: make(chan struct{}), streams: newStreams()}
	loaded := r.read(snapshot)
	for _, err := range loaded.unread {
		return nil, err // one of them is enough: all are in the log
	}
	r.state = model.NewState().With(snapshot.Head, loaded.changes)
	r.statuses, r.unread = loaded.statuses, loaded.unread
	for key := range r.statuses {
		if key.Kind == "Host" {
			r.heard[key.Name] = hearing{at: r.now()}
		}
	}
	r.revision = snapshot.Revision
	r.tracker = view.NewTracker(r.state)
	for key := range r.statuses {
		r.find(key)
	}
	return r, nil
}

// contents are a snapshot's items, decoded.
type contents struct {
	changes  []model.Change
	statuses map[model.Key]measured
	unread   map[model.Key]error
}

func (r *replica) read(snapshot store.Snapshot) contents {
	c := contents{statuses: map[model.Key]measured{}, unread: map[model.Key]error{}}
	for _, item := range snapshot.Items {
		if key, ok := keyOf(objectPrefix, item.Key); ok {
			if o, err := r.object(key, item); err != nil {
				c.unread[key] = err
			} else {
				c.changes = append(c.changes, model.ChangeTo(key, o))
			}
		} else if key, ok := keyOf(statusPrefix, item.Key); ok {
			c.statuses[key] = r.measured(key, item.Value)
		}
	}
	return c
}

func (r *replica) object(key model.Key, item store.Item) (*model.Object, error) {
	o, err := decodeObject(key, item)
	if err != nil {
		r.log.Error("the store holds an object that this server cannot read, so this server changes nothing; is another one newer? upgrade this one", "error", err)
	}
	return o, err
}

// measured decodes a status. One that cannot be read is none, and no reason to stop: it is measured again anyway.
func (r *replica) measured(key model.Key, value []byte) measured {
	status, err := decodeStatus(key, value)
	if err != nil {
		r.log.Warn("the store holds a status that this server cannot read; the object goes without until it is measured again", "error", err)
		return measured{}
	}
	return measured{status, value}
}

// follow keeps the replica up to date until ctx ends, whatever happens to the store meanwhile.
func (r *replica) follow(ctx context.Context) {
	pause := 50 * time.Millisecond
	for ctx.Err() == nil {
		for c, err := range r.store.Watch(ctx, r.seen()) {
			if err == nil {
				pause = 50 * time.Millisecond
				r.commit(c)
				continue
			}
			if ctx.Err() != nil || errors.Is(err, store.ErrClosed) {
				return
			}
			r.log.Warn("the store's watch broke; will watch again", "error", err)
			if errors.Is(err, store.ErrCompacted) {
				r.reload(ctx)
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause + rand.N(pause)):
			pause = min(2*pause, 5*time.Second)
		}
	}
}

func (r *replica) seen() int64 {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.revision
}

// commit takes over one write.
func (r *replica) commit(c store.Commit) {
	u := update{revision: c.Revision, statuses: map[model.Key]measured{}, unread: map[model.Key]error{}}
	if c.Head {
		u.head = c.Revision
	}
	for _, item := range c.Put {
		if key, ok := keyOf(objectPrefix, item.Key); ok {
			if o, err := r.object(key, item); err != nil {
				u.unread[key] = err
			} else {
				u.changes = append(u.changes, model.ChangeTo(key, o))
			}
		} else if key, ok := keyOf(statusPrefix, item.Key); ok {
			u.statuses[key] = r.measured(key, item.Value)
		}
	}
	for _, deleted := range c.Delete {
		if key, ok := keyOf(objectPrefix, deleted); ok {
			u.changes = append(u.changes, model.ChangeTo(key, nil))
		} else if key, ok := keyOf(statusPrefix, deleted); ok {
			u.statuses[key] = measured{}
		}
	}
	r.enter(u)
}

// reload catches up where the store's history does not reach back: the differences are one big update.
func (r *replica) reload(ctx context.Context) {
	snapshot, err := r.store.Load(ctx, "")
	if err != nil {
		r.log.Warn("the store cannot be read; will try again", "error", err)
		return
	}
	r.enter(r.difference(snapshot, r.read(snapshot)))
}

func (r *replica) difference(snapshot store.Snapshot, loaded contents) update {
	r.mu.RLock()
	defer r.mu.RUnlock()
	u := update{revision: snapshot.Revision, statuses: maps.Clone(loaded.statuses), unread: loaded.unread}
	if snapshot.Head != r.state.Revision() {
		u.head = snapshot.Head
	}
	there := map[model.Key]bool{}
	for _, c := range loaded.changes {
		there[c.Key()] = true
		if old := r.state.Get(c.Key()); old == nil || old.Revision != c.After.Revision {
			u.changes = append(u.changes, c)
		}
	}
	for _, kind := range model.Kinds {
		for o := range r.state.List(kind.Name) {
			if !there[o.Key()] && loaded.unread[o.Key()] == nil {
				u.changes = append(u.changes, model.ChangeTo(o.Key(), nil))
			}
		}
	}
	for key := range r.unread {
		u.unread[key] = loaded.unread[key]
	}
	for key := range r.statuses {
		if _, ok := loaded.statuses[key]; !ok {
			u.statuses[key] = measured{}
		}
	}
	return u
}

// update is what changes from one revision to a later one.
type update struct {
	revision int64
	head     int64 // where intent is now; 0: where it was
	changes  []model.Change
	statuses map[model.Key]measured // without a status: gone
	turned   []string               // hosts that are silent now, or not any more
	unread   map[model.Key]error    // objects that changed to what cannot be read; nil: not any more
}

func (r *replica) enter(u update) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if u.revision <= r.revision {
		return
	}
	u.turned = r.hear(u)
	r.revision = u.revision
	for key, m := range u.statuses {
		if m.status == nil {
			delete(r.statuses, key)
		} else {
			r.statuses[key] = m
		}
	}
	r.miss(u)
	found := false
	for key := range u.statuses {
		found = r.find(key) || found
	}
	if u.head != 0 {
		r.state = r.state.With(u.head, u.changes)
	}
	if u.head != 0 || found {
		r.tellViews(r.tracker.Apply(r.state, u.changes))
	}
	r.tellWatchers(u)
	close(r.moved)
	r.moved = make(chan struct{})
}

// find has the tracker know by which addresses a host has found that it may be reached. It reports whether they were others. What a silent host has said
// counts until it is gone. No host can have others' public addresses, or change its own all the time, which all others would be told.
func (r *replica) find(key model.Key) bool {
	if key.Kind != "Host" {
		return false
	}
	status, ok := r.statuses[key].status.(*model.HostStatus)
	if !ok {
		delete(r.found, key.Name)
		delete(r.unfound, key.Name)
		return r.tracker.Found(key.Name, nil)
	}
	if r.now().Sub(r.found[key.Name]) < findEvery {
		r.unfound[key.Name] = true
		return false
	}
	delete(r.unfound, key.Name)
	found := slices.Clone(status.Addresses)
	slices.SortFunc(found, netip.Addr.Compare)
	changed := r.tracker.Found(key.Name, slices.Compact(found))
	if changed {
		r.found[key.Name] = r.now()
	}
	return changed
}

// findLater is for those that were too soon.
func (r *replica) findLater() {
	r.mu.Lock()
	defer r.mu.Unlock()
	found := false
	for host := range maps.Clone(r.unfound) {
		found = r.find(model.Key{Kind: "Host", Name: host}) || found
	}
	if found {
		r.tellViews(r.tracker.Apply(r.state, nil))
	}
}

// findEvery is how often a host's addresses may change for others. Agents look as often.
const findEvery = 10 * time.Second

// miss takes down which objects of the store are not in the state as they are. Those that were changed once more, or deleted,
// are not missed any more.
func (r *replica) miss(u update) {
	maps.Copy(r.unread, u.unread)
	for _, c := range u.changes {
		delete(r.unread, c.Key())
	}
	maps.DeleteFunc(r.unread, func(_ model.Key, err error) bool { return err == nil })
}

// whole is an error if the state lacks what is in the store. To judge a request by such a state would be to give the missing
// object's address to another. Which object that is, not everybody may know who is told this.
func (r *replica) whole() error {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if len(r.unread) == 0 {
		return nil
	}
	return unavailable("the store holds %d objects that this server cannot read, so it changes nothing: another server is newer; upgrade this one, whose log names them", len(r.unread))
}

// await returns once the replica has seen a revision.
func (r *replica) await(ctx context.Context, revision int64) error {
	for {
		r.mu.RLock()
		seen, moved := r.revision, r.moved
		r.mu.RUnlock()
		if seen >= revision {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return fmt.Errorf("wait for revision %d: %w", revision, ctx.Err())
		}
	}
}

// with is an object with its status. The caller holds mu.
func (r *replica) with(o *model.Object) model.Object {
	full := *o
	full.Status = r.statusOf(o)
	return full
}

func (r *replica) statusOf(o *model.Object) any {
	switch o.Kind {
	case "Host":
		if status := r.hostStatus(o.Name); status != nil {
			return status
		}
		return nil
	case "Endpoint":
		if status := r.endpointStatus(o.Key()); status != nil {
			return status
		}
		return nil
	}
	return model.Summarise(r.state, o.Key(), model.Measured{Endpoint: r.endpointStatus, Host: r.hostStatus})
}
