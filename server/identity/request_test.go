package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"testing"
	"time"
)

// FuzzCertificateRequest feeds what anybody may send to a server without a certificate. What is accepted must be a key
// that a certificate can be made for, and that certificate must prove the host.
func FuzzCertificateRequest(f *testing.F) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})))
	f.Add("-----BEGIN CERTIFICATE REQUEST-----\nMAA=\n-----END CERTIFICATE REQUEST-----\n")
	f.Add("")
	ca, err := newCA(time.Now)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, csr string) {
		key, err := RequestedKey(csr)
		if err != nil {
			return
		}
		der, err := ca.HostCertificate("host1", key.Public)
		check(t, err)
		leaf, err := x509.ParseCertificate(der)
		check(t, err)
		if host, err := ca.VerifyHost(leaf, time.Now()); host != "host1" || err != nil ||
			Identity(leaf) != key.Identity {
			t.Errorf("the certificate proves %q, %v", host, err)
		}
	})
}
