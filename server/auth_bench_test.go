package server

import (
	"crypto/x509"
	"testing"
	"time"

	"github.com/overlane/overlane/store"
)

// BenchmarkVerifyHost is what each request would cost if certificates that passed were not remembered.
func BenchmarkVerifyHost(b *testing.B) {
	ca, err := OpenCA(b.Context(), NewVault(store.NewMemory(0)))
	if err != nil {
		b.Fatal(err)
	}
	der, err := ca.HostCertificate("host1", &ca.key.PublicKey)
	if err != nil {
		b.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := ca.VerifyHost(leaf, time.Now()); err != nil {
			b.Fatal(err)
		}
	}
}
