// Package identity proves identities: it has the CA, the certificates that the CA signs for servers and hosts, the join
// tokens, and the store of their secrets. It serves no requests.
package identity

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"net/url"
	"sync"
	"time"

	"github.com/overlane/overlane/server/api"
)

// Certificates begin an hour early, since clocks differ.
const (
	caLife     = 10 * 365 * 24 * time.Hour
	serverLife = 90 * 24 * time.Hour
	hostLife   = 365 * 24 * time.Hour
	clockSlack = time.Hour
)

// CA signs the certificates of servers and hosts (ECDSA, P-256). All servers of a store have the same one.
type CA struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	now         func() time.Time
}

// At returns the same CA with another clock.
func (ca *CA) At(now func() time.Time) *CA { return &CA{ca.certificate, ca.key, now} }

// Now returns the time of the CA's clock.
func (ca *CA) Now() time.Time { return ca.now() }

const caSecret = "ca"

// OpenCA reads the CA from a store of secrets. The first server creates it.
func OpenCA(ctx context.Context, secrets SecretStore) (*CA, error) {
	for {
		stored, revision, err := secrets.Secret(ctx, caSecret)
		if err != nil {
			return nil, fmt.Errorf("read the CA: %w", err)
		}
		if revision != 0 {
			return parseCA(stored)
		}
		ca, err := newCA(time.Now)
		if err != nil {
			return nil, fmt.Errorf("make a CA: %w", err)
		}
		text, err := ca.marshal()
		if err != nil {
			return nil, fmt.Errorf("make a CA: %w", err)
		}
		if swapped, err := secrets.PutSecret(ctx, caSecret, text, 0); err != nil {
			return nil, fmt.Errorf("keep the CA: %w", err)
		} else if swapped {
			return ca, nil
		}
	}
}

func newCA(now func() time.Time) (*CA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	begin := now()
	template := &x509.Certificate{
		SerialNumber:          newSerial(),
		Subject:               pkix.Name{CommonName: "Overlane CA"},
		NotBefore:             begin.Add(-clockSlack),
		NotAfter:              begin.Add(caLife),
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	return &CA{certificate, key, now}, err
}

// newSerial returns a random serial number of 127 bits. RFC 5280 section 4.1.2.2 allows 20 bytes, and a positive
// number.
func newSerial() *big.Int {
	b := make([]byte, 16)
	rand.Read(b) // never fails
	b[0] &= 0x7f
	return new(big.Int).SetBytes(b)
}

// marshal returns the certificate and the key, in PEM.
func (ca *CA) marshal() ([]byte, error) {
	key, err := x509.MarshalPKCS8PrivateKey(ca.key)
	if err != nil {
		return nil, err
	}
	return append(ca.PEM(), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...), nil
}

func parseCA(text []byte) (*CA, error) {
	pair, err := tls.X509KeyPair(text, text)
	if err != nil {
		return nil, fmt.Errorf("read the CA: %w", err)
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errors.New("read the CA: its key is not an ECDSA key")
	}
	return &CA{pair.Leaf, key, time.Now}, nil
}

// PEM returns the CA's certificate.
func (ca *CA) PEM() []byte { return certificatePEM(ca.certificate.Raw) }

func certificatePEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// Fingerprint returns the SHA-256 of the CA's certificate in hex: the output of "openssl x509 -fingerprint -sha256"
// without colons. A join token contains it, and so pins the server.
func (ca *CA) Fingerprint() string {
	sum := sha256.Sum256(ca.certificate.Raw)
	return hex.EncodeToString(sum[:])
}

// pool contains only this CA.
func (ca *CA) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.certificate)
	return pool
}

func (ca *CA) sign(template *x509.Certificate, public any, life time.Duration) ([]byte, error) {
	begin := ca.now()
	template.SerialNumber = newSerial()
	template.NotBefore = begin.Add(-clockSlack)
	template.NotAfter = begin.Add(life)
	template.KeyUsage = x509.KeyUsageDigitalSignature
	return x509.CreateCertificate(rand.Reader, template, ca.certificate, public, ca.key)
}

// HostCertificate signs a certificate, in DER, for a host. It is valid for clients only, so that no host can pose as a
// server.
func (ca *CA) HostCertificate(host string, public *ecdsa.PublicKey) ([]byte, error) {
	return ca.sign(&x509.Certificate{
		Subject:     pkix.Name{CommonName: host, Organization: []string{"Overlane host"}},
		URIs:        []*url.URL{hostURI(host)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, public, hostLife)
}

// hostURI is the name of a host in a certificate: "overlane://host/NAME".
func hostURI(host string) *url.URL {
	return &url.URL{Scheme: "overlane", Host: "host", Path: "/" + host}
}

// hostNamed returns the host that a certificate names.
func hostNamed(c *x509.Certificate) (string, error) {
	if len(c.URIs) != 1 || c.URIs[0].Scheme != "overlane" || c.URIs[0].Host != "host" || len(c.URIs[0].Path) < 2 {
		return "", errors.New("the certificate names no host")
	}
	return c.URIs[0].Path[1:], nil
}

// Identity returns the identity of a public key, as in a Host's spec.identity: the SHA-256 of its SubjectPublicKeyInfo,
// in hex.
func Identity(c *x509.Certificate) string { return identityOf(c.RawSubjectPublicKeyInfo) }

func identityOf(publicKeyInfo []byte) string {
	sum := sha256.Sum256(publicKeyInfo)
	return hex.EncodeToString(sum[:])
}

// serverCertificate makes a key and a certificate for a server, with the CA's certificate in the chain: a joining
// machine compares it with the fingerprint in its token.
func (ca *CA) serverCertificate(names []string, addresses []netip.Addr) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: api.ServerName},
		DNSNames:    append([]string{api.ServerName}, names...),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, a := range addresses {
		template.IPAddresses = append(template.IPAddresses, a.AsSlice())
	}
	der, err := ca.sign(template, key.Public(), serverLife)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	return &tls.Certificate{Certificate: [][]byte{der, ca.certificate.Raw}, PrivateKey: key, Leaf: leaf}, err
}

// Names are the further names in a server's certificate, beside [api.ServerName], for browsers and curl.
type Names struct {
	DNS       []string
	Addresses []netip.Addr
}

// ServerTLS returns the configuration of a server that listens to the network: TLS 1.3, and a certificate of its own,
// renewed when a third of its life is left. The handshake asks for a client certificate and proves that the client has
// its key. [CA.VerifyHost] verifies the certificate later, so that an answer can tell the client why it is refused: a
// TLS 1.3 alert comes after the client has begun to send, and is often lost when the connection closes.
func (ca *CA) ServerTLS(n Names) *tls.Config {
	own := &ownCertificate{ca: ca, names: n}
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		GetCertificate:         own.get,
		ClientAuth:             tls.RequestClientCert,
		Time:                   ca.now,
		NextProtos:             []string{"h2", "http/1.1"},
		SessionTicketsDisabled: true, // each connection proves its identity
	}
}

// VerifyHost returns the host that a certificate names, if the certificate is from this CA, is for a client, and is
// valid now.
func (ca *CA) VerifyHost(leaf *x509.Certificate, now time.Time) (string, error) {
	host, err := hostNamed(leaf)
	if err != nil {
		return "", api.Denied.Errorf("%s", err)
	}
	_, err = leaf.Verify(x509.VerifyOptions{Roots: ca.pool(), CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "", api.Denied.Errorf("the certificate of host %s is good from %s to %s, and the server's clock says "+
			"%s; join again with a token for this host's name",
			host, stamp(leaf.NotBefore), stamp(leaf.NotAfter), stamp(now))
	case err != nil:
		return "", api.Denied.Errorf("the certificate of host %s is not from this server's CA; join again", host)
	}
	return host, nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// ownCertificate is the certificate of a server, made at its first use. It is never stored.
type ownCertificate struct {
	ca    *CA
	names Names

	mu      sync.Mutex
	current *tls.Certificate
}

func (o *ownCertificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.current != nil && o.ca.now().Before(o.current.Leaf.NotAfter.Add(-serverLife/3)) {
		return o.current, nil
	}
	made, err := o.ca.serverCertificate(o.names.DNS, o.names.Addresses)
	if err != nil {
		return nil, fmt.Errorf("make the server's certificate: %w", err)
	}
	o.current = made
	return made, nil
}
