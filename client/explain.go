package client

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/overlane/overlane/server/api"
)

// explain says why a connection came to nothing, and what to do about it.
func (c *Client) explain(err error) (api.ErrorKind, string) {
	if reason := explainTLS(err); reason != "" {
		return api.Denied, reason
	}
	switch {
	case errors.Is(err, syscall.ENOENT):
		return api.Unavailable, "there is no such socket; start overlane server on this machine, or name another with --server"
	case errors.Is(err, syscall.ECONNREFUSED):
		return api.Unavailable, "connection refused; is overlane server running there?"
	case errors.Is(err, syscall.EACCES):
		return api.Denied, "permission denied; use sudo"
	case errors.Is(err, os.ErrDeadlineExceeded), isTimeout(err):
		return api.Unavailable, "no answer in time; is the address right, and the port open in the firewall?"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return api.Unavailable, "the connection broke off"
	}
	return api.Unavailable, strings.TrimPrefix(err.Error(), "dial tcp: ")
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// explainTLS is empty if the error is not about certificates.
func explainTLS(err error) string {
	var (
		remote  *net.OpError
		invalid x509.CertificateInvalidError
		unknown x509.UnknownAuthorityError
		name    x509.HostnameError
		record  tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &remote) && remote.Op == "remote error":
		return "it ended the handshake: " + remote.Err.Error() + " (it speaks only TLS 1.3)"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return clockReason(invalid.Cert, time.Now())
	case errors.As(err, &unknown):
		return "its certificate is not from the CA that was expected; it is another server, or somebody in between"
	case errors.As(err, &name), errors.As(err, &invalid):
		return "its certificate is not an overlane server's"
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		return "it does not speak TLS; is this the port of overlane server?"
	}
	return ""
}

// clockReason tells a server's certificate that has expired from a clock that is wrong, as far as one can.
func clockReason(c *x509.Certificate, now time.Time) string {
	if c != nil && now.Before(c.NotBefore) {
		return fmt.Sprintf("its certificate begins at %s, but this machine's clock says %s; set the clock",
			c.NotBefore.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	until := "a moment ago"
	if c != nil {
		until = c.NotAfter.UTC().Format(time.RFC3339)
	}
	return fmt.Sprintf("its certificate was good until %s, and this machine's clock says %s; set the clock, or restart the server",
		until, now.UTC().Format(time.RFC3339))
}
