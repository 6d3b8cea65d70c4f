package agent

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/overlane/overlane/agent/local"
	"github.com/overlane/overlane/dataplane"
	"github.com/overlane/overlane/view"
)

// BenchmarkMemory is what an agent keeps of a network: its view, journal and desired flows, after the view has come as
// JSON, and its flows have been compiled as for a first read-back of the switch.
func BenchmarkMemory(b *testing.B) {
	for _, endpoints := range []int{0, 5000} {
		b.Run(fmt.Sprint(endpoints), func(b *testing.B) {
			text, err := json.Marshal(crowd(endpoints))
			if err != nil {
				b.Fatal(err)
			}
			before := heap()
			var a *Agent
			for b.Loop() {
				a = New(local.Config{Host: "h1", State: b.TempDir(), UDPPort: 4789, NATRange: netip.MustParsePrefix("100.64.0.0/10")}, nil, nil)
				var d view.Delta
				if err := json.NewDecoder(bytes.NewReader(text)).Decode(&d); err != nil {
					b.Fatal(err)
				}
				a.apply(d)
				a.plan(b.Context(), time.Now())
				want := newDesired()
				for _, s := range dataplane.Subjects(&a.intent.view) {
					want.replace(s, dataplane.CompileSubject(&a.intent.view, a.flows.wiring, s), newChanges())
				}
				a.flows.desired = want
				a.conditions.set(condDisk, a.intent.saveView())
				clear(a.flows.touched)
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(rss(), "RSS-MB")
			b.ReportMetric(float64(heap()-before)/1e6, "heap-MB")
			debug.FreeOSMemory()
			b.ReportMetric(rss(), "RSS-after-GC-MB")
			b.ReportMetric(float64(len(a.flows.desired.flows)), "flows")
			runtime.KeepAlive(a)
		})
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// rss is this process's resident memory (proc(5), VmRSS), in MB.
func rss() (mb float64) {
	text, _ := os.ReadFile("/proc/self/status")
	_, line, _ := strings.Cut(string(text), "VmRSS:")
	_, _ = fmt.Sscan(line, &mb)
	return mb * 1024 / 1e6
}
