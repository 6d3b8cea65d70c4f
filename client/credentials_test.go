package client

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// credentialsFor are files with a self-signed certificate that lives from begin to end.
func credentialsFor(t *testing.T, begin, end time.Time) (Credentials, *ecdsa.PrivateKey) {
	t.Helper()
	f := CredentialsIn(filepath.Join(t.TempDir(), "new"))
	key, err := f.ReadOrMakeKey()
	must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: begin, NotAfter: end}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	must(t, WriteFile(f.Certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644))
	return f, key
}

func TestRenewalIsDueInTheLastThird(t *testing.T) {
	now := time.Now()
	f, _ := credentialsFor(t, now, now.Add(90*time.Hour))
	for after, want := range map[time.Duration]bool{time.Hour: false, 59 * time.Hour: false, 61 * time.Hour: true, 100 * time.Hour: true} {
		if due, err := f.due(now.Add(after)); err != nil || due != want {
			t.Errorf("after %s of 90 h: due is %v, %v", after, due, err)
		}
	}
}

func TestKeyStays(t *testing.T) {
	f, key := credentialsFor(t, time.Now(), time.Now().Add(time.Hour))
	again, err := f.ReadOrMakeKey()
	if err != nil || !again.Equal(key) {
		t.Errorf("the key was made anew, or %v", err)
	}
	info, err := os.Stat(f.Key)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	must(t, os.WriteFile(f.Key, []byte("x"), 0o600))
	if _, err := f.ReadOrMakeKey(); err == nil || !strings.Contains(err.Error(), "is not PEM; remove it") {
		t.Errorf("%v", err)
	}
}

func TestMissingCredentialsAreNamed(t *testing.T) {
	f, _ := credentialsFor(t, time.Now(), time.Now().Add(time.Hour))
	if _, err := f.TLS(); err == nil || !strings.Contains(err.Error(), "read the server's CA: open "+f.CA) {
		t.Errorf("%v", err)
	}
	must(t, os.WriteFile(f.CA, []byte("x"), 0o600))
	if _, err := f.TLS(); err == nil || !strings.Contains(err.Error(), f.CA+" holds no certificate") {
		t.Errorf("%v", err)
	}
}

func TestFilesAreReplacedWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "file")
	must(t, WriteFile(path, []byte("old"), 0o600))
	open, err := os.Open(path)
	must(t, err)
	defer open.Close()
	must(t, WriteFile(path, []byte("newer"), 0o644))
	seen := make([]byte, 10)
	if n, _ := open.Read(seen); string(seen[:n]) != "old" {
		t.Errorf("who had it open reads %s", seen[:n])
	}
	text, err := os.ReadFile(path)
	if info, _ := os.Stat(path); err != nil || string(text) != "newer" || info.Mode().Perm() != 0o644 {
		t.Errorf("%s, %v, %v", text, info.Mode(), err)
	}
	if rest, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".new-*")); len(rest) > 0 {
		t.Errorf("left behind: %v", rest)
	}
}
