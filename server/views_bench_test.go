package server

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/overlane/overlane/store"
)

// BenchmarkPutBesideViews is the CPU time of one put of an endpoint, of a VPC on ten hosts, while those ten hosts
// follow their views, and while 8,000 hosts do. The network is the same in both: 8,000 hosts, 800 VPCs. A commit is to
// cost what the hosts cost that it concerns.
func BenchmarkPutBesideViews(b *testing.B) {
	few, many := newViewed(b, 10), newViewed(b, viewedHosts)
	var ofFew, ofMany []time.Duration
	n := 0
	for b.Loop() {
		ofFew, ofMany = append(ofFew, few.put(b, n)), append(ofMany, many.put(b, n))
		n++
	}
	a, z := median(ofFew), median(ofMany)
	b.ReportMetric(float64(a.Microseconds()), "cpu-µs/put-10")
	b.ReportMetric(float64(z.Microseconds()), fmt.Sprintf("cpu-µs/put-%d", viewedHosts))
	b.ReportMetric(float64(z)/float64(a), "ratio")
}

const (
	viewedHosts = 8000
	viewedPuts  = 50 // measured together
)

// viewed is a server some of whose hosts follow their views.
type viewed struct{ handler http.Handler }

func newViewed(b *testing.B, streams int) viewed {
	s, err := New(b.Context(), Config{Store: store.NewMemory(0)})
	if err != nil {
		b.Fatal(err)
	}
	v := viewed{s.Handler(Admins)}
	v.send(b, "POST", "/v1/apply", viewedNetwork())
	ctx, cancel := context.WithCancel(context.Background())
	var ended, begun sync.WaitGroup
	for i := range streams {
		begun.Add(1)
		first := sync.OnceFunc(begun.Done)
		r := httptest.NewRequestWithContext(ctx, "GET", fmt.Sprintf("/v1/hosts/h%d/view", i), nil)
		ended.Go(func() { v.handler.ServeHTTP(&reader{http.Header{}, first}, r) })
	}
	begun.Wait()
	b.Cleanup(func() {
		cancel()
		ended.Wait()
		s.Close()
	})
	return v
}

// viewedNetwork is 8,000 hosts with an endpoint each, ten hosts to a VPC.
func viewedNetwork() string {
	var objects []string
	for i := range viewedHosts {
		vpc := i / 10
		if i%10 == 0 {
			objects = append(objects, fmt.Sprintf(`{"kind": "VPC", "name": "v%d"}`, vpc),
				fmt.Sprintf(`{"kind": "Subnet", "name": "v%d/s", "spec": {"cidr": "172.16.0.0/16"}}`, vpc))
		}
		objects = append(objects, fmt.Sprintf(`{"kind": "Host", "name": "h%d", "spec": {"address": "10.0.%d.%d"}}`, i,
			i/200, 1+i%200),
			fmt.Sprintf(`{"kind": "Endpoint", "name": "v%d/s/e%d", "spec": {"host": "h%d"}}`, vpc, i, i))
	}
	return `{"objects": [` + strings.Join(objects, ",") + `]}`
}

// put makes a few endpoints, and gives the CPU time of this process for one, the streams' included.
func (v viewed) put(b *testing.B, n int) time.Duration {
	runtime.GC() // of what the other server has left
	before := cpuTime(b)
	for i := range viewedPuts {
		v.send(b, "PUT", fmt.Sprintf("/v1/endpoints/v0/s/n%d-%d", n, i), `{"spec": {"host": "h0"}}`)
	}
	return (cpuTime(b) - before) / viewedPuts
}

func (v viewed) send(b *testing.B, method, path, body string) {
	b.Helper()
	r := httptest.NewRequestWithContext(b.Context(), method, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	answer := httptest.NewRecorder()
	if v.handler.ServeHTTP(answer, r); answer.Code >= 300 {
		b.Fatalf("%s %s: %d %.500s", method, path, answer.Code, answer.Body)
	}
}

func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

// reader takes a stream and forgets it.
type reader struct {
	header http.Header
	first  func()
}

func (r *reader) Header() http.Header              { return r.header }
func (r *reader) WriteHeader(int)                  {}
func (r *reader) Write(line []byte) (int, error)   { r.first(); return len(line), nil }
func (r *reader) Flush()                           {}
func (r *reader) SetWriteDeadline(time.Time) error { return nil }
func (r *reader) SetReadDeadline(time.Time) error  { return nil }
