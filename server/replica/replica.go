// Package replica keeps the contents of the store in memory, decoded, and tells every change to watchers of objects and
// to agents that follow their host's view. It knows the store, but not HTTP.
package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/overlane/overlane/internal/backoff"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/server/api"
	"github.com/overlane/overlane/store"
	"github.com/overlane/overlane/view"
)

// Config has the dependencies of a replica.
type Config struct {
	Store store.Store
	Log   *slog.Logger
	Now   func() time.Time
}

// Replica is the contents of the store in memory. Only the store's watch changes it, in the order of the store. Streams
// are told under the same lock, so a revision that is visible here is also in the streams.
type Replica struct {
	store store.Store
	log   *slog.Logger
	now   func() time.Time

	mu       sync.RWMutex
	state    *model.State // its revision is the store's head
	statuses map[model.Key]measured
	lastSeen map[string]contact   // by host
	found    map[string]time.Time // by host: when its addresses changed last
	unfound  map[string]bool      // hosts whose addresses have changed again too soon
	pending  map[model.Key]error  // objects that state lacks, or has in an older form, and why
	revision int64                // of the store
	moved    chan struct{}        // closed, and replaced, when revision grows
	tracker  *view.Tracker
	streams
}

// measured is a status in its decoded and its stored form, so that a repeated status is recognised without encoding.
type measured struct {
	status any // nil: there is none
	text   []byte
}

// New reads the whole store. An object that cannot be read is an error: without it, its address could be given to
// another object.
func New(ctx context.Context, c Config) (*Replica, error) {
	snapshot, err := c.Store.Load(ctx, "")
	if err != nil {
		return nil, err
	}
	r := &Replica{store: c.Store, log: c.Log, now: c.Now, streams: newStreams(), moved: make(chan struct{}),
		lastSeen: map[string]contact{}, found: map[string]time.Time{}, unfound: map[string]bool{}}
	loaded := r.read(snapshot)
	for _, err := range loaded.pending {
		return nil, err // the log has all of them
	}
	r.state = model.NewState().With(snapshot.Head, loaded.changes)
	r.statuses, r.pending = loaded.statuses, loaded.pending
	for key := range r.statuses {
		if key.Kind == "Host" {
			r.lastSeen[key.Name] = contact{at: r.now()}
		}
	}
	r.revision = snapshot.Revision
	r.tracker = view.NewTracker(r.state)
	for key := range r.statuses {
		r.find(key)
	}
	return r, nil
}

// contents are the decoded items of a snapshot.
type contents struct {
	changes  []model.Change
	statuses map[model.Key]measured
	pending  map[model.Key]error
}

func (r *Replica) read(snapshot store.Snapshot) contents {
	c := contents{statuses: map[model.Key]measured{}, pending: map[model.Key]error{}}
	for _, item := range snapshot.Items {
		if key, ok := keyOf(objectPrefix, item.Key); ok {
			if o, err := r.object(key, item); err != nil {
				c.pending[key] = err
			} else {
				c.changes = append(c.changes, model.ChangeTo(key, o))
			}
		} else if key, ok := keyOf(statusPrefix, item.Key); ok {
			c.statuses[key] = r.measured(key, item.Value)
		}
	}
	return c
}

func (r *Replica) object(key model.Key, item store.Item) (*model.Object, error) {
	o, err := decodeObject(key, item)
	if err != nil {
		r.log.Error("the store holds an object that this server cannot read, so this server changes nothing; is "+
			"another one newer? upgrade this one", "error", err)
	}
	return o, err
}

// measured decodes a status. A status that cannot be read is logged and ignored, since agents measure it again.
func (r *Replica) measured(key model.Key, value []byte) measured {
	status, err := DecodeStatus(key, value)
	if err != nil {
		r.log.Warn("the store holds a status that this server cannot read; the object goes without until it is "+
			"measured again", "error", err)
		return measured{}
	}
	return measured{status, value}
}

// Run keeps the replica up to date until ctx ends, even if the store fails meanwhile. It also tells watchers about
// hosts that fall silent.
func (r *Replica) Run(ctx context.Context) {
	var work sync.WaitGroup
	work.Go(func() { r.follow(ctx) })
	work.Go(func() { r.watchSilence(ctx) })
	work.Wait()
}

func (r *Replica) follow(ctx context.Context) {
	for pause := (backoff.Backoff{First: 100 * time.Millisecond,
		Most: 10 * time.Second}); ctx.Err() == nil; pause.Wait(ctx) {
		for c, err := range r.store.Watch(ctx, r.Revision()) {
			if err == nil {
				pause.Reset()
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
	}
}

// Revision returns the revision of the store that the replica is at.
func (r *Replica) Revision() int64 {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.revision
}

// commit applies one write of the store.
func (r *Replica) commit(c store.Commit) {
	u := update{revision: c.Revision, statuses: map[model.Key]measured{}, pending: map[model.Key]error{}}
	if c.Head {
		u.head = c.Revision
	}
	for _, item := range c.Put {
		if key, ok := keyOf(objectPrefix, item.Key); ok {
			if o, err := r.object(key, item); err != nil {
				u.pending[key] = err
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
	r.apply(u)
}

// reload catches up if the history of the store does not reach back. All differences are one update.
func (r *Replica) reload(ctx context.Context) {
	snapshot, err := r.store.Load(ctx, "")
	if err != nil {
		r.log.Warn("the store cannot be read; will try again", "error", err)
		return
	}
	r.apply(r.difference(snapshot, r.read(snapshot)))
}

func (r *Replica) difference(snapshot store.Snapshot, loaded contents) update {
	r.mu.RLock()
	defer r.mu.RUnlock()
	u := update{revision: snapshot.Revision, statuses: maps.Clone(loaded.statuses), pending: loaded.pending}
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
			if !there[o.Key()] && loaded.pending[o.Key()] == nil {
				u.changes = append(u.changes, model.ChangeTo(o.Key(), nil))
			}
		}
	}
	for key := range r.pending {
		u.pending[key] = loaded.pending[key]
	}
	for key := range r.statuses {
		if _, ok := loaded.statuses[key]; !ok {
			u.statuses[key] = measured{}
		}
	}
	return u
}

// update has the changes from one revision to a later one.
type update struct {
	revision int64
	head     int64 // revision of intent; 0: unchanged
	changes  []model.Change
	statuses map[model.Key]measured // without a status: deleted
	turned   []string               // hosts that have fallen silent, or speak again
	pending  map[model.Key]error    // objects that can no longer be read; nil: readable again
}

func (r *Replica) apply(u update) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if u.revision <= r.revision {
		return
	}
	u.turned = r.noteContact(u)
	r.revision = u.revision
	for key, m := range u.statuses {
		if m.status == nil {
			delete(r.statuses, key)
		} else {
			r.statuses[key] = m
		}
	}
	r.notePending(u)
	found := false
	for key := range u.statuses {
		found = r.find(key) || found
	}
	if u.head != 0 {
		r.state = r.state.With(u.head, u.changes)
	}
	if u.head != 0 || found {
		r.notifyViewers(r.tracker.Apply(r.state, u.changes))
	}
	r.notifyWatchers(u)
	close(r.moved)
	r.moved = make(chan struct{})
}

// State returns all objects as they are now. The value never changes.
func (r *Replica) State() *model.State {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.state
}

// find records the addresses that a host's agent has reported in the tracker, and reports whether they have changed.
// The addresses of a silent host count until it is deleted. A host cannot claim public addresses. It cannot change its
// addresses all the time, since the server tells all hosts about each change.
func (r *Replica) find(key model.Key) bool {
	if key.Kind != "Host" {
		return false
	}
	status, ok := r.statuses[key].status.(*model.HostStatus)
	if !ok {
		delete(r.found, key.Name)
		delete(r.unfound, key.Name)
		return r.tracker.RecordAddresses(key.Name, nil)
	}
	if r.now().Sub(r.found[key.Name]) < AddressesEvery {
		r.unfound[key.Name] = true
		return false
	}
	delete(r.unfound, key.Name)
	found := slices.Clone(status.Addresses)
	slices.SortFunc(found, netip.Addr.Compare)
	changed := r.tracker.RecordAddresses(key.Name, slices.Compact(found))
	if changed {
		r.found[key.Name] = r.now()
	}
	return changed
}

// findLater records the addresses that have changed too soon.
func (r *Replica) findLater() {
	r.mu.Lock()
	defer r.mu.Unlock()
	found := false
	for host := range maps.Clone(r.unfound) {
		found = r.find(model.Key{Kind: "Host", Name: host}) || found
	}
	if found {
		r.notifyViewers(r.tracker.Apply(r.state, nil))
	}
}

// AddressesEvery is the least time between two changes of a host's addresses. Agents look at the same interval.
const AddressesEvery = 10 * time.Second

// notePending records the objects that the state lacks or has in an older form. A later change or deletion of the
// object clears it.
func (r *Replica) notePending(u update) {
	maps.Copy(r.pending, u.pending)
	for _, c := range u.changes {
		delete(r.pending, c.Key())
	}
	maps.DeleteFunc(r.pending, func(_ model.Key, err error) bool { return err == nil })
}

// Complete returns an error if the state lacks an object of the store. A commit on such a state could give the object's
// address to another one. The error does not name the object, which the caller may not be allowed to read.
func (r *Replica) Complete() error {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if len(r.pending) == 0 {
		return nil
	}
	return api.Unavailable.Errorf("the store holds %d objects that this server cannot read, so it changes nothing: "+
		"another server is newer; upgrade this one, whose log names them", len(r.pending))
}

// Await returns once the replica has seen a revision.
func (r *Replica) Await(ctx context.Context, revision int64) error {
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
