package server

import "context"

// Caller is who sent a request. The listener that took the connection finds it out; see [Listener].
type Caller struct {
	Kind CallerKind
	Host string // name of the host, for a HostCaller
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
