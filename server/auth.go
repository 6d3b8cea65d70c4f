package server

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"

	"github.com/overlane/overlane/server/identity"
)

// ListenTLS listens for other machines: TLS 1.3 with the CA's certificates, on both sides.
func (s *Server) ListenTLS(address string, ca *identity.CA, names identity.Names) (Listener, error) {
	files, err := openFiles()
	if err != nil {
		return Listener{}, err
	}
	most, err := fit(files)
	if err != nil {
		return Listener{}, err
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return Listener{}, fmt.Errorf("listen for other machines: %w", err)
	}
	g := &gate{server: s, verifier: identity.NewVerifier(ca)}
	cs := &connections{Listener: l, most: most, host: g.hostOf, life: anonymousLife, log: s.log,
		kept: map[standing][]*connection{}}
	return Listener{tls.NewListener(cs, ca.ServerTLS(names)), g.identify, cs}, nil
}

// gate finds the host that a certificate proves, for each request and each line of a stream: a connection may outlive
// certificates and hosts.
type gate struct {
	server   *Server
	verifier *identity.Verifier
}

// identify lets a caller without a certificate only join, even if the route is open to all.
func (g *gate) identify(r *http.Request) (Caller, error) {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		if r.URL.Path != "/v1/join" {
			return Caller{}, denied("show a host's certificate; overlane join gets one")
		}
		return Caller{}, nil
	}
	return g.caller(r.TLS.PeerCertificates[0])
}

// hostOf is the host of a connection; empty: no host that the server knows.
func (g *gate) hostOf(state tls.ConnectionState) string {
	if len(state.PeerCertificates) == 0 {
		return ""
	}
	caller, err := g.caller(state.PeerCertificates[0])
	if err != nil {
		return ""
	}
	return caller.Host
}

func (g *gate) caller(leaf *x509.Certificate) (Caller, error) {
	host, err := g.verifier.Verify(leaf)
	if err != nil {
		return Caller{}, err
	}
	caller := Caller{Kind: HostCaller, Host: host.Name, Identity: host.Identity}
	if err := caller.stands(g.server.State()); err != nil {
		return Caller{}, err
	}
	return caller, nil
}
