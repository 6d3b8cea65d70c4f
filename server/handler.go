package server

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/overlane/overlane/server/api"
)

// bodyTime is the time that a client may take to send a body, or to receive a line of a stream.
const bodyTime = 30 * time.Second

// Handler serves the API to the callers that identify identifies. It gives every request an ID, a log line and metrics,
// and recovers from panics.
func (s *Server) Handler(identify Identify) http.Handler {
	mux := http.NewServeMux()
	for _, route := range s.routes {
		mux.Handle(route.Method+" "+route.Path, s.serve(route))
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t := &tracked{ResponseWriter: w, id: rand.Text()[:12], start: time.Now()}
		w.Header().Set("X-Request-Id", t.id)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		defer func() { s.finish(t, r, recover()) }()
		var err error
		if r, err = identified(r, identify); err != nil {
			s.refuse(t, r, err)
			return
		}
		if _, pattern := mux.Handler(r); pattern == "" {
			s.refuse(t, r, noSuchRoute(mux, r))
			return
		}
		mux.ServeHTTP(t, r)
	})
}

// tracked is an answer with the data for its log line and metrics.
type tracked struct {
	http.ResponseWriter
	id     string
	start  time.Time
	status int
	why    error
}

func (t *tracked) WriteHeader(status int) {
	if t.status == 0 {
		t.status = status
	}
	t.ResponseWriter.WriteHeader(status)
}

func (t *tracked) Write(b []byte) (int, error) {
	if t.status == 0 {
		t.status = http.StatusOK
	}
	return t.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (t *tracked) Unwrap() http.ResponseWriter { return t.ResponseWriter }

// finish runs after every request, also after a panic.
func (s *Server) finish(t *tracked, r *http.Request, p any) {
	if p != nil {
		s.log.Error("panic", "request", t.id, "method", said(r.Method), "path", said(r.URL.Path), "panic",
			fmt.Sprint(p), "stack", string(debug.Stack()))
		if t.status != 0 {
			s.observe(t, r)
			// part of the answer is sent: abort, so that the client does not take it for the whole
			panic(http.ErrAbortHandler)
		}
		s.refuse(t, r, refuse(api.Internal, "a fault in the server; its log has the details"))
	}
	s.observe(t, r)
}

func (s *Server) observe(t *tracked, r *http.Request) {
	took := time.Since(t.start)
	route := r.Pattern
	if route == "" {
		route = "none"
	}
	s.metrics.observe(route, t.status, took)
	s.log.Debug("request", "request", t.id, "caller", CallerOf(r.Context()).String(), "method", said(r.Method), "path",
		said(r.URL.Path),
		"status", t.status, "took", took, "error", said(wordsOf(t.why)))
}

// noSuchRoute returns the error for a request without a route: its path or its method is wrong.
func noSuchRoute(mux *http.ServeMux, r *http.Request) error {
	var allowed []string
	for _, method := range []string{"GET", "PUT", "POST", "DELETE"} {
		other := *r
		other.Method = method
		if _, pattern := mux.Handler(&other); pattern != "" {
			allowed = append(allowed, method)
		}
	}
	if len(allowed) == 0 {
		return notFound("no such path: %s; GET /openapi.json lists them, and names are like "+
			"/v1/endpoints/VPC/SUBNET/ENDPOINT", r.URL.Path)
	}
	return statusError{invalid("%s %s: not possible here; %s is", r.Method, r.URL.Path, strings.Join(allowed, " or ")),
		http.StatusMethodNotAllowed}
}

// serve serves one route, after all checks.
func (s *Server) serve(route Route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := route.check(w, r)
		if err == nil {
			err = s.bounded(route, w, r)
		}
		if err != nil {
			s.refuse(w.(*tracked), r, err)
		}
	})
}

func (route Route) check(w http.ResponseWriter, r *http.Request) error {
	if caller := CallerOf(r.Context()); !route.Access.allows(caller) {
		return denied("%s may not %s %s", caller, r.Method, r.URL.Path)
	}
	if err := route.checkQuery(r.URL); err != nil {
		return err
	}
	return route.checkBody(w, r)
}

func (route Route) checkQuery(u *url.URL) error {
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return invalid("query %q: %v", u.RawQuery, err)
	}
	for name, values := range query {
		known := slices.ContainsFunc(route.Query, func(p Param) bool { return p.Name == name })
		if !known {
			return invalid("query parameter %q: not known here; %s", name, route.knownParams())
		}
		if len(values) > 1 {
			return invalid("query parameter %q: given %d times", name, len(values))
		}
	}
	return nil
}

func (route Route) knownParams() string {
	if len(route.Query) == 0 {
		return "there are none"
	}
	names := make([]string, len(route.Query))
	for i, p := range route.Query {
		names[i] = p.Name
	}
	return "known are " + strings.Join(names, ", ")
}

func (route Route) checkBody(w http.ResponseWriter, r *http.Request) error {
	if route.Body == nil {
		return nil
	}
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		err := invalid("content type %q: send application/json (curl: --json)", r.Header.Get("Content-Type"))
		return statusError{err, http.StatusUnsupportedMediaType}
	}
	r.Body = http.MaxBytesReader(w, r.Body, route.limit(CallerOf(r.Context())))
	// A recorder in a test has no deadlines.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTime))
	return nil
}

// defaultLimit of a body, in bytes.
const defaultLimit = 1 << 20

func (route Route) limit(caller Caller) int64 {
	if caller.Kind == HostCaller && route.HostLimit != 0 {
		return route.HostLimit
	}
	return cmp.Or(route.Limit, defaultLimit)
}

// readBody decodes a body. It must be one JSON value of that type, without unknown fields.
func readBody(r *http.Request, into any) error { return decodeBody(r.Body, into) }

func decodeBody(body io.Reader, into any) error {
	d := json.NewDecoder(body)
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return badBody(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return invalid("body: more than one JSON value")
	}
	return nil
}

func badBody(err error) error {
	var (
		large *http.MaxBytesError
		typed *json.UnmarshalTypeError
	)
	switch {
	case errors.As(err, &large):
		return statusError{invalid("body: longer than %d bytes; send it in parts", large.Limit),
			http.StatusRequestEntityTooLarge}
	case errors.Is(err, io.EOF):
		return invalid("body: empty")
	case errors.As(err, &typed):
		return invalid("body: a JSON %s %s not what belongs there", typed.Value, place(typed.Field))
	}
	return invalid("body: %s", strings.TrimPrefix(err.Error(), "json: "))
}

func place(field string) string {
	if field == "" {
		return "is"
	}
	return "in " + field + " is"
}

// refuse writes an error, unless the answer has begun already.
func (s *Server) refuse(t *tracked, r *http.Request, err error) {
	t.why = err
	if t.status != 0 {
		return
	}
	status, sent := translate(err)
	sent.RequestID = t.id
	if status >= 500 || sent.Kind == api.Denied || CallerOf(r.Context()).Kind == Anonymous {
		s.logRefusal(t, r)
	}
	_ = writeJSON(t, status, api.Refusal{Error: sent}) // fails only if the client is gone
}
