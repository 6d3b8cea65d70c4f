package server

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/server/api"
)

// An intruder may control a host's machine, so the work and the memory that one host can use are bounded. The bounds
// are far above the needs of an agent: one view, one report at a time, and a request for each attach.
const (
	hostRequests = 8                // served at once; further ones wait
	hostStreams  = 8                // open at once; the server notices only later that a client has vanished
	hostPatience = 10 * time.Second // for a further request to wait
	hostObjects  = 1000             // in one request
	hostOpens    = 1                // new streams a second, after hostStreams: each makes the whole view, under a lock

	// Anonymous callers may only join. These bounds are for all of them together.
	anonymousRequests = 16              // served at once; more of them wait
	anonymousRate     = 10              // a second
	anonymousBurst    = 100             // as many machines join at once
	anonymousTime     = 5 * time.Second // for a body, when its turn has come

	// A report is written to the store. It costs the length of its body, in bytes, and reportCost for the write.
	reportRate  = 64 << 10 // bytes a second
	reportBurst = 4 << 20
	reportCost  = 4 << 10

	// A change is committed, in turn with the changes of all others. It costs the length of its body, in bytes, and
	// changeCost for the request and for each object. This allows about 50 attaches a second, after a burst of a
	// thousand.
	changeRate  = 128 << 10 // bytes a second
	changeBurst = 4 << 20
	changeCost  = 1 << 10

	// The greatest length of one object's status, in bytes of JSON. A host needs about 150 for each peer.
	maxHostStatus     = 256 << 10
	maxEndpointStatus = 4 << 10
)

func maxStatus(key model.Key) int {
	if key.Kind == "Host" {
		return maxHostStatus
	}
	return maxEndpointStatus
}

// limits bound the requests of each host, and of all anonymous callers together.
type limits struct {
	anonymous *anonymousLimits

	mu   sync.Mutex
	host map[string]*hostLimits
}

type anonymousLimits struct {
	requests chan struct{} // one token for each that is under way
	rate     *rate.Limiter
	refusals *refusals
}

type hostLimits struct {
	requests, streams chan struct{} // one token for each that is under way
	opens             *rate.Limiter // of streams
	reports, changes  *rate.Limiter
	refusals          *refusals
}

func newLimits() limits {
	return limits{
		anonymous: &anonymousLimits{make(chan struct{}, anonymousRequests), rate.NewLimiter(anonymousRate,
			anonymousBurst), newRefusals()},
		host: map[string]*hostLimits{},
	}
}

func (l *limits) of(host string) *hostLimits {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.host[host] == nil {
		l.host[host] = &hostLimits{
			requests: make(chan struct{}, hostRequests),
			streams:  make(chan struct{}, hostStreams),
			opens:    rate.NewLimiter(hostOpens, hostStreams),
			reports:  rate.NewLimiter(reportRate, reportBurst),
			changes:  rate.NewLimiter(changeRate, changeBurst),
			refusals: newRefusals(),
		}
	}
	return l.host[host]
}

// bounded serves a route within the bounds of its caller.
func (s *Server) bounded(route Route, w http.ResponseWriter, r *http.Request) error {
	switch CallerOf(r.Context()).Kind {
	case LocalAdmin:
		return route.Serve(w, r)
	case HostCaller:
		return s.boundedHost(route, w, r)
	}
	return s.boundedAnonymous(route, w, r)
}

func (s *Server) boundedAnonymous(route Route, w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := context.WithTimeout(r.Context(), hostPatience)
	defer cancel()
	if s.limits.anonymous.rate.Wait(ctx) != nil {
		return tooMuch("those without a certificate send more than %d requests a second", anonymousRate)
	}
	under := s.limits.anonymous.requests
	if enter(ctx, under) != nil {
		return tooMuch("those without a certificate have %d requests under way, and may not have more", cap(under))
	}
	defer func() { <-under }()
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(anonymousTime)) // as in checkBody
	return route.Serve(w, r)
}

func (s *Server) boundedHost(route Route, w http.ResponseWriter, r *http.Request) error {
	caller := CallerOf(r.Context())
	limits := s.limits.of(caller.Host)
	under, patience := limits.requests, hostPatience
	if route.Stream {
		under, patience = limits.streams, 0
		if !limits.opens.Allow() {
			return tooMuch("%s opens more than %d stream a second", caller, hostOpens)
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	if err := enter(ctx, under); err != nil {
		return tooMuch("%s has %d requests like this one under way, and may not have more", caller, cap(under))
	}
	defer func() { <-under }()
	return route.Serve(w, r)
}

func enter(ctx context.Context, under chan struct{}) error {
	select {
	case under <- struct{}{}:
		return nil
	default:
	}
	select {
	case under <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// mayReport charges a host for the body of a report.
func (s *Server) mayReport(caller Caller, bytes int) error {
	if caller.Kind == HostCaller && !s.limits.of(caller.Host).reports.AllowN(time.Now(), bytes+reportCost) {
		return tooMuch("%s reports more than %d bytes a second", caller, reportRate)
	}
	return nil
}

// mayReportOf refuses more reports in one request than an agent sends.
func mayReportOf(caller Caller, reports int) error {
	if caller.Kind == HostCaller && reports > api.MaxReports {
		return statusError{invalid("body: %d reports, and a host may send %d at once; send them in parts", reports,
			api.MaxReports), http.StatusRequestEntityTooLarge}
	}
	return nil
}

// mayAskFor refuses a host's request with too many objects, and charges the host for any other. A request beyond the
// rate waits, since a user may be waiting for this attach.
func (s *Server) mayAskFor(ctx context.Context, caller Caller, objects, bytes int) error {
	if caller.Kind != HostCaller {
		return nil
	}
	if objects > hostObjects {
		return statusError{invalid("body: %d objects, and a host may change %d at once", objects, hostObjects),
			http.StatusRequestEntityTooLarge}
	}
	ctx, cancel := context.WithTimeout(ctx, hostPatience)
	defer cancel()
	if s.limits.of(caller.Host).changes.WaitN(ctx, (1+objects)*changeCost+bytes) != nil {
		return tooMuch("%s changes more than %d bytes a second", caller, changeRate)
	}
	return nil
}

func tooMuch(format string, args ...any) error {
	return statusError{unavailable("%s; try again later", fmt.Sprintf(format, args...)), http.StatusTooManyRequests}
}
