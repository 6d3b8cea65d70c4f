// Package client is the API as Go calls, for the command line and the agent. It holds no state beyond its connections: every
// answer is the server's, and nothing is cached.
package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/overlane/overlane/server/api"
)

// DefaultAddress is the server on this machine.
const DefaultAddress = "unix:///run/overlane/server.sock"

// DefaultPort is where a server listens for other machines.
const DefaultPort = "7443"

// The kinds of error that callers tell apart, with errors.Is. ErrUnavailable includes a server that cannot be reached.
var (
	ErrInvalid     = &api.Error{Kind: api.Invalid}
	ErrNotFound    = &api.Error{Kind: api.NotFound}
	ErrConflict    = &api.Error{Kind: api.Conflict}
	ErrUnavailable = &api.Error{Kind: api.Unavailable}
	ErrDenied      = &api.Error{Kind: api.Denied}
	ErrGone        = &api.Error{Kind: api.Gone}
)

// Config says where the server is. The zero value is [DefaultAddress].
type Config struct {
	Address string      // unix:///PATH, or https://HOST[:7443]
	TLS     *tls.Config // for https; see [HostTLS]

	// Wait is how long a call waits for a server on this machine that does not listen yet. 0: not at all.
	Wait time.Duration
}

// Client calls one server. Any number of goroutines may use it.
type Client struct {
	address string // as given, for messages
	base    string // URL in front of every path
	http    *http.Client
}

// New makes a client. It connects when first used.
func New(c Config) (*Client, error) {
	if c.Address == "" {
		c.Address = DefaultAddress
	}
	u, err := url.Parse(c.Address)
	if err != nil {
		return nil, badAddress(c.Address)
	}
	switch {
	case u.Scheme == "unix" && u.Host == "" && u.Path != "":
		return &Client{c.Address, "http://overlane", &http.Client{Transport: unixTransport(u.Path, c.Wait)}}, nil
	case u.Scheme == "https" && u.Hostname() != "" && strings.Trim(u.Path, "/") == "":
		base := "https://" + HostPort(u.Host)
		return &Client{c.Address, base, &http.Client{Transport: tlsTransport(c.TLS)}}, nil
	}
	return nil, badAddress(c.Address)
}

func badAddress(given string) error {
	return fmt.Errorf("server address %q is neither unix:///PATH nor https://HOST[:PORT]", given)
}

// HostPort completes an address with [DefaultPort].
func HostPort(address string) string {
	if _, _, err := net.SplitHostPort(address); err == nil {
		return address
	}
	return net.JoinHostPort(strings.Trim(address, "[]"), DefaultPort)
}

func unixTransport(path string, wait time.Duration) *http.Transport {
	return &http.Transport{
		DialContext:     func(ctx context.Context, _, _ string) (net.Conn, error) { return dialUnix(ctx, path, wait) },
		IdleConnTimeout: 90 * time.Second,
	}
}

const lookAgainAfter = 50 * time.Millisecond

// dialUnix waits for the socket to be there, and for somebody to listen on it. When its time is up, the error is the last that there was.
func dialUnix(ctx context.Context, path string, wait time.Duration) (net.Conn, error) {
	var d net.Dialer
	for deadline := time.Now().Add(wait); ; {
		c, err := d.DialContext(ctx, "unix", path)
		early := errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ECONNREFUSED)
		if !early || time.Until(deadline) < lookAgainAfter {
			return c, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(lookAgainAfter):
		}
	}
}

// tlsTransport finds a dead connection by HTTP/2 pings, so that a stream over it ends within some 15 seconds.
func tlsTransport(c *tls.Config) *http.Transport {
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	return &http.Transport{
		DialContext:         dialer.DialContext,
		TLSClientConfig:     c,
		TLSHandshakeTimeout: 5 * time.Second,
		ForceAttemptHTTP2:   true,
		HTTP2:               &http.HTTP2Config{SendPingTimeout: 10 * time.Second, PingTimeout: 5 * time.Second},
		IdleConnTimeout:     90 * time.Second,
	}
}

// Close drops the idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// call sends one request and decodes the answer into answer, unless that is nil.
func (c *Client) call(ctx context.Context, method, path string, body, answer any) error {
	r, err := c.open(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if answer == nil {
		_, err = io.Copy(io.Discard, r.Body) // read to the end, so that the connection is used again
	} else {
		err = json.NewDecoder(r.Body).Decode(answer)
	}
	if err != nil {
		return c.unreachable(ctx, err)
	}
	return nil
}

// ask is a call whose answer is an A.
func ask[A any](ctx context.Context, c *Client, method, path string, body any) (answer A, err error) {
	err = c.call(ctx, method, path, body, &answer)
	return answer, err
}

// open sends a request, and leaves the answer's body to the caller. Refusals have become errors.
func (c *Client) open(ctx context.Context, method, path string, body any) (*http.Response, error) {
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("encode the request: %w", err)
		}
		content = bytes.NewReader(text)
	}
	q, err := http.NewRequestWithContext(ctx, method, c.base+path, content)
	if err != nil {
		return nil, fmt.Errorf("make the request: %w", err)
	}
	if body != nil {
		q.Header.Set("Content-Type", "application/json")
	}
	r, err := c.http.Do(q)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	if r.StatusCode >= 400 {
		defer r.Body.Close()
		return nil, refusal(r)
	}
	return r, nil
}

// refusal is the error in an answer. One that is not of our server's making is told by its status.
func refusal(r *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(r.Body, 16<<20))
	var refused api.Refusal
	if err := json.Unmarshal(text, &refused); err != nil || refused.Error == nil {
		return &api.Error{Kind: api.Internal, Message: fmt.Sprintf("the server answered %s: %s", r.Status, firstLine(text))}
	}
	return refused.Error
}

func firstLine(text []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
	return line[:min(len(line), 200)]
}

// unreachable is why there was no answer. A context that ended is the caller's own doing, and stays what it is.
func (c *Client) unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err // it would only repeat the URL
	}
	kind, reason := c.explain(err)
	why := &api.Error{Kind: kind, Message: "server " + c.address + ": " + reason}
	var o *net.OpError
	if kind != api.Unavailable || errors.As(err, &o) && o.Op == "dial" {
		return why
	}
	return lostAnswer{why}
}

// lostAnswer is the error of a connection that broke off: the server was there, and may have done what it was asked.
type lostAnswer struct{ why *api.Error }

func (l lostAnswer) Error() string { return l.why.Error() }
func (l lostAnswer) Unwrap() error { return l.why }
