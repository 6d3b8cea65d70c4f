package server

import (
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/overlane/overlane/store"
)

// BenchmarkPut is one endpoint made by HTTP over a unix socket.
func BenchmarkPut(b *testing.B) {
	for name, open := range map[string]func() store.Store{
		"memory":   func() store.Store { return store.NewMemory(0) },
		"embedded": func() store.Store { return embedded(b, b.TempDir()) },
	} {
		b.Run(name, func(b *testing.B) { benchmarkPut(b, open()) })
	}
}

// benchmarkPut is how long it takes to make one endpoint, as its client sees it, among 5,000.
func benchmarkPut(b *testing.B, s store.Store) {
	path := filepath.Join(b.TempDir(), "s")
	server, _ := serveUnix(b, path, Config{Store: s})
	srv := unixAPI(server, path)
	objects := []string{network[len(`{"objects": [`) : len(network)-len("]}")]}
	for i := range 5000 {
		objects = append(objects, fmt.Sprintf(`{"kind": "Endpoint", "name": "blue/web/e%d", "spec": {"host": "host%d"}}`, i, i%2+1))
	}
	put(b, srv, "POST", "/v1/apply", `{"objects": [`+strings.Join(objects, ",")+`]}`)
	var took []time.Duration
	n := 0
	for b.Loop() {
		start := time.Now()
		put(b, srv, "PUT", fmt.Sprintf("/v1/endpoints/blue/web/n%d", n), `{"spec": {"host": "host1"}}`)
		took = append(took, time.Since(start))
		n++
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}

func put(b *testing.B, a testServer, method, path, body string) {
	r, err := http.NewRequest(method, a.url+path, strings.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	answer, err := a.client.Do(r)
	if err != nil {
		b.Fatal(err)
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(answer.Body)
	if answer.StatusCode >= 300 {
		b.Fatalf("%s: %s", answer.Status, text)
	}
}
