package client

import (
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"github.com/overlane/overlane/server/api"
)

// maxSkew is how far this machine's clock may be from the server's. Certificates begin an hour early.
const maxSkew = 30 * time.Minute

// Join makes this machine a host: it trusts the server that the token pins, and no other. The credentials' files hold the result. It asks
// again, until ctx ends, if a connection breaks off: the same key may use the same token once more.
func Join(ctx context.Context, server string, t api.Token, host string, address netip.Addr, mtu int, f Credentials) error {
	key, err := f.ReadOrMakeKey()
	if err != nil {
		return err
	}
	c, err := New(Config{Address: "https://" + HostPort(server), TLS: pinned(t.CA)})
	if err != nil {
		return err
	}
	defer c.Close()
	joined, err := c.join(ctx, api.JoinRequest{Token: t.String(), Host: host, Address: address, MTU: mtu}, key)
	if err != nil {
		return fmt.Errorf("join as host %s: %w", host, err)
	}
	return f.Write(joined)
}

func (c *Client) join(ctx context.Context, q api.JoinRequest, key *ecdsa.PrivateKey) (api.Joined, error) {
	request, err := csr(key)
	if err != nil {
		return api.Joined{}, err
	}
	q.CSR = request
	joined, err := ask[api.Joined](ctx, c, http.MethodPost, "/v1/join", q)
	for pause := pauses(); errors.As(err, new(lostAnswer)) && pause.Wait(ctx); {
		joined, err = ask[api.Joined](ctx, c, http.MethodPost, "/v1/join", q)
	}
	if err != nil {
		return joined, err
	}
	if !sameKey(joined.Certificate, key) {
		return joined, errors.New("the server answered with a certificate for another key")
	}
	if skew := time.Since(joined.Time); skew.Abs() > maxSkew {
		return joined, fmt.Errorf("this machine's clock is %s the server's (%s); set the clock, then join again",
			offBy(skew), joined.Time.Format(time.RFC3339))
	}
	return joined, nil
}

func offBy(skew time.Duration) string {
	if skew < 0 {
		return (-skew).Round(time.Second).String() + " behind"
	}
	return skew.Round(time.Second).String() + " ahead of"
}

// pinned accepts a server whose certificate chains to the CA with that fingerprint, which the server sends along. It takes
// the place of the usual verification, which would need the CA beforehand.
func pinned(fingerprint string) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		ServerName:         api.ServerName,
		InsecureSkipVerify: true, // VerifyConnection does it
		VerifyConnection: func(s tls.ConnectionState) error {
			roots := x509.NewCertPool()
			for _, c := range s.PeerCertificates[1:] {
				sum := sha256.Sum256(c.Raw)
				if hex.EncodeToString(sum[:]) == fingerprint {
					roots.AddCert(c)
				}
			}
			_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{DNSName: api.ServerName, Roots: roots})
			return err // ExtKeyUsageServerAuth is what Verify asks for by default
		},
	}
}

// CreateToken makes a join token.
func (c *Client) CreateToken(ctx context.Context, q api.TokenRequest) (api.NewToken, error) {
	return ask[api.NewToken](ctx, c, http.MethodPost, "/v1/tokens", q)
}

// Tokens reads the join tokens, without their secrets.
func (c *Client) Tokens(ctx context.Context) ([]api.TokenInfo, error) {
	return ask[[]api.TokenInfo](ctx, c, http.MethodGet, "/v1/tokens", nil)
}

// RevokeToken ends a join token.
func (c *Client) RevokeToken(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, "/v1/tokens/"+id, nil, nil)
}
