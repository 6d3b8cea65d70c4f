package identity

import (
	"crypto/sha256"
	"crypto/x509"
	"sync"
	"time"
)

// Verifier finds the host that a certificate proves. It remembers valid certificates, since verifying a signature for
// every request would be expensive.
type Verifier struct {
	ca *CA

	mu       sync.Mutex
	verified map[[sha256.Size]byte]verified // by certificate
}

// Host is the host that a certificate proves.
type Host struct {
	Name     string
	Identity string // see [Identity]
}

// verified is a certificate that was valid.
type verified struct {
	Host
	until time.Time
}

// maxVerified is the number of remembered certificates. A host has one, or two during a renewal.
const maxVerified = 10_000

// NewVerifier returns a verifier of a CA's certificates.
func NewVerifier(ca *CA) *Verifier {
	return &Verifier{ca: ca, verified: map[[sha256.Size]byte]verified{}}
}

// Verify returns the host that a certificate proves now, by the CA's clock. See [CA.VerifyHost] for the error.
func (v *Verifier) Verify(leaf *x509.Certificate) (Host, error) {
	key, now := sha256.Sum256(leaf.Raw), v.ca.Now()
	v.mu.Lock()
	known, ok := v.verified[key]
	v.mu.Unlock()
	if ok && now.Before(known.until) {
		return known.Host, nil
	}
	name, err := v.ca.VerifyHost(leaf, now)
	if err != nil {
		return Host{}, err
	}
	host := Host{name, Identity(leaf)}
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.verified) >= maxVerified {
		clear(v.verified)
	}
	v.verified[key] = verified{host, leaf.NotAfter}
	return host, nil
}
