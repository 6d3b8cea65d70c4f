package server

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/overlane/overlane/client"
)

// dialFrom connects and says nothing.
func (s *site) dialFrom(address string) net.Conn {
	s.t.Helper()
	c, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}).Dial("tcp", s.address)
	check(s.t, err)
	s.t.Cleanup(func() { _ = c.Close() })
	return c
}

// ended wants the server to have closed a connection, or to do it.
func ended(t *testing.T, c net.Conn) {
	t.Helper()
	check(t, c.SetReadDeadline(time.Now().Add(20*time.Second)))
	if _, err := io.Copy(io.Discard, c); err != nil && isTimeout(err) {
		t.Error("the connection stays")
	}
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// opened is another connection, on which one request was answered with a status; 0: the server closed it.
func (s *site) opened(c *tls.Config) int {
	s.t.Helper()
	transport := &http.Transport{TLSClientConfig: c.Clone(), ForceAttemptHTTP2: true}
	s.t.Cleanup(transport.CloseIdleConnections)
	answer, err := (&http.Client{Transport: transport}).Get("https://" + s.address + "/v1/version")
	if err != nil {
		return 0
	}
	check(s.t, answer.Body.Close())
	return answer.StatusCode
}

func (s *site) credentials(f client.Credentials) *tls.Config {
	s.t.Helper()
	c, err := f.TLS()
	check(s.t, err)
	return c
}

// awaitNo waits for the server to notice that connections are closed.
func (s *site) awaitNo(is standing) {
	s.t.Helper()
	left := func() int {
		s.remote.mu.Lock()
		defer s.remote.mu.Unlock()
		return len(s.remote.kept[is])
	}
	for end := time.Now().Add(10 * time.Second); left() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("%d connections are kept", left())
		}
	}
}

// Whoever only connects takes no place from a host, and no file from the store.
func TestSilentConnectionsMakeRoom(t *testing.T) {
	s := newSite(t)
	f := s.host("host1", "192.0.2.1")
	first := s.dialFrom("127.0.0.2")
	for range newPerAddress {
		s.dialFrom("127.0.0.2")
	}
	ended(t, first)
	second := s.dialFrom("127.0.0.3")
	for i := range newConnections {
		s.dialFrom(fmt.Sprintf("127.0.1.%d", 1+i/newPerAddress))
	}
	ended(t, second)
	check(t, see(s.as(f), "host1"))
	if !strings.Contains(s.log.String(), "too many connections that have shown nothing yet") {
		t.Error("connections ended by their own time only")
	}
	s.remote.mu.Lock()
	defer s.remote.mu.Unlock()
	if n := len(s.remote.kept[fresh]); n > newConnections {
		t.Errorf("%d connections are kept that have shown nothing", n)
	}
}

// Whoever shows no certificate, or one of his own making, has few connections, and hosts have theirs.
func TestAnonymousCallersHaveFewConnections(t *testing.T) {
	s := newSite(t)
	f, other := s.host("host1", "192.0.2.1"), s.host("host2", "192.0.2.2")
	s.awaitNo(anonymous) // those that joined have closed theirs
	own := &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{*selfSigned(t, "host1")}}
	for range anonymousPerAddress {
		expect(t, fmt.Sprint(s.opened(own)), "403")
	}
	expect(t, fmt.Sprint(s.opened(&tls.Config{InsecureSkipVerify: true})), "0")
	for range hostConnections {
		expect(t, fmt.Sprint(s.opened(s.credentials(f))), "200")
	}
	expect(t, fmt.Sprint(s.opened(s.credentials(f))), "0")
	expect(t, fmt.Sprint(s.opened(s.credentials(other))), "200")
}

func TestAnonymousConnectionsEndSoon(t *testing.T) {
	s := newSite(t)
	s.remote.mu.Lock()
	s.remote.life = time.Millisecond
	s.remote.mu.Unlock()
	c, err := tls.Dial("tcp", s.address, &tls.Config{InsecureSkipVerify: true})
	check(t, err)
	defer c.Close()
	_, err = io.WriteString(c, "GET / HTTP/1.1\r\nHost: server\r\n\r\n")
	check(t, err)
	ended(t, c)
}

func TestFilesAreLeftForTheStore(t *testing.T) {
	for files, want := range map[uint64]int{512: 256, 1024: 768, 1 << 20: mostConnections, 1<<64 - 1: mostConnections} {
		if most, err := fit(files); most != want || err != nil {
			t.Errorf("of %d files %d are connections, %v; want %d", files, most, err, want)
		}
	}
	_, err := fit(511)
	refused(t, err, "511 open files are allowed, and the server needs 512")
}

func TestOneMachine(t *testing.T) {
	for from, want := range map[string]string{
		"192.0.2.1:7": "192.0.2.1", "[::ffff:192.0.2.1]:7": "192.0.2.1", "[2001:db8:0:1:2::3]:7": "2001:db8:0:1::",
		"[fe80::1%lo]:7": "fe80::",
	} {
		a, err := net.ResolveTCPAddr("tcp", from)
		check(t, err)
		expect(t, machineAt(a).String(), want)
	}
}
