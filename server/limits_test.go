package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/overlane/overlane/server/api"
	"github.com/overlane/overlane/store"
)

// TestReportsAreBounded: what a host reports is written down, so it may not fill the store.
func TestReportsAreBounded(t *testing.T) {
	srv := newAPI(t, store.NewMemory(0))
	srv.must(t, "POST", "/v1/apply", network)
	expect(t, told(srv.send(t, "host1", "POST", "/v1/status", statusOf64k(5))),
		"400 invalid: body: the status of Host host1 is longer than 262144 bytes")
	sent := 0
	for range 2 * reportBurst / (2 * 64 << 10) {
		answer := srv.send(t, "host1", "POST", "/v1/status", statusOf64k(2))
		if answer.status == http.StatusTooManyRequests {
			break
		}
		expect(t, fmt.Sprint(answer.status), "200")
		sent++
	}
	expect(t, told(srv.send(t, "host1", "POST", "/v1/status", statusOf64k(2))),
		"429 unavailable: host host1 reports more than 65536 bytes a second; try again later")
	if sent < 10 {
		t.Errorf("only %d large reports passed", sent)
	}
	srv.must(t, "POST", "/v1/status", statusOf64k(2)) // an admin is not a host
}

// statusOf64k is a report of a host's status of n times 64 kB.
func statusOf64k(n int) string {
	tunnels := make([]string, n*128)
	for i := range tunnels {
		tunnels[i] = `{"state": "Up", "peer": "` + strings.Repeat("x", 512) + `"}`
	}
	return `[{"kind": "Host", "name": "host1", "status": {"tunnels": [` + strings.Join(tunnels, ",") + `]}}]`
}

// TestReportsSaySomethingOnce: what makes the server compare one status over and over, or read for nothing, is refused
// or charged.
func TestReportsSaySomethingOnce(t *testing.T) {
	srv := newAPI(t, store.NewMemory(0))
	srv.must(t, "POST", "/v1/apply", network)
	const one = `{"kind": "Endpoint", "name": "blue/web/a", "status": {"state": "Ready"}}`
	for _, caller := range []string{"host1", "admin"} {
		expect(t, told(srv.send(t, caller, "POST", "/v1/status", "["+one+", "+one+"]")),
			"400 invalid: body: the status of Endpoint blue/web/a is there twice; send it once")
	}
	many := "[" + strings.Repeat(one+",", api.MaxReports) + one + "]"
	expect(t, told(srv.send(t, "host1", "POST", "/v1/status", many)),
		"413 invalid: body: 1001 reports, and a host may send 1000 at once; send them in parts")
	expect(t, told(srv.send(t, "host1", "POST", "/v1/status", "[]"+strings.Repeat(" ", 1<<20))),
		"413 invalid: body: longer than 1048576 bytes; send it in parts")
	empty := "[]" + strings.Repeat(" ", 1<<20-2)
	for range 2 * reportBurst / len(empty) {
		if srv.send(t, "host1", "POST", "/v1/status", empty).status == http.StatusTooManyRequests {
			return
		}
	}
	t.Error("a host sends as many bytes as it likes, as long as they say nothing")
}

func TestHostsSendLittle(t *testing.T) {
	srv := newAPI(t, store.NewMemory(0))
	srv.must(t, "POST", "/v1/apply", network)
	many := make([]string, hostObjects+1)
	for i := range many {
		many[i] = fmt.Sprintf(`{"kind": "Endpoint", "name": "blue/web/e%d"}`, i)
	}
	tooMany := `{"delete": [` + strings.Join(many, ",") + `]}`
	expect(t, told(srv.send(t, "host1", "POST", "/v1/apply", tooMany)),
		"413 invalid: body: 1001 objects, and a host may change 1000 at once")
	tooLong := `{"delete": []` + strings.Repeat(" ", 1<<20) + `}`
	expect(t, told(srv.send(t, "host1", "POST", "/v1/apply", tooLong)),
		"413 invalid: body: longer than 1048576 bytes; send it in parts")
	srv.must(t, "POST", "/v1/apply", tooLong)
}

func TestHostsChangeSlowly(t *testing.T) {
	srv := newAPI(t, store.NewMemory(0))
	srv.must(t, "POST", "/v1/apply", network)
	changes := srv.limits.of("host1").changes
	const mine = `{"spec": {"host": "host1", "ephemeral": true}}`
	changes.SetLimit(0)
	for i := range 200 { // as many attaches at once as an agent may be asked for
		expect(t, fmt.Sprint(srv.send(t, "host1", "PUT", fmt.Sprintf("/v1/endpoints/blue/web/e%d", i), mine).status),
			"201")
	}
	changes.AllowN(time.Now(), int(changes.Tokens()))
	const tooMuch = "429 unavailable: host host1 changes more than 131072 bytes a second; try again later"
	expect(t, told(srv.send(t, "host1", "PUT", "/v1/endpoints/blue/web/e0", mine)), tooMuch)
	expect(t, told(srv.send(t, "host1", "DELETE", "/v1/endpoints/blue/web/e0", "")), tooMuch)
	expect(t, told(srv.send(t, "host1", "POST", "/v1/apply", `{"objects": [], "dryRun": true}`)), tooMuch)
	expect(t, fmt.Sprint(srv.send(t, "host2", "PUT", "/v1/endpoints/blue/web/f",
		`{"spec": {"host": "host2", "ephemeral": true}}`).status), "201")
	srv.must(t, "DELETE", "/v1/endpoints/blue/web/e1", "")
	changes.SetLimit(changeRate) // a little too soon is only late
	expect(t, fmt.Sprint(srv.send(t, "host1", "DELETE", "/v1/endpoints/blue/web/e0", "").status), "200")
}

func TestAnswersAreShort(t *testing.T) {
	srv := newAPI(t, store.NewMemory(0))
	many := make([]string, 3*maxProblems)
	for i := range many {
		many[i] = fmt.Sprintf(`{"kind": "Subnet", "name": "blue/web%d"}`, i)
	}
	answer := srv.send(t, "admin", "POST", "/v1/apply", `{"objects": [`+strings.Join(many, ",")+`]}`)
	var refusal api.Refusal
	if err := json.Unmarshal(answer.body, &refusal); err != nil {
		t.Fatal(err)
	}
	expect(t, fmt.Sprint(len(refusal.Error.Problems)), "100")
	expect(t, refusal.Error.Message,
		"the request is refused, and nothing has changed; here are its first 100 problems, and there are 200 more")
}

func TestHostsDoLittleAtOnce(t *testing.T) {
	srv := newAPI(t, store.NewMemory(0))
	srv.must(t, "POST", "/v1/apply", network)
	var ends []io.Closer
	for range hostRequests {
		ends = append(ends, srv.hang(t, "host1"))
	}
	under := srv.limits.of("host1").requests
	for end := time.Now().Add(10 * time.Second); len(under) < hostRequests; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d requests are under way, want %d", len(under), hostRequests)
		}
	}
	srv.unanswered(t, "host1", "/v1/hosts/host1")
	expect(t, fmt.Sprint(srv.send(t, "host2", "GET", "/v1/hosts/host2", "").status), "200")
	for _, end := range ends {
		_ = end.Close()
	}
	expect(t, fmt.Sprint(srv.send(t, "host1", "GET", "/v1/hosts/host1", "").status), "200")
}

// unanswered asks when as many requests are under way as there may be.
func (a testServer) unanswered(t *testing.T, caller, path string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	r, err := a.client.Do(a.request(t, caller, "GET", path, "").WithContext(ctx))
	if err == nil {
		_ = r.Body.Close()
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("one request more than there may be was answered: %v, %v", r, err)
	}
}

// hang sends a report whose body does not end until it is closed.
func (a testServer) hang(t *testing.T, caller string) io.Closer {
	body, w := io.Pipe()
	t.Cleanup(func() { _ = w.Close() })
	r := a.request(t, caller, "POST", "/v1/status", "")
	r.Body, r.ContentLength = body, -1
	go func() {
		if answer, err := a.client.Do(r); err == nil {
			_ = answer.Body.Close()
		}
	}()
	return w
}

// TestHostsOpenStreamsSlowly: each stream costs a whole view, made while everybody waits.
func TestHostsOpenStreamsSlowly(t *testing.T) {
	srv := newAPI(t, store.NewMemory(0))
	srv.must(t, "POST", "/v1/apply", network)
	srv.limits.of("host1").opens.SetLimit(0)
	for range hostStreams {
		ctx, end := context.WithCancel(t.Context())
		answer, err := srv.client.Do(srv.request(t, "host1", "GET", "/v1/hosts/host1/view", "").WithContext(ctx))
		check(t, err)
		expect(t, answer.Status, "200 OK")
		check(t, answer.Body.Close())
		end()
	}
	answer, err := srv.client.Do(srv.request(t, "host1", "GET", "/v1/hosts/host1/view", ""))
	check(t, err)
	expect(t, answer.Status, "429 Too Many Requests")
	check(t, answer.Body.Close())
	_, _ = srv.open(t, "host2", "/v1/hosts/host2/view").delta()
	_, _ = srv.open(t, "admin", "/v1/hosts/host1/view").delta()
}

func TestHostsHaveFewStreams(t *testing.T) {
	srv := newAPI(t, store.NewMemory(0))
	srv.must(t, "POST", "/v1/apply", network)
	for n := range hostStreams + 1 {
		answer, err := srv.client.Do(srv.request(t, "host1", "GET", "/v1/hosts/host1/view", ""))
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		expect(t, fmt.Sprint(answer.StatusCode), map[bool]string{true: "200", false: "429"}[n < hostStreams])
	}
}
