package server

import (
	"net/http"
	"sync/atomic"

	"golang.org/x/time/rate"
)

// What was refused is logged, and whoever may be refused must not fill the disk with that: a line is short, and there is one a second.
// Each host has its own, so that none hides what another does.
const (
	refusalRate  = 1
	refusalBurst = 20
	maxSaid      = 200 // characters of what a caller said
)

// refusals is who may write how many lines.
type refusals struct {
	rate    *rate.Limiter
	leftOut atomic.Int64 // lines, since the last one
}

func newRefusals() *refusals { return &refusals{rate: rate.NewLimiter(refusalRate, refusalBurst)} }

// line tells whether there may be one now, and how many were left out before it.
func (q *refusals) line() (leftOut int64, ok bool) {
	if !q.rate.Allow() {
		q.leftOut.Add(1)
		return 0, false
	}
	return q.leftOut.Swap(0), true
}

// logRefusal logs a request with why it is refused.
func (s *Server) logRefusal(t *tracked, r *http.Request) {
	caller := CallerOf(r.Context())
	leftOut, ok := s.refusalsOf(caller)
	if !ok {
		return
	}
	s.log.Warn("request refused", "request", t.id, "caller", caller.String(), "remote", r.RemoteAddr, "method", said(r.Method),
		"path", said(r.URL.Path), "error", said(wordsOf(t.why)), "leftOut", leftOut)
}

func (s *Server) refusalsOf(caller Caller) (leftOut int64, ok bool) {
	switch caller.Kind {
	case LocalAdmin:
		return 0, true
	case HostCaller:
		return s.limits.of(caller.Host).refusals.line()
	}
	return s.limits.strangers.refusals.line()
}

// said is what a caller said, or what quotes it, as the log has it.
func said(text string) string { return cut(text, maxSaid) }

func wordsOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
