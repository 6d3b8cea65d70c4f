package client

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/overlane/overlane/internal/atomicfile"
	"github.com/overlane/overlane/server/api"
)

// Credentials are the files by which a host proves itself, and knows its server.
type Credentials struct {
	CA          string // the server's CA
	Certificate string // of the host, from that CA
	Key         string // of the host; it never leaves the machine
}

// CredentialsIn are the usual files of a folder.
func CredentialsIn(dir string) Credentials {
	return Credentials{filepath.Join(dir, "ca.crt"), filepath.Join(dir, "host.crt"), filepath.Join(dir, "host.key")}
}

// TLS is the configuration that shows the host's certificate, and accepts no server but one from its CA. The certificate is read
// for each connection, so a renewed one is used without a restart.
func (f Credentials) TLS() (*tls.Config, error) {
	text, err := os.ReadFile(f.CA)
	if err != nil {
		return nil, fmt.Errorf("read the server's CA: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("read the server's CA: %s holds no certificate", f.CA)
	}
	if _, err := f.load(); err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		RootCAs:    roots,
		ServerName: api.ServerName,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := f.load()
			return &pair, err
		},
	}, nil
}

func (f Credentials) load() (tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(f.Certificate, f.Key)
	if err != nil {
		return pair, fmt.Errorf("read the host's certificate: %w", err)
	}
	return pair, nil
}

// ReadOrMakeKey reads the host's key, or makes one that only root can read. Joining again with the same key is the same host
// asking again.
func (f Credentials) ReadOrMakeKey() (*ecdsa.PrivateKey, error) {
	text, err := os.ReadFile(f.Key)
	if errors.Is(err, fs.ErrNotExist) {
		return f.makeKey()
	}
	if err != nil {
		return nil, fmt.Errorf("read the host's key: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("read the host's key: %s is not PEM; remove it to have a new one made", f.Key)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read the host's key %s: %w", f.Key, err)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("read the host's key: %s is not an ECDSA key; remove it to have a new one made", f.Key)
	}
	return key, nil
}

func (f Credentials) makeKey() (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the host's key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("make the host's key: %w", err)
	}
	return key, WriteFile(f.Key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
}

// Write keeps what the server answered.
func (f Credentials) Write(j api.Joined) error {
	if err := WriteFile(f.CA, []byte(j.CA), 0o644); err != nil {
		return err
	}
	return WriteFile(f.Certificate, []byte(j.Certificate), 0o644)
}

// WriteFile replaces a file whole: whoever reads it sees the old content or the new, also after a crash. Its folder is made if need be.
func WriteFile(path string, content []byte, mode fs.FileMode) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := atomicfile.Write(path, content, mode); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// csr asks for a certificate. What it should say is the server's business.
func csr(key *ecdsa.PrivateKey) (string, error) {
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return "", fmt.Errorf("ask for a certificate: %w", err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})), nil
}

// Renew gets a new certificate for the host's key, by the one that is still good, and keeps it.
func (c *Client) Renew(ctx context.Context, f Credentials) error {
	key, err := f.ReadOrMakeKey()
	if err != nil {
		return err
	}
	request, err := csr(key)
	if err != nil {
		return err
	}
	joined, err := ask[api.Joined](ctx, c, http.MethodPost, "/v1/renew", api.RenewRequest{CSR: request})
	if err != nil {
		return fmt.Errorf("renew the host's certificate: %w", err)
	}
	return f.Write(joined)
}

// KeepCertificate renews the host's certificate when a third of its life is left, until ctx ends. It looks every hour; an
// attempt that comes to nothing is logged and made again an hour later, so a server may be away for months.
func (c *Client) KeepCertificate(ctx context.Context, f Credentials, log *slog.Logger) {
	for {
		if due, err := f.due(time.Now()); err != nil {
			log.Warn("host certificate", "err", err)
		} else if due {
			if err := c.Renew(ctx, f); err != nil {
				log.Warn("host certificate", "err", err)
			} else {
				log.Info("host certificate renewed")
				c.http.CloseIdleConnections()
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Hour):
		}
	}
}

func (f Credentials) due(now time.Time) (bool, error) {
	pair, err := f.load()
	if err != nil {
		return false, err
	}
	life := pair.Leaf.NotAfter.Sub(pair.Leaf.NotBefore)
	return now.After(pair.Leaf.NotAfter.Add(-life / 3)), nil
}

// sameKey says whether a certificate in PEM is for a key.
func sameKey(certificate string, key *ecdsa.PrivateKey) bool {
	block, _ := pem.Decode([]byte(certificate))
	if block == nil {
		return false
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return false
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	return err == nil && bytes.Equal(public, c.RawSubjectPublicKeyInfo)
}
