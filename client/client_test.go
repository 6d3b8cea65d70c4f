package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/overlane/overlane/client"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/server"
	"github.com/overlane/overlane/server/api"
	"github.com/overlane/overlane/store"
	"github.com/overlane/overlane/view"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// place is where a server comes and goes, on one socket and one store.
type place struct {
	t      *testing.T
	store  *store.Memory
	socket string
	stop   func()
	opened atomic.Int32 // connections
}

func newPlace(t *testing.T, history int) *place {
	p := &place{t: t, store: store.NewMemory(history), socket: filepath.Join(t.TempDir(), "s")}
	p.start()
	t.Cleanup(func() {
		p.stop()
		_ = p.store.Close()
	})
	return p
}

// counted counts the connections of a listener.
type counted struct {
	net.Listener
	opened *atomic.Int32
}

func (c counted) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err == nil {
		c.opened.Add(1)
	}
	return conn, err
}

func (p *place) start() {
	p.t.Helper()
	s, err := server.New(context.Background(), server.Config{Store: p.store, Heartbeat: 20 * time.Millisecond})
	check(p.t, err)
	l, err := server.ListenUnix(p.socket)
	check(p.t, err)
	l.Listener = counted{l.Listener, &p.opened}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	p.stop = func() {
		cancel()
		ended <- <-ended
	}
}

func (p *place) client() *client.Client {
	p.t.Helper()
	c, err := client.New(client.Config{Address: "unix://" + p.socket})
	check(p.t, err)
	p.t.Cleanup(c.Close)
	return c
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func vpc(name string) model.Object {
	return model.Object{Kind: "VPC", Name: name, Spec: &model.VPCSpec{}}
}

func key(name string) model.Key { return model.Key{Kind: "VPC", Name: name} }

func TestObjects(t *testing.T) {
	c, ctx := newPlace(t, 0).client(), t.Context()
	made, err := c.Put(ctx, vpc("blue"))
	check(t, err)
	if made.Revision == 0 || made.Spec.(*model.VPCSpec).MTU == 0 {
		t.Errorf("put gives %+v %+v, without what the server decided", made, made.Spec)
	}
	_, err = c.Put(ctx, model.Object{Kind: "Subnet", Name: "blue/web", Spec: &model.SubnetSpec{CIDR: netip.MustParsePrefix("10.0.0.0/24")}})
	check(t, err)
	got, err := c.Get(ctx, model.Key{Kind: "Subnet", Name: "blue/web"})
	check(t, err)
	if got.Spec.(*model.SubnetSpec).VNI == 0 {
		t.Errorf("got %+v", got.Spec)
	}
	list, err := c.List(ctx, "Subnet", "blue")
	check(t, err)
	if len(list.Items) != 1 || list.Revision < got.Revision {
		t.Errorf("list is %+v", list)
	}
	if none, err := c.List(ctx, "Subnet", "red"); err != nil || len(none.Items) != 0 {
		t.Errorf("under red there are %+v, %v", none, err)
	}
	check(t, c.Delete(ctx, model.Key{Kind: "Subnet", Name: "blue/web"}))
	over, err := c.Overview(ctx)
	check(t, err)
	if over.Objects["VPC"] != 1 || over.Objects["Subnet"] != 0 {
		t.Errorf("overview is %+v", over)
	}
}

func TestErrorsHaveKinds(t *testing.T) {
	c, ctx := newPlace(t, 0).client(), t.Context()
	made, err := c.Put(ctx, vpc("blue"))
	check(t, err)

	_, err = c.Get(ctx, key("red"))
	is(t, err, client.ErrNotFound)
	made.Revision += 7
	made.Spec.(*model.VPCSpec).MTU = 1400
	_, err = c.Put(ctx, made)
	is(t, err, client.ErrConflict)
	_, err = c.Put(ctx, model.Object{Kind: "Subnet", Name: "blue/web", Spec: &model.SubnetSpec{}})
	is(t, err, client.ErrInvalid)
	var refused *api.Error
	if !errors.As(err, &refused) || len(refused.Problems) == 0 || refused.Problems[0].Field != "spec.cidr" {
		t.Errorf("%v does not name the field", err)
	}
	_, err = c.Get(ctx, model.Key{Kind: "Gadget", Name: "x"})
	is(t, err, client.ErrInvalid)
	_, err = c.List(ctx, "Gadget", "")
	is(t, err, client.ErrInvalid)

	ended, cancel := context.WithCancel(ctx)
	cancel()
	_, err = c.Get(ended, key("blue"))
	is(t, err, context.Canceled)
}

func is(t *testing.T, err, kind error) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("%v is not of the kind %#v", err, kind)
	}
}

func TestUnreachableServersAreExplained(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	closed.Close()
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	other := httptest.NewUnstartedServer(http.NotFoundHandler())
	other.Config.ErrorLog = log.New(io.Discard, "", 0)
	other.StartTLS()
	defer other.Close()
	left := filepath.Join(t.TempDir(), "left")
	abandon(t, left)
	for address, want := range map[string]struct {
		kind  error
		words string
	}{
		"unix:///nowhere/s":                         {client.ErrUnavailable, "there is no such socket; start overlane server on this machine"},
		"unix://" + left:                            {client.ErrUnavailable, "connection refused"},
		"https://" + closed.Addr().String():         {client.ErrUnavailable, "connection refused; is overlane server running there?"},
		"https://" + plain.Listener.Addr().String(): {client.ErrDenied, "it does not speak TLS; is this the port of overlane server?"},
		"https://" + other.Listener.Addr().String(): {client.ErrDenied, "is not from the CA that was expected"},
	} {
		c, err := client.New(client.Config{Address: address})
		check(t, err)
		_, err = c.Get(t.Context(), key("blue"))
		is(t, err, want.kind)
		if !strings.HasPrefix(err.Error(), "server "+address+": ") || !strings.Contains(err.Error(), want.words) {
			t.Errorf("%s: %v, not %s", address, err, want.words)
		}
		c.Close()
	}
	for _, address := range []string{"http://x", "unix://host/path", "unix://", "https://", "https://x/path", "x", "https://a b"} {
		if _, err := client.New(client.Config{Address: address}); err == nil || !strings.Contains(err.Error(), "neither unix:///PATH nor https://HOST[:PORT]") {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// abandon leaves a socket behind that nobody listens on, as a server does that was killed.
func abandon(t *testing.T, path string) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	check(t, err)
	l.SetUnlinkOnClose(false)
	l.Close()
}

// A call made before the server listens waits for it; its own context ends it sooner.
func TestWaitsForTheSocket(t *testing.T) {
	p := newPlace(t, 0)
	p.stop()
	early, err := client.New(client.Config{Address: "unix://" + p.socket, Wait: time.Minute})
	check(t, err)
	defer early.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := early.Version(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	answered := make(chan error, 1)
	go func() {
		_, err := early.Version(t.Context())
		answered <- err
	}()
	_, err = p.client().Version(t.Context())
	is(t, err, client.ErrUnavailable)
	p.start()
	check(t, <-answered)
}

func TestAnswersThatAreNotOurs(t *testing.T) {
	strange := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/vpcs" {
			_, _ = w.Write([]byte("<html>"))
			return
		}
		http.Error(w, "teapot\nof some kind", http.StatusTeapot)
	}))
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	check(t, err)
	strange.Listener = l
	strange.Start()
	defer strange.Close()
	c, err := client.New(client.Config{Address: "unix://" + path})
	check(t, err)
	defer c.Close()
	_, err = c.Get(t.Context(), key("blue"))
	if err == nil || err.Error() != "the server answered 418 I'm a teapot: teapot" {
		t.Errorf("%v", err)
	}
	if _, err = c.List(t.Context(), "VPC", ""); err == nil || !strings.Contains(err.Error(), "invalid character") {
		t.Errorf("%v", err)
	}
}

func TestCallsShareAConnection(t *testing.T) {
	p := newPlace(t, 0)
	c := p.client()
	for range 50 {
		_, err := c.Put(t.Context(), vpc("blue"))
		check(t, err)
		_, _ = c.Get(t.Context(), key("red")) // refusals too
	}
	if n := p.opened.Load(); n != 1 {
		t.Errorf("%d connections for calls one after the other", n)
	}
}

// An agent of a host with many endpoints reports all of them when it has been away.
func TestManyReportsGoInParts(t *testing.T) {
	updates := make([]model.StatusUpdate, api.MaxReports+1)
	for i := range updates {
		updates[i] = model.StatusUpdate{Key: model.Key{Kind: "Endpoint", Name: fmt.Sprintf("blue/web/e%d", i)}, Status: &model.EndpointStatus{}}
	}
	var parts []int
	taking := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var reports []api.Report
		var answer api.Reported
		if err := json.NewDecoder(r.Body).Decode(&reports); err != nil {
			t.Error(err)
		}
		parts = append(parts, len(reports))
		for _, report := range reports {
			answer.Ignored = append(answer.Ignored, model.Key{Kind: report.Kind, Name: report.Name})
		}
		_ = json.NewEncoder(w).Encode(answer)
	}))
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	check(t, err)
	taking.Listener = l
	taking.Start()
	defer taking.Close()
	c, err := client.New(client.Config{Address: "unix://" + path})
	check(t, err)
	defer c.Close()
	ignored, err := c.PutStatus(t.Context(), updates)
	check(t, err)
	if len(parts) != 2 || parts[0] != api.MaxReports || parts[1] != 1 {
		t.Errorf("sent in parts of %v", parts)
	}
	if len(ignored) != len(updates) || ignored[api.MaxReports] != updates[api.MaxReports].Key {
		t.Errorf("%d of %d reports were answered", len(ignored), len(updates))
	}
}

func TestWatchResumes(t *testing.T) {
	p := newPlace(t, 0)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	names := make(chan string, 100)
	done := make(chan error, 1)
	go func() {
		var err error
		for e, failed := range p.client().Watch(ctx, "VPC", 0) {
			if err = failed; err != nil {
				break
			}
			if e.Object != nil {
				names <- string(e.Type) + " " + e.Object.Name
			}
		}
		done <- err
	}()
	expect := func(want string) {
		t.Helper()
		select {
		case got := <-names:
			if got != want {
				t.Fatalf("told %s, not %s", got, want)
			}
		case <-ctx.Done():
			t.Fatalf("never told %s", want)
		}
	}
	change := func(o model.Object) {
		t.Helper()
		_, err := p.client().Put(ctx, o)
		check(t, err)
	}
	change(vpc("a"))
	expect("put a")
	change(model.Object{Kind: "Host", Name: "host1", Spec: &model.HostSpec{Address: netip.MustParseAddr("192.0.2.1")}})
	p.stop()
	p.start()
	change(vpc("b"))
	expect("put b")
	check(t, p.client().Delete(ctx, key("a")))
	expect("delete a")
	p.stop()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("the watch ended with %v", err)
	}
}

func TestWatchSaysWhenHistoryIsGone(t *testing.T) {
	p := newPlace(t, 2)
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		_, err := p.client().Put(t.Context(), vpc(name))
		check(t, err)
	}
	for _, err := range p.client().Watch(t.Context(), "", 1) {
		is(t, err, client.ErrGone)
		return
	}
	t.Error("the watch ended without a word")
}

func TestWatchEndsWhenToldEnough(t *testing.T) {
	p := newPlace(t, 0)
	_, err := p.client().Put(t.Context(), vpc("a"))
	check(t, err)
	for _, err := range p.client().Watch(t.Context(), "", 0) {
		check(t, err)
		break
	}
	for _, err := range p.client().Watch(t.Context(), "Gadget", 0) { // a refusal is not tried again
		is(t, err, client.ErrInvalid)
	}
}

func TestViewIsFollowedAcrossRestarts(t *testing.T) {
	p := newPlace(t, 0)
	_, err := p.client().Put(t.Context(), model.Object{Kind: "Host", Name: "host1", Spec: &model.HostSpec{Address: netip.MustParseAddr("192.0.2.1")}})
	check(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	whole, downs, ended := make(chan view.Delta, 100), make(chan error, 1000), make(chan bool)
	go func() {
		p.client().FollowView(ctx, "host1", func(d view.Delta) {
			if d.Complete {
				whole <- d
			}
		}, func(err error) { downs <- err })
		close(ended)
	}()
	if d := <-whole; d.VTEP != netip.MustParseAddr("192.0.2.1") {
		t.Errorf("first delta is %+v", d)
	}
	p.stop()
	is(t, <-downs, client.ErrUnavailable)
	p.start()
	<-whole
	p.stop()
	cancel()
	<-ended
}
