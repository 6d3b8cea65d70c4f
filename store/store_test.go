package store_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"

	"github.com/overlane/overlane/store"
	"github.com/overlane/overlane/store/storetest"
)

func TestMemory(t *testing.T) {
	storetest.Run(t, storetest.Backend{
		Open: func(t *testing.T) store.Store { return closing(t, store.NewMemory(0)) },
		Compact: func(ctx context.Context, s store.Store, revision int64) error {
			return s.(*store.Memory).Compact(ctx, revision)
		},
	})
}

func TestEmbedded(t *testing.T) {
	dirs := map[store.Store]string{}
	open := func(t *testing.T, dir string) store.Store {
		s, err := store.OpenEmbedded(t.Context(), store.EmbeddedConfig{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		dirs[s] = dir
		return closing(t, s)
	}
	storetest.Run(t, storetest.Backend{
		Open: func(t *testing.T) store.Store { return open(t, t.TempDir()) },
		Reopen: func(t *testing.T, s store.Store) store.Store {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			return open(t, dirs[s])
		},
		Compact: func(ctx context.Context, s store.Store, revision int64) error {
			return s.(*store.Embedded).Compact(ctx, revision)
		},
	})
}

// TestEtcd has an etcd of its own, with the limits that every etcd comes with.
func TestEtcd(t *testing.T) {
	endpoint := cluster(t)
	var n atomic.Int64
	prefixes := map[store.Store]string{}
	open := func(t *testing.T, prefix string) store.Store {
		s, err := store.DialEtcd(t.Context(), store.EtcdConfig{Endpoints: []string{endpoint}, Prefix: prefix})
		if err != nil {
			t.Fatal(err)
		}
		prefixes[s] = prefix
		return closing(t, s)
	}
	storetest.Run(t, storetest.Backend{
		Open: func(t *testing.T) store.Store { return open(t, fmt.Sprintf("/test%d/", n.Add(1))) },
		Reopen: func(t *testing.T, s store.Store) store.Store {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			return open(t, prefixes[s])
		},
		Compact: func(ctx context.Context, _ store.Store, revision int64) error {
			client, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}})
			if err != nil {
				return err
			}
			defer client.Close()
			_, err = client.Compact(ctx, revision)
			return err
		},
	})
}

func TestEtcdTooLarge(t *testing.T) {
	s, err := store.DialEtcd(t.Context(), store.EtcdConfig{Endpoints: []string{cluster(t)}})
	if err != nil {
		t.Fatal(err)
	}
	closing(t, s)
	_, err = s.Commit(t.Context(), 0, store.Batch{Put: []store.Item{{Key: "k", Value: make([]byte, 4<<20)}}})
	if !errors.Is(err, store.ErrTooLarge) || !strings.Contains(err.Error(), "--max-request-bytes") {
		t.Errorf("a value of 4 MiB: %v", err)
	}
	many := store.Batch{Delete: make([]string, 80_000)}
	for i := range many.Delete {
		many.Delete[i] = fmt.Sprint(i)
	}
	if _, err = s.Commit(t.Context(), 0, many); !errors.Is(err, store.ErrTooLarge) {
		t.Errorf("80,000 keys: %v", err)
	}
}

func TestEtcdUnreachable(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := store.DialEtcd(ctx,
		store.EtcdConfig{Endpoints: []string{"unix:" + filepath.Join(t.TempDir(), "nobody.sock")}})
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(),
		"nobody.sock: connect: no such file or directory") {
		t.Errorf("dialling nobody: %v", err)
	}
}

func TestEmbeddedTwice(t *testing.T) {
	dir := t.TempDir()
	s, err := store.OpenEmbedded(t.Context(), store.EmbeddedConfig{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	closing(t, s)
	_, err = store.OpenEmbedded(t.Context(), store.EmbeddedConfig{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "another process has it open") {
		t.Errorf("a second store on the same folder: %v", err)
	}
}

// TestEmbeddedIsPrivate: what is in the store is nobody else's business, and etcd has no authentication here.
func TestEmbeddedIsPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	before := sockets(t)
	s, err := store.OpenEmbedded(t.Context(), store.EmbeddedConfig{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	closing(t, s)
	if after := sockets(t); after > before {
		t.Errorf("opening the store opened %d sockets", after-before)
	}
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o700 {
		t.Errorf("the data folder has mode %v, want 0700", info.Mode())
	}
}

// sockets counts this process's sockets of any kind.
func sockets(t *testing.T) (n int) {
	fds, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if target, _ := os.Readlink(fd); strings.HasPrefix(target, "socket:") {
			n++
		}
	}
	return n
}

// cluster starts an etcd that listens on a unix socket, and returns its endpoint.
func cluster(t *testing.T) string {
	dir, err := os.MkdirTemp("", "etcd") // t.TempDir makes paths too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	cfg := embed.NewConfig()
	cfg.Dir = filepath.Join(dir, "data")
	cfg.LogLevel = "panic"
	cfg.ListenPeerUrls = nil
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

func closing[S store.Store](t *testing.T, s S) S {
	t.Cleanup(func() { _ = s.Close() })
	return s
}
