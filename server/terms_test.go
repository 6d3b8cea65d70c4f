package server

import (
	"context"
	"errors"
	"iter"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/overlane/overlane/store"
)

// blindStore is a store whose watches can be cut off for a while.
type blindStore struct {
	*store.Memory
	mu   sync.Mutex
	open chan struct{} // closed: watches work
	cut  chan struct{} // closed when they are cut
}

func newBlindStore() *blindStore {
	b := &blindStore{Memory: store.NewMemory(0), open: make(chan struct{}), cut: make(chan struct{})}
	close(b.open)
	return b
}

func (b *blindStore) cover() {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.cut)
	b.open = make(chan struct{})
}

func (b *blindStore) uncover() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cut = make(chan struct{})
	close(b.open)
}

func (b *blindStore) gates() (open, cut chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.open, b.cut
}

func (b *blindStore) Watch(ctx context.Context, after int64) iter.Seq2[store.Commit, error] {
	return func(yield func(store.Commit, error) bool) {
		open, _ := b.gates()
		select {
		case <-open:
		case <-ctx.Done():
			yield(store.Commit{}, ctx.Err())
			return
		}
		_, cut := b.gates()
		watching, cancel := context.WithCancel(ctx)
		defer cancel()
		go func() {
			select {
			case <-cut:
				cancel()
			case <-watching.Done():
			}
		}()
		for c, err := range b.Memory.Watch(watching, after) {
			if err != nil && ctx.Err() == nil && watching.Err() != nil {
				err = errors.New("cut off")
			}
			if !yield(c, err) {
				return
			}
		}
	}
}

// serveAs is the same server, reached by one caller.
func serveAs(t *testing.T, s *Server, identify Identify) testServer {
	h := httptest.NewServer(s.Handler(identify))
	t.Cleanup(func() {
		s.cancel() // streams would keep it
		h.Close()
	})
	return testServer{s, h.URL, h.Client()}
}

// serveUnix serves on a socket. stop stops it and waits.
func serveUnix(t testing.TB, path string, c Config) (s *Server, stop func() error) {
	s, err := New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	l, err := ListenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	t.Cleanup(func() { _ = stop() })
	return s, stop
}

// unixAPI is a server reached by its socket.
func unixAPI(s *Server, path string) testServer {
	return testServer{s, "http://overlane", &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
	}}}
}
