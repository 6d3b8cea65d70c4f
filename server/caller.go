package server

import (
	"context"
	"net/http"

	"github.com/overlane/overlane/model"
)

// Caller is who sent a request. The listener that took the connection finds it out; see [Listener].
type Caller struct {
	Kind CallerKind
	Host string // name of the host, for a HostCaller

	// Identity is of the key that a HostCaller's certificate proved.
	Identity string
}

// CallerKind says what somebody may do at all. The zero kind, Anonymous, may use only the routes that are open.
type CallerKind string

const (
	Anonymous  CallerKind = ""
	LocalAdmin CallerKind = "local-admin" // came by the unix socket: may do everything
	HostCaller CallerKind = "host"        // showed the certificate of a host: may read its view, and write what is its own
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

// WithCaller is a context of a request by c.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// CallerOf is who sent the request of this context; Anonymous if nobody has said.
func CallerOf(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c
}

// Identify finds out who sent a request; an error refuses it.
type Identify func(*http.Request) (Caller, error)

// Admins is the Identify of a listener that only admins can reach.
func Admins(*http.Request) (Caller, error) { return Caller{Kind: LocalAdmin}, nil }

type identifyKey struct{}

// identified is the request with its caller. A stream asks again before every line: see [stillCaller].
func identified(r *http.Request, identify Identify) (*http.Request, error) {
	caller, err := identify(r)
	if err != nil {
		return r, err
	}
	ctx := context.WithValue(r.Context(), identifyKey{}, identify)
	return r.WithContext(WithCaller(ctx, caller)), nil
}

// stands is an error if a state does not know the caller (any more): deleting a host, and setting its identity to none, revokes its
// certificate at once.
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

// stillCaller is an error if the request would be refused now, or be somebody else's: a stream outlives certificates and hosts, and so
// does a body that is slow to come.
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
