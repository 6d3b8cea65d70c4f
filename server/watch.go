package server

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/server/api"
	"github.com/overlane/overlane/store"
)

// Streams are JSON values, one a line. Each waits only for its own client: one that takes nothing for bodyTime, or lags
// behind by more than Config.Backlog commits, is ended.

func (s *Server) watchAll(w http.ResponseWriter, r *http.Request) error {
	chosen := selection{}
	if name := r.URL.Query().Get("kind"); name != "" {
		kind, ok := model.KindByName(name)
		if !ok {
			return invalid("query parameter \"kind\": %q is not a kind", name)
		}
		chosen.kind = kind.Name
	}
	return s.stream(w, r, chosen)
}

// stream answers with the changes to a selection of objects, which goes by what never changes: kind and name.
func (s *Server) stream(w http.ResponseWriter, r *http.Request, chosen selection) error {
	if caller := CallerOf(r.Context()); caller.Kind != LocalAdmin {
		return denied("%s may not watch objects: its view tells it what it must know", caller)
	}
	if chosen.host != "" {
		return invalid(`query parameter "host": not for a watch; GET /v1/hosts/%s/view follows a host`, chosen.host)
	}
	after, err := afterOf(r)
	if err != nil {
		return err
	}
	watcher, first, err := s.start(r.Context(), after)
	if err != nil {
		return err
	}
	defer s.replica.unwatch(watcher)
	defer s.metrics.stream("watch")()
	out := newLines(w)
	if err := out.batch(first, chosen); err != nil {
		return err
	}
	return s.pass(r.Context(), out, watcher, chosen, first.revision)
}

// noRevision says that a stream begins with all objects.
const noRevision = -1

func afterOf(r *http.Request) (int64, error) {
	text := r.URL.Query().Get("after")
	if text == "" {
		return noRevision, nil
	}
	after, err := strconv.ParseInt(text, 10, 64)
	if err != nil || after < 0 {
		return 0, invalid(`query parameter "after": %q is not a store revision`, text)
	}
	return after, nil
}

// start enters a watcher, and gives it first what it has missed: all objects, or those that have changed since.
func (s *Server) start(ctx context.Context, after int64) (*watcher, batch, error) {
	w, now, first := s.replica.begin(s.config.Backlog, after)
	if after == noRevision || after == now {
		return w, batch{now, first}, nil
	}
	missed, err := s.missed(ctx, after, now)
	if err != nil {
		s.replica.unwatch(w)
		return nil, batch{}, err
	}
	return w, missed, nil
}

// begin enters a watcher at the present revision, with all objects if it wants them. Even one that knows that revision may not know
// who has fallen silent since.
func (r *replica) begin(backlog int, after int64) (w *watcher, now int64, first []event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch after {
	case noRevision:
		for o := range (selection{}).among(r.state) {
			first = append(first, r.event(r.revision, o.Key()))
		}
	case r.revision:
		first = r.events(update{revision: r.revision, turned: r.turnedSince(after)})
	}
	return r.watch(backlog), r.revision, first
}

// missed asks the store's history what has changed after a revision and until now, and tells of each such object as it is now.
func (s *Server) missed(ctx context.Context, after, now int64) (batch, error) {
	if after > now {
		return batch{}, gone("revision %d is yet to come: the store is at %d; list, then watch from there", after, now)
	}
	u := update{revision: now, statuses: map[model.Key]measured{}}
	for c, err := range s.config.Store.Watch(ctx, after) {
		if errors.Is(err, store.ErrCompacted) {
			return batch{}, gone("revision %d is no longer in the store's history; list, then watch from there", after)
		}
		if err != nil {
			return batch{}, err
		}
		if c.Revision <= now {
			u.note(c)
		}
		if c.Revision >= now {
			break
		}
	}
	s.replica.mu.RLock()
	defer s.replica.mu.RUnlock()
	u.turned = s.replica.turnedSince(after)
	return batch{now, s.replica.events(u)}, nil
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

// pass passes on what the watcher is told, until the client, the server or the watcher ends. Then it says why.
func (s *Server) pass(ctx context.Context, out *lines, w *watcher, chosen selection, revision int64) error {
	beat := time.NewTicker(s.config.Heartbeat)
	defer beat.Stop()
	for {
		select {
		case b, ok := <-w.news:
			if !ok {
				return out.fail(revision, unavailable("too slow: more than %d commits behind; watch again after revision %d", s.config.Backlog, revision))
			}
			revision = b.revision
			if err := out.batch(b, chosen); err != nil {
				return err
			}
		case <-beat.C:
			if err := out.sync(revision); err != nil {
				return err
			}
		case <-s.ctx.Done():
			return out.fail(revision, unavailable("the server is stopping; watch again after revision %d", revision))
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// lines writes a stream.
type lines struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

func newLines(w http.ResponseWriter) *lines {
	w.Header().Set("Content-Type", "application/x-ndjson")
	return &lines{w, http.NewResponseController(w)}
}

// send writes whole lines at once. The deadline is taken back, because HTTP/2 resets a stream by it even if nothing is being
// written. A connection that has no deadlines cannot be helped.
func (l *lines) send(text []byte) error {
	_ = l.control.SetWriteDeadline(time.Now().Add(bodyTime))
	if _, err := l.w.Write(text); err != nil {
		return err
	}
	if err := l.control.Flush(); err != nil {
		return err
	}
	_ = l.control.SetWriteDeadline(time.Time{})
	return nil
}

func (l *lines) batch(b batch, chosen selection) error {
	var text bytes.Buffer
	for _, e := range b.events {
		if chosen.covers(e.key) {
			text.Write(e.line)
		}
	}
	text.Write(encode(api.Event{Type: api.Sync, Revision: b.revision}))
	return l.send(text.Bytes())
}

func (l *lines) sync(revision int64) error {
	return l.send(encode(api.Event{Type: api.Sync, Revision: revision}))
}

func (l *lines) fail(revision int64, why error) error {
	_, sent := translate(why)
	_ = l.send(encode(api.Event{Type: api.Failed, Revision: revision, Error: sent})) // it ends either way
	return why
}
