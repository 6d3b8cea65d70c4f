package server

import (
	"context"
	"io"
	"net/http"
	"runtime"
	"strconv"
	"time"

	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/server/api"
	"github.com/overlane/overlane/server/replica"
)

// A stream consists of JSON values, one a line. Each stream waits only for its own client. It ends if the client
// receives nothing for bodyTime, or lags behind by more than Config.Backlog commits.

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

// stream answers with the changes of selected objects. It selects by kind and name, which never change.
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
	watcher, first, err := s.replica.Watch(r.Context(), s.config.Backlog, after)
	if err != nil {
		return err
	}
	defer s.replica.Unwatch(watcher)
	defer s.metrics.stream("watch")()
	out := newLines(w)
	if err := out.batch(first, chosen); err != nil {
		return err
	}
	return s.pass(r.Context(), out, watcher, chosen, first.Revision)
}

func afterOf(r *http.Request) (int64, error) {
	text := r.URL.Query().Get("after")
	if text == "" {
		return replica.FromTheStart, nil
	}
	after, err := strconv.ParseInt(text, 10, 64)
	if err != nil || after < 0 {
		return 0, invalid(`query parameter "after": %q is not a store revision`, text)
	}
	return after, nil
}

// pass forwards the news of a watcher until the client, the server or the watcher ends. The last line has the reason.
func (s *Server) pass(ctx context.Context, out *lines, w *replica.Watcher, chosen selection, revision int64) error {
	beat := time.NewTicker(s.config.Heartbeat)
	defer beat.Stop()
	for {
		select {
		case b, ok := <-w.News():
			if !ok {
				return out.fail(revision, unavailable("too slow: more than %d commits behind; watch again after "+
					"revision %d", s.config.Backlog, revision))
			}
			revision = b.Revision
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

// write writes whole lines at once, with a deadline. It clears the deadline afterwards, since HTTP/2 would reset the
// stream at that time even if nothing is being written.
func (l *lines) write(lines func(io.Writer) error) error {
	_ = l.control.SetWriteDeadline(time.Now().Add(bodyTime))
	if err := lines(l.w); err != nil {
		return err
	}
	if err := l.control.Flush(); err != nil {
		return err
	}
	_ = l.control.SetWriteDeadline(time.Time{})
	return nil
}

// line writes one value.
func (l *lines) line(value any) error {
	text := encodeInTurn(value)
	return l.write(func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	})
}

// encoding limits the number of streams that encode at once. After a large commit, all streams have a long line to
// encode. More of them than CPUs would be no faster, but need the memory of all lines at once.
var encoding = make(chan struct{}, runtime.GOMAXPROCS(0))

func encodeInTurn(value any) []byte {
	encoding <- struct{}{}
	defer func() { <-encoding }()
	return api.Line(value)
}

func (l *lines) batch(b replica.News, chosen selection) error {
	return l.write(func(w io.Writer) error {
		for _, e := range b.Events {
			if chosen.covers(e.Key) {
				if _, err := w.Write(e.Line); err != nil {
					return err
				}
			}
		}
		_, err := w.Write(api.Line(api.Event{Type: api.Sync, Revision: b.Revision}))
		return err
	})
}

func (l *lines) sync(revision int64) error {
	return l.line(api.Event{Type: api.Sync, Revision: revision})
}

func (l *lines) fail(revision int64, why error) error {
	_, sent := translate(why)
	_ = l.line(api.Event{Type: api.Failed, Revision: revision, Error: sent}) // the stream ends in any case
	return why
}
