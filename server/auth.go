package server

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/overlane/overlane/model"
)

// ListenTLS listens for other machines: TLS 1.3 with the CA's certificates, on both sides.
func (s *Server) ListenTLS(address string, ca *CA, names Names) (Listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return Listener{}, fmt.Errorf("listen for other machines: %w", err)
	}
	return Listener{tls.NewListener(l, ca.ServerTLS(names)), s.identifyHost}, nil
}

// identifyHost lets nobody without a certificate do more than join, whatever the routes would let everybody do.
func (s *Server) identifyHost(r *http.Request) (Caller, error) {
	caller, err := authenticate(r.TLS, s.State(), time.Now())
	if err == nil && caller.Kind == Anonymous && r.URL.Path != "/v1/join" {
		err = denied("%s: show a host's certificate; overlane join gets one", r.URL.Path)
	}
	return caller, err
}

// authenticate is who a TLS connection's certificate proves, at the time of one request: a connection outlives certificates and
// hosts. The handshake has verified that the certificate is from our CA. Somebody without one is anonymous, and may only
// join. The host must be there, and its identity must be that of the certificate's key: so deleting a host, and
// setting its identity to none, revokes its certificate at once.
func authenticate(c *tls.ConnectionState, s *model.State, now time.Time) (Caller, error) {
	if c == nil || len(c.VerifiedChains) == 0 {
		return Caller{}, nil
	}
	leaf := c.PeerCertificates[0]
	host, err := hostNamed(leaf)
	if err != nil {
		return Caller{}, denied("%s", err)
	}
	if now.After(leaf.NotAfter) {
		return Caller{}, denied("the certificate of host %s expired at %s; join again with a token for this host's name",
			host, leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	spec := s.Host(host)
	switch {
	case spec == nil:
		return Caller{}, denied("host %s was deleted; join again to bring it back", host)
	case spec.Identity != Identity(leaf):
		return Caller{}, denied("the certificate of host %s was revoked, or another machine has taken the name; "+
			"join again with a token for this host's name", host)
	}
	return Caller{Kind: HostCaller, Host: host}, nil
}
