package server

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"github.com/overlane/overlane/server/api"
	"github.com/overlane/overlane/store"
)

// stranger is a client without a certificate. It believes every server.
func anonymousClient(t *testing.T) *http.Client {
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// ask is the status of an answer, which is read.
func ask(t *testing.T, c *http.Client, method, url, body string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	check(t, err)
	r.Header.Set("Content-Type", "application/json")
	answer, err := c.Do(r)
	check(t, err)
	check(t, answer.Body.Close())
	return answer.StatusCode
}

// Whoever reaches the port may write little into the log, however long what he says, and however often.
func TestAnonymousCallersFillNoDisk(t *testing.T) {
	s := newSite(t)
	lines := s.server.limits.anonymous.refusals
	lines.rate.SetLimit(0)
	c, long := anonymousClient(t), strings.Repeat("x", 10_000)
	for range refusalBurst {
		expect(t, fmt.Sprint(ask(t, c, "GET", "https://"+s.address+"/"+long, "")), "403")
		expect(t, fmt.Sprint(ask(t, c, "POST", "https://"+s.address+"/v1/join",
			`{"token": "`+s.token(api.TokenRequest{}).String()+`", "host": "`+long+`"}`)), "400")
	}
	lines.rate.SetLimit(rate.Inf)
	expect(t, fmt.Sprint(ask(t, c, "GET", "https://"+s.address+"/last", "")), "403")
	if n := strings.Count(s.log.String(), "level=WARN"); n != refusalBurst+1 {
		t.Errorf("%d lines of what was refused, want %d", n, refusalBurst+1)
	}
	for line := range strings.Lines(s.log.String()) {
		if len(line) > 1000 {
			t.Fatalf("a line of %d bytes: %.300s", len(line), line)
		}
	}
	if want := fmt.Sprintf("leftOut=%d", refusalBurst); !strings.Contains(s.log.String(), want) {
		t.Errorf("no %s in the log", want)
	}
}

func TestAnonymousCallersDoLittleAtOnce(t *testing.T) {
	srv := newAPI(t, store.NewMemory(0))
	srv.must(t, "POST", "/v1/apply", network)
	strangers := srv.limits.anonymous
	for range anonymousRequests {
		strangers.requests <- struct{}{}
	}
	srv.unanswered(t, "nobody", "/v1/version")
	<-strangers.requests
	expect(t, fmt.Sprint(srv.send(t, "nobody", "GET", "/v1/version", "").status), "200")
	strangers.rate.SetLimit(0)
	strangers.rate.AllowN(time.Now(), int(strangers.rate.Tokens()))
	expect(t, told(srv.send(t, "nobody", "GET", "/v1/version", "")),
		"429 unavailable: those without a certificate send more than 10 requests a second; try again later")
	expect(t, fmt.Sprint(srv.send(t, "host1", "GET", "/v1/version", "").status), "200")
}
