package labtest

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/overlane/overlane/lab"
)

// report is what a test that failed shows behind what has failed: what was done in its lab, and the last lines of its
// hosts' logs.
type report struct {
	mu     sync.Mutex
	done   bytes.Buffer
	took   map[string]map[string]bool // the hosts that took part in a test, by its name
	failed []string                   // names of tests
}

// reports are the reports of labs that are up.
var reports sync.Map

func newReport() *report { return &report{took: map[string]map[string]bool{}} }

// logger writes where what is done in the lab is shown: at once with -v, else behind what has failed.
func (r *report) logger(t testing.TB) *slog.Logger {
	var out io.Writer = r
	if testing.Verbose() {
		out = t.Output()
	}
	return slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func (r *report) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.done.Write(p)
}

// TookPart notes that a host of a lab has to do with a test. Its daemons' logs are shown if that fails.
func TookPart(t testing.TB, l *lab.Lab, host string) {
	found, ok := reports.Load(l)
	if !ok {
		return
	}
	r := found.(*report)
	r.mu.Lock()
	defer r.mu.Unlock()
	if hosts := r.took[t.Name()]; hosts != nil {
		hosts[host] = true
		return
	}
	r.took[t.Name()] = map[string]bool{host: true}
	t.Cleanup(func() {
		if r.mu.Lock(); t.Failed() {
			r.failed = append(r.failed, t.Name())
		}
		r.mu.Unlock()
	})
}

// involved are the hosts that took part in what failed, subtests before the test around them, which fails with them;
// none: it is not known.
func (r *report) involved() []string {
	hosts := map[string]bool{}
	for _, name := range r.failed {
		if !slices.ContainsFunc(r.failed, func(sub string) bool { return strings.HasPrefix(sub, name+"/") }) {
			maps.Copy(hosts, r.took[name])
		}
	}
	return slices.Sorted(maps.Keys(hosts))
}

func (r *report) show(t testing.TB, l *lab.Lab) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var logs strings.Builder
	if r.done.Len() > 0 {
		fmt.Fprintf(&logs, "what was done in the lab:\n%s", &r.done)
	}
	hosts := r.involved()
	fmt.Fprintf(&logs, "logs of %s:\n", cmp.Or(strings.Join(hosts, ", "), "all hosts"))
	if err := l.Logs(&logs, logLines, hosts...); err != nil {
		fmt.Fprintln(&logs, err)
	}
	t.Log(logs.String())
}

// logLines are shown of each log.
const logLines = 40
