package server

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

// ListenTLS listens for other machines: TLS 1.3 with the CA's certificates, on both sides.
func (s *Server) ListenTLS(address string, ca *CA, names Names) (Listener, error) {
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
	g := &gate{server: s, ca: ca, verified: map[[sha256.Size]byte]pass{}}
	cs := &connections{Listener: l, most: most, host: g.hostOf, life: strangerLife, log: s.log, kept: map[standing][]*connection{}}
	return Listener{tls.NewListener(cs, ca.ServerTLS(names)), g.identify, cs}, nil
}

// gate finds out which host a certificate proves, at the time of each request and of each line of a stream: a connection
// outlives certificates and hosts.
type gate struct {
	server *Server
	ca     *CA

	mu       sync.Mutex
	verified map[[sha256.Size]byte]pass // by certificate: to verify a signature for every request would be dear
}

// pass is a certificate that was verified.
type pass struct {
	host, identity string
	until          time.Time
}

// maxVerified is how many are remembered. A host has one, or two while it renews.
const maxVerified = 10_000

// identify lets nobody without a certificate do more than join, whatever the routes would let everybody do.
func (g *gate) identify(r *http.Request) (Caller, error) {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		if r.URL.Path != "/v1/join" {
			return Caller{}, denied("show a host's certificate; overlane join gets one")
		}
		return Caller{}, nil
	}
	return g.caller(r.TLS.PeerCertificates[0])
}

// hostOf is whose a connection is; empty: nobody's that the server knows.
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
	p, err := g.verify(leaf, g.ca.now())
	if err != nil {
		return Caller{}, err
	}
	caller := Caller{Kind: HostCaller, Host: p.host, Identity: p.identity}
	if err := caller.stands(g.server.State()); err != nil {
		return Caller{}, err
	}
	return caller, nil
}

func (g *gate) verify(leaf *x509.Certificate, now time.Time) (pass, error) {
	key := sha256.Sum256(leaf.Raw)
	g.mu.Lock()
	p, ok := g.verified[key]
	g.mu.Unlock()
	if ok && now.Before(p.until) {
		return p, nil
	}
	host, err := g.ca.VerifyHost(leaf, now)
	if err != nil {
		return pass{}, err
	}
	p = pass{host, Identity(leaf), leaf.NotAfter}
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.verified) >= maxVerified {
		clear(g.verified)
	}
	g.verified[key] = p
	return p, nil
}
