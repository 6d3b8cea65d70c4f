package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/embed"

	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/server/api"
	"github.com/overlane/overlane/store"
)

// TestConcurrentAllocation has many clients ask two servers on one store for addresses at once.
func TestConcurrentAllocation(t *testing.T) {
	stores := map[string]func(*testing.T) (a, b store.Store){
		"memory":   func(t *testing.T) (store.Store, store.Store) { m := store.NewMemory(0); return m, m },
		"embedded": func(t *testing.T) (store.Store, store.Store) { e := embedded(t, t.TempDir()); return e, e },
		"etcd": func(t *testing.T) (store.Store, store.Store) {
			endpoint := cluster(t)
			return dial(t, endpoint), dial(t, endpoint)
		},
	}
	for name, open := range stores {
		t.Run(name, func(t *testing.T) {
			a, b := open(t)
			allocate(t, newAPI(t, a), newAPI(t, b))
		})
	}
}

func allocate(t *testing.T, servers ...testServer) {
	const clients, each = 20, 10
	setup := servers[0].must(t, "POST", "/v1/apply", network)
	var applied api.Applied
	if err := json.Unmarshal(setup.body, &applied); err != nil {
		t.Fatal(err)
	}
	for _, s := range servers {
		await(t, s, applied.Revision)
	}
	var group sync.WaitGroup
	for c := range clients {
		group.Go(func() {
			for i := range each {
				s := servers[(c+i)%len(servers)]
				path := fmt.Sprintf("/v1/endpoints/blue/web/c%d-%d", c, i)
				answer := s.send(t, "admin", "PUT", path, `{"spec": {"host": "host1"}}`)
				if answer.status != 201 {
					t.Error(told(answer))
					return
				}
				// Whoever was answered finds his object at once on the same server.
				if read := s.send(t, "admin", "GET", path, ""); read.status != 200 {
					t.Error(told(read))
				}
			}
		})
	}
	group.Wait()
	latest := int64(0) // any of them may have committed last, and the others not have seen it yet
	for _, s := range servers {
		latest = max(latest, s.State().Revision())
	}
	for _, s := range servers {
		await(t, s, latest)
		seen := map[any]string{}
		for o := range s.State().List("Endpoint") {
			spec := o.Spec.(*model.EndpointSpec)
			for _, value := range []any{spec.Address, spec.MAC} {
				if other, taken := seen[value]; taken {
					t.Errorf("%s and %s both have %v", other, o.Name, value)
				}
				seen[value] = o.Name
			}
		}
		if got := s.State().Len("Endpoint"); got != clients*each+1 {
			t.Errorf("%d endpoints, want %d", got, clients*each+1)
		}
	}
}

func await(t *testing.T, s testServer, revision int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := s.replica.Await(ctx, revision); err != nil {
		t.Fatal(err)
	}
}

func embedded(t testing.TB, dir string) store.Store {
	s, err := store.OpenEmbedded(t.Context(), store.EmbeddedConfig{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func dial(t *testing.T, endpoint string) store.Store {
	s, err := store.DialEtcd(t.Context(), store.EtcdConfig{Endpoints: []string{endpoint}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// cluster is an etcd on a unix socket, with the limits that every etcd comes with.
func cluster(t *testing.T) string {
	dir, err := os.MkdirTemp("", "etcd") // t.TempDir makes paths too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	cfg := embed.NewConfig()
	cfg.Dir, cfg.LogLevel, cfg.ListenPeerUrls = filepath.Join(dir, "data"), "panic", nil
	client := url.URL{Scheme: "unix", Path: filepath.Join(dir, "client.sock")}
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	<-e.Server.ReadyNotify()
	return "unix:" + client.Path
}

// TestRestart closes server and store, and opens the same folder again.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	first := embedded(t, dir)
	srv := newAPI(t, first)
	srv.must(t, "POST", "/v1/apply", network)
	srv.must(t, "POST", "/v1/status", `[{"kind": "Endpoint", "name": "blue/web/a", "status": {"state": "Ready"}}]`)
	revision := srv.replica.Revision()
	before := told(srv.must(t, "GET", "/v1/endpoints", ""))
	srv.Close()
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}

	again := newAPI(t, embedded(t, dir))
	expect(t, told(again.must(t, "GET", "/v1/endpoints", "")), before)
	// A client that was away while the server restarted resumes where it was.
	watch := again.open(t, "admin", fmt.Sprintf("/v1/watch?after=%d", revision-1))
	expect(t, watch.until(revision), fmt.Sprintf("put Endpoint blue/web/a @%d", revision),
		fmt.Sprintf("sync @%d", revision))
	again.must(t, "PUT", "/v1/vpcs/red", `{"spec": {}}`)
}

// TestLargeApply: 6,000 endpoints are one commit, also in a cluster with etcd's own limits.
func TestLargeApply(t *testing.T) {
	srv := newAPI(t, dial(t, cluster(t)))
	srv.must(t, "POST", "/v1/apply", network)
	body := []byte(`{"objects": [`)
	for i := range 6000 {
		body = fmt.Appendf(body, `{"kind": "Endpoint", "name": "blue/web/e%d", "spec": {"host": "host%d"}},`, i, i%2+1)
	}
	body = append(body[:len(body)-1], "]}"...)
	srv.must(t, "POST", "/v1/apply", string(body))
	revisions := map[int64]bool{}
	for o := range srv.State().List("Endpoint") {
		revisions[o.Revision] = true
	}
	if n := srv.State().Len("Endpoint"); n != 6001 || len(revisions) != 2 {
		t.Errorf("%d endpoints of %d revisions, want 6001 of 2", n, len(revisions))
	}
}

// stealing is a store where somebody else always commits first, a number of times.
type stealing struct {
	*store.Memory
	left atomic.Int64
}

func (s *stealing) Commit(ctx context.Context, head int64, b store.Batch) (int64, error) {
	if s.left.Add(-1) >= 0 {
		if _, err := s.Memory.Commit(ctx, head, store.Batch{}); err != nil {
			return 0, err
		}
	}
	return s.Memory.Commit(ctx, head, b)
}

func TestConflictsAreRetried(t *testing.T) {
	s := &stealing{Memory: store.NewMemory(0)}
	srv := newAPI(t, s)
	s.left.Store(maxAttempts - 1)
	srv.must(t, "PUT", "/v1/vpcs/blue", `{"spec": {}}`)
	s.left.Store(1 << 40)
	expect(t, told(srv.send(t, "admin", "PUT", "/v1/vpcs/red", `{"spec": {}}`)),
		"503 unavailable: other servers commit all the time: gave up after 20 attempts; try again")
	s.left.Store(0)
	srv.must(t, "PUT", "/v1/vpcs/red", `{"spec": {}}`)
}

// broken is a store that cannot be reached.
type broken struct {
	*store.Memory
	away atomic.Bool
	full atomic.Bool // it can be read, but not written
}

var errAway = errors.New("connection refused")

func (b *broken) Load(ctx context.Context, prefix string) (store.Snapshot, error) {
	if b.away.Load() {
		return store.Snapshot{}, errAway
	}
	return b.Memory.Load(ctx, prefix)
}

func (b *broken) Write(ctx context.Context, batch store.Batch) (int64, error) {
	if b.away.Load() || b.full.Load() {
		return 0, errAway
	}
	return b.Memory.Write(ctx, batch)
}

func (b *broken) Commit(ctx context.Context, head int64, batch store.Batch) (int64, error) {
	if b.away.Load() {
		return 0, errAway
	}
	return b.Memory.Commit(ctx, head, batch)
}

// TestStoreAway: without its store a server still answers what it knows, and says what it cannot do.
func TestStoreAway(t *testing.T) {
	s := &broken{Memory: store.NewMemory(0)}
	srv := newAPI(t, s)
	srv.must(t, "POST", "/v1/apply", network)
	expect(t, told(srv.send(t, "admin", "GET", "/healthz", "")), `200 {"status":"ok","revision":2}`)
	s.away.Store(true)
	expect(t, told(srv.send(t, "admin", "GET", "/healthz", "")), "503 unavailable: store: connection refused")
	expect(t, told(srv.send(t, "admin", "PUT", "/v1/vpcs/red", `{"spec": {}}`)),
		"503 unavailable: store: connection refused")
	srv.must(t, "GET", "/v1/endpoints/blue/web/a", "")
	s.away.Store(false)
	srv.must(t, "PUT", "/v1/vpcs/red", `{"spec": {}}`)
}

// TestStoreFull: a store that can be read and not written is not healthy.
func TestStoreFull(t *testing.T) {
	s := &broken{Memory: store.NewMemory(0)}
	srv := newAPI(t, s)
	s.full.Store(true)
	expect(t, told(srv.send(t, "admin", "GET", "/healthz", "")), "503 unavailable: store: connection refused")
	s.full.Store(false)
	expect(t, told(srv.send(t, "admin", "GET", "/healthz", "")), `200 {"status":"ok","revision":1}`)
	// not written again
	expect(t, told(srv.send(t, "admin", "GET", "/healthz", "")), `200 {"status":"ok","revision":1}`)
}

func TestUnreadableStore(t *testing.T) {
	memory := store.NewMemory(0)
	if _, err := memory.Commit(t.Context(), 0,
		store.Batch{Put: []store.Item{{Key: "object/Subnet/blue/web", Value: []byte("?")}}}); err != nil {
		t.Fatal(err)
	}
	_, err := New(t.Context(), Config{Store: memory})
	if err == nil {
		t.Fatal("a server started on a store of which it cannot read an object")
	}
	expect(t, err.Error(), "read the store: decode Subnet blue/web: invalid character '?' looking for beginning of value")
}

// TestUnreadableStatus: what was measured is measured again, so a status that cannot be read is left out, and nothing
// else.
func TestUnreadableStatus(t *testing.T) {
	memory := store.NewMemory(0)
	newAPI(t, memory).must(t, "POST", "/v1/apply", network)
	write := func(value string) {
		t.Helper()
		b := store.Batch{Put: []store.Item{{Key: "status/Gateway/x", Value: []byte(`{}`)},
			{Key: "status/Host/h1", Value: []byte(`{"flows": "many"}`)},
			{Key: "status/Host/host1", Value: []byte(value)}}}
		if _, err := memory.Write(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	host := func(a testServer, revision int64) string {
		t.Helper()
		await(t, a, revision)
		var o struct{ Status *model.HostStatus }
		if err := json.Unmarshal(a.must(t, "GET", "/v1/hosts/host1", "").body, &o); err != nil {
			t.Fatal(err)
		}
		if o.Status == nil {
			return "none"
		}
		return fmt.Sprint(o.Status.Flows)
	}
	write(`{"flows": "many"}`)
	var log logged
	a := newAPIOf(t, Config{Store: memory, Log: slog.New(slog.NewTextHandler(&log, nil))})
	expect(t, host(a, 2), "none")
	write(`{"flows": 7}`)
	expect(t, host(a, 3), "7")
	write(`{"flows": "many"}`)
	expect(t, host(a, 4), "none") // not what it was before, either
	for _, want := range []string{"decode status of Host h1", "decode status of Gateway x: not a kind"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %q in the log:\n%s", want, log.String())
		}
	}
	a.must(t, "POST", "/v1/status", `[{"kind": "Host", "name": "host1", "status": {"flows": 8}}]`)
	expect(t, host(a, 5), "8")
	a.must(t, "DELETE", "/v1/endpoints/blue/web/a", "")
	a.must(t, "DELETE", "/v1/hosts/host1", "")
}

// TestUnreadableObject has a newer server on the same store write what this one cannot read. To judge by the rest would
// be to give away what is taken, so this one only tells what it knows, until the object is gone again.
func TestUnreadableObject(t *testing.T) {
	blind := newBlindStore()
	srv := newAPI(t, blind)
	srv.must(t, "POST", "/v1/apply", network)
	watch, view := srv.open(t, "admin", "/v1/watch?after=1"), srv.open(t, "host1", "/v1/hosts/host1/view")
	expect(t, watch.until(1), "sync @1")
	_, _ = view.delta()
	newer := func(b store.Batch) int64 {
		t.Helper()
		s, err := blind.Load(t.Context(), "none/")
		if err != nil {
			t.Fatal(err)
		}
		revision, err := blind.Commit(t.Context(), s.Head, b)
		if err != nil {
			t.Fatal(err)
		}
		return revision
	}
	refuses := func(n int) {
		t.Helper()
		want := fmt.Sprintf("503 unavailable: the store holds %d objects that this server cannot read, so it changes nothing: "+
			"another server is newer; upgrade this one, whose log names them", n)
		expect(t, told(srv.send(t, "admin", "PUT", "/v1/vpcs/red", `{"spec": {}}`)), want)
		expect(t, told(srv.send(t, "admin", "DELETE", "/v1/endpoints/blue/web/a", "")), want)
		expect(t, told(srv.send(t, "admin", "POST", "/v1/apply",
			`{"dryRun": true, "objects": [{"kind": "VPC", "name": "red"}]}`)), want)
		expect(t, told(srv.send(t, "nobody", "GET", "/healthz", "")), want)
		srv.must(t, "GET", "/v1/endpoints/blue/web/a", "")
		srv.must(t, "GET", "/v1/status", "")
	}
	endpoint := `{"spec": {"host": "host2", "address": "172.16.0.9", "mac": "02:4f:ac:10:00:09"}}`
	revision := newer(store.Batch{Put: []store.Item{{Key: "object/Gateway/blue/gw", Value: []byte(`{"spec": {}}`)},
		{Key: "object/Endpoint/blue/web/b", Value: []byte(endpoint)}}})
	expect(t, watch.until(revision), "put Endpoint blue/web/b @2", "sync @2")
	if d, ok := view.delta(); !ok || len(d.Addresses) != 1 {
		t.Errorf("the view went on with %+v, %v", d, ok)
	}
	refuses(1)
	revision = newer(store.Batch{Put: []store.Item{{Key: "object/Endpoint/blue/web/a",
		Value: []byte(`{"spec": {"host": ["host1"]}}`)}}})
	await(t, srv, revision)
	refuses(2)
	srv.must(t, "POST", "/v1/status", `[{"kind": "Host", "name": "host1", "status": {"ready": true}}]`) // is no intent

	blind.cover()
	revision = newer(store.Batch{Put: []store.Item{{Key: "object/Subnet/blue/db", Value: []byte("?")}},
		Delete: []string{"object/Gateway/blue/gw"}})
	if err := blind.Compact(t.Context(), revision); err != nil {
		t.Fatal(err)
	}
	blind.uncover()
	await(t, srv, revision) // by a reload
	refuses(2)

	newer(store.Batch{Delete: []string{"object/Subnet/blue/db"}})
	revision = newer(store.Batch{Put: []store.Item{{Key: "object/Gateway/blue/gw", Value: []byte(`{"spec": {}}`)}}})
	await(t, srv, revision)
	refuses(2)
	newer(store.Batch{Delete: []string{"object/Gateway/blue/gw"}})
	revision = newer(store.Batch{Put: []store.Item{{Key: "object/Endpoint/blue/web/a",
		Value: []byte(strings.ReplaceAll(endpoint, "9", "8"))}}})
	await(t, srv, revision)
	srv.must(t, "PUT", "/v1/vpcs/red", `{"spec": {}}`)
	srv.must(t, "GET", "/healthz", "")
	if events := watch.until(revision); strings.Contains(events, "Gateway") {
		t.Errorf("told of what no client knows:\n%s", events)
	}
}
