package server

import (
	"net/http"
	"sync/atomic"

	"golang.org/x/time/rate"
)

// Refused requests are logged, but must not fill the disk: a line is short, and there is at most one a second. Each
// host has a rate of its own, so that no host hides the requests of another one.
const (
	refusalRate  = 1
	refusalBurst = 20
	maxSaid      = 200 // characters of a caller's text
)

// refusals limits the lines about one caller.
type refusals struct {
	rate    *rate.Limiter
	leftOut atomic.Int64 // lines, since the last one
}

func newRefusals() *refusals { return &refusals{rate: rate.NewLimiter(refusalRate, refusalBurst)} }

// line reports whether a line may be written now, and the number of lines left out before it.
func (q *refusals) line() (leftOut int64, ok bool) {
	if !q.rate.Allow() {
		q.leftOut.Add(1)
		return 0, false
	}
	return q.leftOut.Swap(0), true
}

// logRefusal logs a refused request with the reason.
func (s *Server) logRefusal(t *tracked, r *http.Request) {
	caller := CallerOf(r.Context())
	leftOut, ok := s.refusalsOf(caller)
	if !ok {
		return
	}
	s.log.Warn("request refused", "request", t.id, "caller", caller.String(), "remote", r.RemoteAddr, "method",
		said(r.Method),
		"path", said(r.URL.Path), "error", said(wordsOf(t.why)), "leftOut", leftOut)
}

func (s *Server) refusalsOf(caller Caller) (leftOut int64, ok bool) {
	switch caller.Kind {
	case LocalAdmin:
		return 0, true
	case HostCaller:
		return s.limits.of(caller.Host).refusals.line()
	}
	return s.limits.anonymous.refusals.line()
}

// said returns a text of a caller in the form for the log.
func said(text string) string { return cut(text, maxSaid) }

func wordsOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
