package server

import (
	"context"
	"net/http"

	"github.com/overlane/overlane/model"
)

// Caller is the sender of a request. The listener of the connection identifies it; see [Listener].
type Caller struct {
	Kind CallerKind
	Host string // name of the host, for a HostCaller

	// Identity is the identity of the key in a HostCaller's certificate.
	Identity string
}

// CallerKind decides the rights of a caller. The zero kind, Anonymous, may use only the open routes.
type CallerKind string

const (
	Anonymous  CallerKind = ""
	LocalAdmin CallerKind = "local-admin" // connected to the unix socket: has all rights
	HostCaller CallerKind = "host"        // has the certificate of a host: may read its view and write its own objects
)

func (c Caller) String() string {
	switch c.Kind {
	case HostCaller:
		return "host " + c.Host
	case Anonymous:
		return "anonymous"
	}
	return string(c.Kind)
}

type callerKey struct{}

// WithCaller returns a context of a request by c.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// CallerOf returns the sender of a context's request; Anonymous if the context has none.
func CallerOf(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c
}

// Identify identifies the sender of a request. An error refuses the request.
type Identify func(*http.Request) (Caller, error)

// Admins is an Identify for listeners that only admins can reach.
func Admins(*http.Request) (Caller, error) { return Caller{Kind: LocalAdmin}, nil }

type identifyKey struct{}

// identified returns the request with its caller. A stream checks the caller again before every line: see
// [stillCaller].
func identified(r *http.Request, identify Identify) (*http.Request, error) {
	caller, err := identify(r)
	if err != nil {
		return r, err
	}
	ctx := context.WithValue(r.Context(), identifyKey{}, identify)
	return r.WithContext(WithCaller(ctx, caller)), nil
}

// stands returns an error if the caller is not a host of a state. Deleting a host, or clearing its identity, revokes
// its certificate at once.
func (c Caller) stands(s *model.State) error {
	if c.Kind != HostCaller {
		return nil
	}
	spec := s.Host(c.Host)
	switch {
	case spec == nil:
		return denied("host %s was deleted; join again to bring it back", c.Host)
	case spec.Identity != c.Identity:
		return denied("the certificate of host %s was revoked, or another machine has taken the name; "+
			"join again with a token for this host's name", c.Host)
	}
	return nil
}

// stillCaller returns an error if the request would now be refused, or be another caller's. A stream, or a slow body,
// may outlive certificates and hosts.
func stillCaller(r *http.Request) error {
	identify, ok := r.Context().Value(identifyKey{}).(Identify)
	if !ok {
		return nil
	}
	caller, err := identify(r)
	if err == nil && caller != CallerOf(r.Context()) {
		err = denied("the caller is now %s", caller)
	}
	return err
}
