package server

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/overlane/overlane/server/api"
	"github.com/overlane/overlane/store"
)

func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run", "server.sock")
	server, stop := serveUnix(t, path, Config{Store: store.NewMemory(0)})
	unixAPI(server, path).must(t, "PUT", "/v1/vpcs/blue", `{"spec": {}}`)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().String(); got != "Srw-rw----" {
		t.Errorf("the socket's mode is %s, want Srw-rw----", got)
	}
	if _, err := ListenUnix(path); err == nil || !strings.Contains(err.Error(), "another server is there") {
		t.Errorf("a second server on the socket: %v", err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestDeadSocket finds what a server that was killed leaves.
func TestDeadSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "server.sock")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	_ = dead.Close()
	server, _ := serveUnix(t, path, Config{Store: store.NewMemory(0)})
	unixAPI(server, path).must(t, "GET", "/v1/version", "")
}

func TestBrokenListener(t *testing.T) {
	server, err := New(t.Context(), Config{Store: store.NewMemory(0)})
	if err != nil {
		t.Fatal(err)
	}
	l, err := ListenUnix(filepath.Join(t.TempDir(), "server.sock"))
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	if err := server.Serve(t.Context(), l); err == nil || !strings.HasPrefix(err.Error(), "serve: ") {
		t.Errorf("serving on a closed listener: %v", err)
	}
}

// logged collects a log.
type logged struct {
	mu sync.Mutex
	bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.String()
}

func TestPanic(t *testing.T) {
	var log logged
	path := filepath.Join(t.TempDir(), "s")
	server, err := New(t.Context(), Config{Store: store.NewMemory(0), Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	server.Add(
		Route{Method: "GET", Path: "/panic", Serve: func(http.ResponseWriter, *http.Request) error { panic("first") }},
		Route{Method: "GET", Path: "/late", Serve: func(w http.ResponseWriter, _ *http.Request) error {
			_, _ = w.Write(make([]byte, 1<<16))
			panic("second")
		}},
	)
	l, err := ListenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(t.Context(), l) }()
	srv := unixAPI(server, path)

	answer := srv.send(t, "", "GET", "/panic", "")
	expect(t, told(answer), "500 internal: a fault in the server; its log has the details")
	var refusal api.Refusal
	if err := json.Unmarshal(answer.body, &refusal); err != nil {
		t.Fatal(err)
	}
	if id := refusal.Error.RequestID; id == "" || id != answer.header.Get("X-Request-Id") ||
		!strings.Contains(log.String(), id) {
		t.Errorf("request ID %q, header %q, log:\n%s", id, answer.header.Get("X-Request-Id"), log.String())
	}
	if response, err := srv.client.Do(srv.request(t, "", "GET", "/late", "")); err == nil {
		if _, err := new(bytes.Buffer).ReadFrom(response.Body); err == nil {
			t.Error("an answer that a panic cut short looks complete")
		}
		_ = response.Body.Close()
	}
	srv.must(t, "PUT", "/v1/vpcs/blue", `{"spec": {}}`)
}

func TestBodies(t *testing.T) {
	srv := newAPI(t, store.NewMemory(0))
	large := `{"spec": {}, "status": "` + strings.Repeat("x", 1<<20) + `"}`
	expect(t, told(srv.send(t, "admin", "PUT", "/v1/vpcs/blue", large)),
		"413 invalid: body: longer than 1048576 bytes; send it in parts")
	for _, media := range []string{"", "text/plain", "application/x-www-form-urlencoded", "application/json; charset"} {
		r := srv.request(t, "admin", "PUT", "/v1/vpcs/blue", `{"spec": {}}`)
		r.Header.Set("Content-Type", media)
		expect(t, told(srv.do(t, r)), fmt.Sprintf("415 invalid: content type %q: send application/json (curl: --json)",
			media))
	}
	r := srv.request(t, "admin", "PUT", "/v1/vpcs/blue", `{"spec": {}}`)
	r.Header.Set("Content-Type", "application/json; charset=utf-8")
	if answer := srv.do(t, r); answer.status != http.StatusCreated || answer.header.Get("Overlane-Revision") != "1" {
		t.Errorf("%d, revision %s", answer.status, answer.header.Get("Overlane-Revision"))
	}
}

func TestMetrics(t *testing.T) {
	srv := newAPI(t, store.NewMemory(0))
	srv.must(t, "POST", "/v1/apply", network)
	watch := srv.open(t, "admin", "/v1/watch?after=1")
	watch.until(1)
	_ = srv.send(t, "admin", "GET", "/nowhere", "")
	text := string(srv.must(t, "GET", "/metrics", "").body)
	for _, want := range []string{
		`overlane_commits_total 1`,
		`overlane_commit_conflicts_total 0`,
		`overlane_streams{kind="watch"} 1`,
		`overlane_objects{kind="Host"} 2`,
		`overlane_store_revision 1`,
		`overlane_http_request_seconds_count{route="POST /v1/apply",status="200"} 1`,
		`overlane_http_request_seconds_count{route="none",status="404"} 1`,
		`process_cpu_seconds_total`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	if strings.Contains(text, "etcd") {
		t.Error("etcd's metrics are among ours")
	}
}
