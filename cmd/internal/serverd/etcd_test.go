package serverd

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"

	"github.com/overlane/overlane/cmd/internal/program"
	"github.com/overlane/overlane/store"
	"github.com/overlane/overlane/store/storetest"
)

// TestEtcdTLS runs the stores' suite on a cluster that wants certificates, reached as the command line says.
func TestEtcdTLS(t *testing.T) {
	ca := newAuthority(t, "cluster")
	client := ca.issue(t, "client")
	endpoint := secureMember(t, ca)
	flags := program.EtcdFlags{Endpoints: []string{endpoint}, CA: ca.file, Cert: client.cert, Key: client.key}
	var n atomic.Int64
	prefixes := map[store.Store]string{}
	open := func(t *testing.T, prefix string) store.Store {
		tls, err := etcdTLS(flags)
		if err != nil {
			t.Fatal(err)
		}
		s, err := store.DialEtcd(t.Context(), store.EtcdConfig{Endpoints: flags.Endpoints, TLS: tls, Prefix: prefix})
		if err != nil {
			t.Fatal(err)
		}
		prefixes[s] = prefix
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	storetest.Run(t, storetest.Backend{
		Open: func(t *testing.T) store.Store { return open(t, fmt.Sprintf("/test%d/", n.Add(1))) },
		Reopen: func(t *testing.T, s store.Store) store.Store {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			return open(t, prefixes[s])
		},
		Compact: func(ctx context.Context, _ store.Store, revision int64) error {
			tls, err := etcdTLS(flags)
			if err != nil {
				return err
			}
			c, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, TLS: tls})
			if err != nil {
				return err
			}
			defer c.Close()
			_, err = c.Compact(ctx, revision)
			return err
		},
	})
}

// TestEtcdTLSRefused: what does not fit together is said at the start, and nobody waits for it to get better.
func TestEtcdTLSRefused(t *testing.T) {
	ca, other := newAuthority(t, "cluster"), newAuthority(t, "other")
	client, stranger := ca.issue(t, "client"), other.issue(t, "client")
	endpoint := secureMember(t, ca)
	for name, test := range map[string]struct {
		endpoint, ca string
		pair         pair
		want         string
	}{
		"another CA":              {endpoint, other.file, client, "dial etcd " + endpoint + ": transport: authentication handshake failed: tls: failed to verify certificate: x509: certificate signed by unknown authority"},
		"no CA":                   {endpoint, "", client, "certificate signed by unknown authority"},
		"another CA's client":     {endpoint, ca.file, stranger, "remote error: tls: "},
		"no client certificate":   {endpoint, ca.file, pair{}, "remote error: tls: certificate required"},
		"a key in place of a CA":  {endpoint, client.key, client, "read etcd's CA: no certificate in " + client.key},
		"no key":                  {endpoint, ca.file, pair{cert: client.cert}, "--etcd-cert and --etcd-key go together"},
		"only a key":              {endpoint, ca.file, pair{key: client.key}, "--etcd-cert and --etcd-key go together"},
		"a CA for an open member": {"http://127.0.0.1:1", ca.file, client, "--etcd http://127.0.0.1:1 is not encrypted"},
	} {
		t.Run(name, func(t *testing.T) {
			f := program.EtcdFlags{Endpoints: []string{test.endpoint}, CA: test.ca, Cert: test.pair.cert, Key: test.pair.key}
			_, err := options{ServerFlags: program.ServerFlags{Etcd: f}}.open(t.Context(), slog.New(slog.DiscardHandler))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
}

// authority signs certificates.
type authority struct {
	file string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// pair is a certificate and its key, in files.
type pair struct{ cert, key string }

func newAuthority(t *testing.T, name string) authority {
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return authority{pemFile(t, "CERTIFICATE", der), cert, key}
}

// issue makes a certificate for both ends, on 127.0.0.1.
func (a authority) issue(t *testing.T, name string) pair {
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pair{pemFile(t, "CERTIFICATE", der), pemFile(t, "PRIVATE KEY", private)}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func pemFile(t *testing.T, kind string, der []byte) string {
	path := filepath.Join(t.TempDir(), "pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// secureMember is an etcd that shows a certificate of the authority, and wants one of it. It gives its URL.
func secureMember(t *testing.T, a authority) string {
	own := a.issue(t, "member")
	cfg := embed.NewConfig()
	cfg.Dir, cfg.LogLevel, cfg.ListenPeerUrls = t.TempDir(), "panic", nil
	listen := url.URL{Scheme: "https", Host: "127.0.0.1:0"}
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{listen}, []url.URL{listen}
	cfg.ClientTLSInfo.CertFile, cfg.ClientTLSInfo.KeyFile = own.cert, own.key
	cfg.ClientTLSInfo.TrustedCAFile, cfg.ClientTLSInfo.ClientCertAuth = a.file, true
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	<-e.Server.ReadyNotify()
	return "https://" + e.Clients[0].Addr().String()
}
