package server

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"net/netip"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/overlane/overlane/server/api"
	"github.com/overlane/overlane/server/replica"
	"github.com/overlane/overlane/store"
	"github.com/overlane/overlane/view"
)

const network = `{"objects": [
	{"kind": "Host", "name": "host1", "spec": {"address": "192.168.5.2"}},
	{"kind": "Host", "name": "host2", "spec": {"address": "192.168.5.3"}},
	{"kind": "VPC", "name": "blue"},
	{"kind": "Subnet", "name": "blue/web", "spec": {"cidr": "172.16.0.0/16"}},
	{"kind": "Endpoint", "name": "blue/web/a", "spec": {"host": "host1"}}
]}`

var values = cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})

// stream is a stream that is being read, line by line.
type stream struct {
	t    *testing.T
	next func() (string, bool)
}

// open starts a stream. What it does not send within 20 seconds is a failure.
func (a testServer) open(t *testing.T, caller, path string) stream {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	r := a.request(t, caller, "GET", path, "").WithContext(ctx)
	response, err := a.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != "application/x-ndjson" {
		t.Fatalf("%s: %s, %s", path, response.Status, response.Header)
	}
	next, stop := iter.Pull(scan(response))
	t.Cleanup(func() {
		cancel()
		stop()
		_ = response.Body.Close()
	})
	return stream{t, next}
}

func scan(r *http.Response) iter.Seq[string] {
	lines := bufio.NewScanner(r.Body)
	lines.Buffer(nil, 1<<24)
	return func(yield func(string) bool) {
		for lines.Scan() && yield(lines.Text()) {
		}
	}
}

// until reads events up to and with the first sync at a revision or a later one, or the end. Each is a line like
// "put Endpoint blue/web/a@5".
func (s stream) until(revision int64) string {
	s.t.Helper()
	var told []string
	for {
		line, ok := s.next()
		if !ok {
			return strings.Join(append(told, "end"), "\n")
		}
		var e api.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			s.t.Fatalf("%s: %v", line, err)
		}
		switch e.Type {
		case api.Sync:
			if e.Revision >= revision {
				return strings.Join(append(told, fmt.Sprint("sync @", e.Revision)), "\n")
			}
		case api.Failed:
			told = append(told, fmt.Sprintf("%s @%d: %v", e.Error.Kind, e.Revision, e.Error))
		default:
			told = append(told, fmt.Sprintf("%s %s @%d", e.Type, e.Object.Key(), e.Revision))
		}
	}
}

func (s stream) delta() (d view.Delta, ok bool) {
	s.t.Helper()
	line, ok := s.next()
	if ok {
		if err := json.Unmarshal([]byte(line), &d); err != nil {
			s.t.Fatalf("%s: %v", line, err)
		}
	}
	return d, ok
}

func expect(t *testing.T, got string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(strings.Join(want, "\n"), got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWatch(t *testing.T) {
	srv := newAPI(t, store.NewMemory(0))
	srv.must(t, "POST", "/v1/apply", network)
	all := srv.open(t, "admin", "/v1/watch")
	expect(t, all.until(1), "put Host host1 @1", "put Host host2 @1", "put VPC blue @1", "put Subnet blue/web @1",
		"put Endpoint blue/web/a @1", "sync @1")
	endpoints := srv.open(t, "admin", "/v1/endpoints?watch=true&after=1")
	expect(t, endpoints.until(1), "sync @1")
	below := srv.open(t, "admin", "/v1/subnets?watch=true&vpc=red")
	expect(t, below.until(1), "sync @1")

	srv.must(t, "PUT", "/v1/endpoints/blue/web/b", `{"spec": {"host": "host2"}}`)
	srv.must(t, "PUT", "/v1/vpcs/red", `{"spec": {}}`)
	srv.must(t, "POST", "/v1/status", `[{"kind": "Endpoint", "name": "blue/web/b", "status": {"state": "Ready"}}]`)
	srv.must(t, "DELETE", "/v1/endpoints/blue/web/a", "")
	expect(t, all.until(5), "put Endpoint blue/web/b @2", "put VPC red @3", "put Endpoint blue/web/b @4",
		"delete Endpoint blue/web/a @5", "sync @5")
	expect(t, endpoints.until(5), "put Endpoint blue/web/b @2", "put Endpoint blue/web/b @4",
		"delete Endpoint blue/web/a @5", "sync @5")
	expect(t, below.until(5), "sync @5")

	t.Run("resumed", func(t *testing.T) {
		// what changed twice is told once, as it is now
		expect(t, srv.open(t, "admin", "/v1/watch?after=2").until(5), "put VPC red @5", "delete Endpoint blue/web/a @5",
			"put Endpoint blue/web/b @5", "sync @5")
		expect(t, srv.open(t, "admin", "/v1/watch?after=4&kind=endpoints").until(5), "delete Endpoint blue/web/a @5",
			"sync @5")
	})
	t.Run("status is told", func(t *testing.T) {
		line, _ := srv.open(t, "admin", "/v1/watch?kind=ep").next()
		if !strings.Contains(line, `"status":{"state":"Ready","host":"host2"}`) {
			t.Errorf("no status in %s", line)
		}
	})
}

// TestWatchTellsPublicIPs: one changes with its endpoint, in NAT address or in status alone.
func TestWatchTellsPublicIPs(t *testing.T) {
	srv := newAPI(t, store.NewMemory(0))
	srv.must(t, "POST", "/v1/apply", network)
	srv.must(t, "POST", "/v1/apply", `{"objects": [
		{"kind": "InternetGateway", "name": "blue"}, {"kind": "PublicPool", "name": "world", "spec": {"cidrs": ["203.0.113.0/24"]}},
		{"kind": "Host", "name": "host2", "spec": {"address": "192.168.5.3", "natPrefix": "10.200.0.0/24"}},
		{"kind": "PublicIP", "name": "blue/web", "spec": {"endpoint": "blue/web/a"}}]}`)
	publics := srv.open(t, "admin", "/v1/watch?kind=pip&after=2")
	expect(t, publics.until(2), "sync @2")
	srv.must(t, "POST", "/v1/status", `[{"kind": "Endpoint", "name": "blue/web/a", "status": {"state": "Ready"}}]`)
	expect(t, publics.until(3), "put PublicIP blue/web @3", "sync @3")
	srv.must(t, "PUT", "/v1/endpoints/blue/web/a", `{"spec": {"host": "host2"}}`)
	expect(t, publics.until(4), "put PublicIP blue/web @4", "sync @4")
	srv.must(t, "DELETE", "/v1/endpoints/blue/web/a", "")
	expect(t, publics.until(5), "put PublicIP blue/web @5", "sync @5")
}

// TestWatchTellsForwards: one changes in status with its endpoint.
func TestWatchTellsForwards(t *testing.T) {
	srv := newAPI(t, store.NewMemory(0))
	srv.must(t, "POST", "/v1/apply", network)
	srv.must(t, "POST", "/v1/apply", `{"objects": [
		{"kind": "InternetGateway", "name": "blue", "spec": {"design": "central"}}, {"kind": "PublicPool", "name": "world", "spec": {"cidrs": ["203.0.113.0/24"]}},
		{"kind": "PublicIP", "name": "blue/shared"}, {"kind": "Forward", "name": "blue/web", "spec": {"publicIP": "blue/shared", "port": 443, "endpoint": "blue/web/a"}}]}`)
	forwards := srv.open(t, "admin", "/v1/watch?kind=fwd&after=2")
	expect(t, forwards.until(2), "sync @2")
	srv.must(t, "POST", "/v1/status", `[{"kind": "Endpoint", "name": "blue/web/a", "status": {"state": "Ready"}}]`)
	expect(t, forwards.until(3), "put Forward blue/web @3", "sync @3")
	srv.must(t, "DELETE", "/v1/endpoints/blue/web/a", "")
	expect(t, forwards.until(4), "put Forward blue/web @4", "sync @4")
}

func TestWatchHeartbeat(t *testing.T) {
	srv := newAPIOf(t, Config{Store: store.NewMemory(0), Heartbeat: time.Millisecond})
	srv.must(t, "POST", "/v1/apply", network)
	s := srv.open(t, "admin", "/v1/watch?after=1")
	for range 3 {
		expect(t, s.until(1), "sync @1")
	}
	v := srv.open(t, "host1", "/v1/hosts/host1/view")
	_, _ = v.delta()
	for range 3 {
		if d, ok := v.delta(); !ok || !cmp.Equal(d, view.Delta{Revision: 1}, values) {
			t.Errorf("heartbeat of a view: %+v", d)
		}
	}
}

func TestWatchGone(t *testing.T) {
	memory := store.NewMemory(0)
	srv := newAPI(t, memory)
	srv.must(t, "POST", "/v1/apply", network)
	srv.must(t, "PUT", "/v1/vpcs/red", `{"spec": {}}`)
	if err := memory.Compact(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	expect(t, told(srv.send(t, "admin", "GET", "/v1/watch?after=1", "")),
		"410 gone: revision 1 is no longer in the store's history; list, then watch from there")
	expect(t, srv.open(t, "admin", "/v1/watch?after=2").until(2), "sync @2")
}

// TestWatchTooSlow has a client that reads nothing, until what fits into buffers on the way is full and the backlog
// too. Others are not held up.
func TestWatchTooSlow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s") // a socket has little room for what nobody reads
	server, _ := serveUnix(t, path, Config{Store: store.NewMemory(0), Backlog: 8})
	srv := unixAPI(server, path)
	srv.must(t, "POST", "/v1/apply", network)
	slow := srv.open(t, "admin", "/v1/watch?after=1")
	view := srv.open(t, "host1", "/v1/hosts/host1/view")
	fill := func() {
		var objects []string
		for i := range 400 {
			objects = append(objects, fmt.Sprintf(`{"kind": "Endpoint", "name": "blue/web/e%d", "spec": {"host": "host%d"}}`, i, i%2+1))
		}
		srv.must(t, "POST", "/v1/apply", `{"objects": [`+strings.Join(objects, ",")+`]}`)
		srv.must(t, "POST", "/v1/apply", `{"delete": [`+strings.ReplaceAll(deletes(objects), "\n", ",")+`]}`)
	}
	for range 20 {
		fill()
	}
	last := slow.until(1 << 40)
	if !strings.Contains(last, "unavailable @") || !strings.Contains(last,
		"too slow: more than 8 commits behind; watch again after revision") {
		t.Errorf("a client that did not read was told: ...%s", last[max(0, len(last)-300):])
	}

	// A view is never ended for being slow: it gets the whole again.
	var follower, complete = viewOf("host1"), 0
	srv.must(t, "PUT", "/v1/endpoints/blue/web/last", `{"spec": {"host": "host1"}}`)
	want := viewAt(srv, "host1")
	for follower.revision < srv.State().Revision() {
		d, ok := view.delta()
		if !ok {
			t.Fatal("the stream ended")
		}
		if d.Complete {
			complete++
		}
		follower.apply(d)
	}
	if complete < 2 {
		t.Errorf("told the whole view %d times, want once more after it got lost", complete)
	}
	same(t, follower.View, want)
}

func deletes(objects []string) string {
	keys := make([]string, len(objects))
	for i := range objects {
		keys[i] = fmt.Sprintf(`{"kind": "Endpoint", "name": "blue/web/e%d"}`, i)
	}
	return strings.Join(keys, "\n")
}

// follower is a view as an agent keeps it.
type follower struct {
	view.View
	revision int64
}

func viewOf(host string) *follower { return &follower{View: view.View{Host: host}} }

func (f *follower) apply(d view.Delta) {
	f.Apply(d)
	f.revision = d.Revision
}

func viewAt(a testServer, host string) view.View { return view.New(a.State(), host) }

func same(t *testing.T, got, want view.View) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), values); diff != "" {
		t.Errorf("view (-want +got):\n%s", diff)
	}
}

func TestView(t *testing.T) {
	srv := newAPI(t, store.NewMemory(0))
	srv.must(t, "POST", "/v1/apply", network)
	s := srv.open(t, "host1", "/v1/hosts/host1/view")
	f := viewOf("host1")
	first, _ := s.delta()
	if !first.Complete || first.Revision != 1 {
		t.Fatalf("the first delta is %+v", first)
	}
	f.apply(first)
	same(t, f.View, viewAt(srv, "host1"))
	for _, step := range []struct{ method, path, body string }{
		{"PUT", "/v1/endpoints/blue/web/b", `{"spec": {"host": "host2"}}`},
		{"PUT", "/v1/endpoints/blue/web/c", `{"spec": {"host": "host1"}}`},
		{"DELETE", "/v1/endpoints/blue/web/a", ""},
		{"PUT", "/v1/endpoints/blue/web/b", `{"spec": {"host": "host1"}}`},
		{"PUT", "/v1/hosts/host1", `{"spec": {"address": "192.168.5.9"}}`},
	} {
		srv.must(t, step.method, step.path, step.body)
		d, ok := s.delta()
		if !ok || d.Complete {
			t.Fatalf("%s %s: delta %+v, %v", step.method, step.path, d, ok)
		}
		f.apply(d)
		same(t, f.View, viewAt(srv, "host1"))
	}
}

// TestFoundAddresses: what a host reports of its own addresses goes to those who must not lead there, although no
// intent has changed; a server that starts later knows it, too.
func TestFoundAddresses(t *testing.T) {
	kept := store.NewMemory(0)
	srv := newAPI(t, kept)
	srv.must(t, "POST", "/v1/apply", network)
	srv.must(t, "PUT", "/v1/internetgateways/blue", `{"spec": {"snat": true}}`)
	s := srv.open(t, "host1", "/v1/hosts/host1/view")
	first, _ := s.delta()
	for range 2 { // the second says nothing new
		srv.must(t, "POST", "/v1/status",
			`[{"kind": "Host", "name": "host2", "status": {"addresses": ["10.9.9.2", "10.9.9.1"], "flows": 3}}]`)
	}
	srv.must(t, "PUT", "/v1/endpoints/blue/web/b", `{"spec": {"host": "host2"}}`)
	d, _ := s.delta()
	want := []view.HostAddresses{{Host: "host2", VTEP: netip.MustParseAddr("192.168.5.3"),
		Others: []netip.Addr{netip.MustParseAddr("10.9.9.1"), netip.MustParseAddr("10.9.9.2")}}}
	if d.Complete || d.Revision != first.Revision || !reflect.DeepEqual(d.Hosts, want) {
		t.Errorf("told %+v, want the hosts %+v", d, want)
	}
	if d, _ := s.delta(); len(d.Hosts) > 0 {
		t.Errorf("told again: %+v", d)
	}
	later := newAPI(t, kept)
	first, _ = later.open(t, "host1", "/v1/hosts/host1/view").delta()
	if !slices.ContainsFunc(first.Hosts, func(m view.HostAddresses) bool { return len(m.Others) == 2 }) {
		t.Errorf("a later server tells %+v", first.Hosts)
	}
}

// TestFoundTooOften: others hear of what a host finds every ten seconds at most, and of the last of it in the end.
func TestFoundTooOften(t *testing.T) {
	var passed atomic.Int64
	srv := newAPIOf(t, Config{Store: store.NewMemory(0),
		now: func() time.Time { return noon.Add(time.Duration(passed.Load())) }})
	srv.must(t, "POST", "/v1/apply", network)
	srv.must(t, "PUT", "/v1/internetgateways/blue", `{"spec": {"snat": true}}`)
	s := srv.open(t, "host1", "/v1/hosts/host1/view")
	s.delta()
	found := func(address string) {
		srv.must(t, "POST", "/v1/status",
			`[{"kind": "Host", "name": "host2", "status": {"addresses": ["`+address+`"]}}]`)
	}
	others := func() netip.Addr {
		t.Helper()
		for {
			d, ok := s.delta()
			if !ok || len(d.Hosts) > 0 {
				return d.Hosts[0].Others[0]
			}
		}
	}
	found("10.9.9.1")
	expect(t, others().String(), "10.9.9.1")
	for _, address := range []string{"10.9.9.2", "10.9.9.1", "10.9.9.3"} {
		found(address)
	}
	passed.Store(int64(replica.AddressesEvery))
	expect(t, others().String(), "10.9.9.3") // within a tick
}

// TestTwoViewers has an agent that reconnects while its old connection still lingers.
func TestTwoViewers(t *testing.T) {
	srv := newAPI(t, store.NewMemory(0))
	srv.must(t, "POST", "/v1/apply", network)
	streams := []stream{srv.open(t, "host1", "/v1/hosts/host1/view")}
	followers := []*follower{viewOf("host1"), viewOf("host1")}
	d, _ := streams[0].delta()
	followers[0].apply(d)
	srv.must(t, "PUT", "/v1/endpoints/blue/web/b", `{"spec": {"host": "host2"}}`)
	streams = append(streams, srv.open(t, "admin", "/v1/hosts/host1/view"))
	srv.must(t, "PUT", "/v1/endpoints/blue/web/c", `{"spec": {"host": "host2"}}`)
	for i, s := range streams {
		for followers[i].revision < 3 {
			d, ok := s.delta()
			if !ok {
				t.Fatal("the stream ended")
			}
			followers[i].apply(d)
		}
		same(t, followers[i].View, viewAt(srv, "host1"))
	}
}

// TestViewRevoked: a stream outlives neither the host nor its right to read it.
func TestViewRevoked(t *testing.T) {
	server := newAPIOf(t, Config{Store: store.NewMemory(0), Heartbeat: 10 * time.Millisecond})
	server.must(t, "POST", "/v1/apply", network)
	identify := func(r *http.Request) (Caller, error) {
		if server.State().Host("host2") == nil {
			return Caller{}, denied("the host is gone")
		}
		return Caller{Kind: HostCaller, Host: "host2"}, nil
	}
	s := serveAs(t, server.Server, identify).open(t, "", "/v1/hosts/host2/view")
	if d, ok := s.delta(); !ok || !d.Complete {
		t.Fatalf("first delta: %+v", d)
	}
	server.must(t, "DELETE", "/v1/hosts/host2", "")
	for {
		d, ok := s.delta()
		if !ok {
			return
		}
		if d.Revision > 1 {
			t.Fatalf("told of revision %d, at which the host was gone: %+v", d.Revision, d)
		}
	}
}

func TestStopEndsStreams(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run", "server.sock")
	server, stop := serveUnix(t, path, Config{Store: store.NewMemory(0)})
	srv := unixAPI(server, path)
	srv.must(t, "POST", "/v1/apply", network)
	watch, view := srv.open(t, "", "/v1/watch?after=1"), srv.open(t, "", "/v1/hosts/host1/view")
	expect(t, watch.until(1), "sync @1")
	_, _ = view.delta()
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	expect(t, watch.until(2), "unavailable @1: the server is stopping; watch again after revision 1", "end")
	if d, ok := view.delta(); ok {
		t.Errorf("a view went on: %+v", d)
	}
}

func TestReloadAfterCompaction(t *testing.T) {
	blind := newBlindStore()
	srv := newAPI(t, blind)
	other := newAPI(t, blind.Memory)
	srv.must(t, "POST", "/v1/apply", network)
	watch, s := srv.open(t, "admin", "/v1/watch?after=1"), srv.open(t, "host1", "/v1/hosts/host1/view")
	f := viewOf("host1")
	d, _ := s.delta()
	f.apply(d)

	blind.cover() // the server hears nothing while another one works
	other.must(t, "PUT", "/v1/endpoints/blue/web/b", `{"spec": {"host": "host2"}}`)
	other.must(t, "DELETE", "/v1/endpoints/blue/web/a", "")
	other.must(t, "PUT", "/v1/endpoints/blue/web/c", `{"spec": {"host": "host1"}}`)
	other.must(t, "POST", "/v1/status", `[{"kind": "Host", "name": "host2", "status": {"ready": true}}]`)
	if err := blind.Compact(t.Context(), 5); err != nil {
		t.Fatal(err)
	}
	blind.uncover()

	expect(t, watch.until(5), "put Endpoint blue/web/b @5", "put Endpoint blue/web/c @5",
		"delete Endpoint blue/web/a @5", "put Host host2 @5", "sync @5")
	for f.revision < 4 {
		d, _ := s.delta()
		f.apply(d)
	}
	same(t, f.View, viewAt(other, "host1"))
	srv.must(t, "PUT", "/v1/vpcs/red", `{"spec": {}}`)
}
