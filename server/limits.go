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

// A host's machine may have been broken into, so what one host can have the server do, and keep, is bounded. The bounds are
// far from what an agent needs: it has one view and one report under way, and a request for each attach.
const (
	hostRequests = 8                // served at once; more of them wait
	hostStreams  = 8                // a stream whose host has vanished takes a while to be noticed
	hostPatience = 10 * time.Second // how long one more request waits
	hostObjects  = 1000             // in one request
	hostOpens    = 1                // streams a second, after hostStreams: each begins with the whole view, made while everybody waits

	// Those without a certificate may do nothing but join. This is for all of them together.
	strangerRequests = 16              // served at once; more of them wait
	strangerRate     = 10              // a second
	strangerBurst    = 100             // as many machines join at once
	strangerTime     = 5 * time.Second // for a body, when its turn has come

	// What a host reports is written down: each request costs what its body is long, in bytes, and the work of a write.
	reportRate  = 64 << 10 // bytes a second
	reportBurst = 4 << 20
	reportCost  = 4 << 10

	// What a host changes is committed, in turn with what everybody else changes: each request and each of its objects costs this much, and
	// its bytes. An attach is one object, so that is some 50 of them a second, after a good thousand at once.
	changeRate  = 128 << 10 // bytes a second
	changeBurst = 4 << 20
	changeCost  = 1 << 10

	// How long one object's status may be, in bytes of JSON: a host needs some 150 for each of its peers.
	maxHostStatus     = 256 << 10
	maxEndpointStatus = 4 << 10
)

func maxStatus(key model.Key) int {
	if key.Kind == "Host" {
		return maxHostStatus
	}
	return maxEndpointStatus
}

// limits are what each host has under way, and those without a certificate.
type limits struct {
	strangers *strangerLimits

	mu   sync.Mutex
	host map[string]*hostLimits
}

type strangerLimits struct {
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
		strangers: &strangerLimits{make(chan struct{}, strangerRequests), rate.NewLimiter(strangerRate, strangerBurst), newRefusals()},
		host:      map[string]*hostLimits{},
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

// bounded serves a route to a caller, within what it may have under way.
func (s *Server) bounded(route Route, w http.ResponseWriter, r *http.Request) error {
	switch CallerOf(r.Context()).Kind {
	case LocalAdmin:
		return route.Serve(w, r)
	case HostCaller:
		return s.boundedHost(route, w, r)
	}
	return s.boundedStranger(route, w, r)
}

func (s *Server) boundedStranger(route Route, w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := context.WithTimeout(r.Context(), hostPatience)
	defer cancel()
	if s.limits.strangers.rate.Wait(ctx) != nil {
		return tooMuch("those without a certificate send more than %d requests a second", strangerRate)
	}
	under := s.limits.strangers.requests
	if enter(ctx, under) != nil {
		return tooMuch("those without a certificate have %d requests under way, and may not have more", cap(under))
	}
	defer func() { <-under }()
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(strangerTime)) // as in checkBody
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

// mayReport charges a host for a body of so many bytes.
func (s *Server) mayReport(caller Caller, bytes int) error {
	if caller.Kind == HostCaller && !s.limits.of(caller.Host).reports.AllowN(time.Now(), bytes+reportCost) {
		return tooMuch("%s reports more than %d bytes a second", caller, reportRate)
	}
	return nil
}

// mayReportOf refuses more reports at once than an agent sends.
func mayReportOf(caller Caller, reports int) error {
	if caller.Kind == HostCaller && reports > api.MaxReports {
		return statusError{invalid("body: %d reports, and a host may send %d at once; send them in parts", reports, api.MaxReports), http.StatusRequestEntityTooLarge}
	}
	return nil
}

// mayAskFor refuses a host's request that is about more than it could have, and charges it for the others. One that comes too soon waits:
// it is an attach, and somebody waits for that.
func (s *Server) mayAskFor(ctx context.Context, caller Caller, objects, bytes int) error {
	if caller.Kind != HostCaller {
		return nil
	}
	if objects > hostObjects {
		return statusError{invalid("body: %d objects, and a host may change %d at once", objects, hostObjects), http.StatusRequestEntityTooLarge}
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
