package identity

import (
	"crypto/x509"
	"sync"
	"testing"
	"time"

	"github.com/overlane/overlane/store"
)

// BenchmarkVerifyHost is what each request would cost if certificates that passed were not remembered.
func BenchmarkVerifyHost(b *testing.B) {
	ca, err := OpenCA(b.Context(), NewSecretStore(store.NewMemory(0)))
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

func TestServerRenewsItsCertificate(t *testing.T) {
	now := time.Now()
	ca, err := newCA(func() time.Time { return now })
	check(t, err)
	own := &ownCertificate{ca: ca}
	first, err := own.get(nil)
	check(t, err)
	now = now.Add(serverLife / 2)
	if same, _ := own.get(nil); same != first {
		t.Error("renewed at half its life")
	}
	now = now.Add(serverLife / 4)
	if next, _ := own.get(nil); next == first || next.Leaf.NotAfter.Before(now.Add(serverLife/2)) {
		t.Error("not renewed at three quarters of its life")
	}
}

func TestServersOfOneStoreShareACA(t *testing.T) {
	v := NewSecretStore(store.NewMemory(0))
	prints := make([]string, 8)
	var wg sync.WaitGroup
	for i := range prints {
		wg.Go(func() {
			ca, err := OpenCA(t.Context(), v)
			if err != nil {
				t.Error(err)
				return
			}
			prints[i] = ca.Fingerprint()
		})
	}
	wg.Wait()
	for _, p := range prints {
		if p == "" || p != prints[0] {
			t.Fatalf("the CAs differ: %v", prints)
		}
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
