package server

import (
	"net/http"
	"time"

	"github.com/overlane/overlane/server/replica"
	"github.com/overlane/overlane/view"
)

// view streams the view of one host, to that host and to admins. A stream that is too slow gets the whole view again.
func (s *Server) view(w http.ResponseWriter, r *http.Request) error {
	host, caller := r.PathValue("host"), CallerOf(r.Context())
	if caller.Kind != LocalAdmin && caller.Host != host {
		return denied("%s may not read the view of host %s", caller, host)
	}
	if s.State().Host(host) == nil {
		return notFound("Host %s: does not exist", host)
	}
	v, all := s.replica.Subscribe(host, s.config.Backlog)
	defer s.replica.Unsubscribe(host, v)
	defer s.metrics.stream("view")()
	out := newLines(w)
	if err := out.line(all); err != nil {
		return err
	}
	return s.passView(r, out, host, v)
}

// passView forwards the news of a viewer. Before every line it checks that the caller may still read them.
func (s *Server) passView(r *http.Request, out *lines, host string, v *replica.Viewer) error {
	beat := time.NewTicker(s.config.Heartbeat)
	defer beat.Stop()
	for {
		var (
			d  *view.Delta
			ok bool
		)
		select {
		case d = <-v.News():
			ok = true
		case <-beat.C:
			d, ok = s.replica.Idle(v)
		case <-s.ctx.Done():
			return unavailable("the server is stopping")
		case <-r.Context().Done():
			return r.Context().Err()
		}
		for ; ok; d, ok = s.replica.Recover(host, v) {
			if err := stillCaller(r); err != nil {
				return err
			}
			if err := out.line(d); err != nil {
				return err
			}
		}
	}
}
