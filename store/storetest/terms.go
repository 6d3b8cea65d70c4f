package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/overlane/overlane/store"
)

// put and drop are elements of a batch. A drop is an item without a value.
func put(key, value string) store.Item { return store.Item{Key: key, Value: []byte(value)} }

func drop(key string) store.Item { return store.Item{Key: key} }

func batch(items ...store.Item) (b store.Batch) {
	for _, i := range items {
		if i.Value == nil {
			b.Delete = append(b.Delete, i.Key)
		} else {
			b.Put = append(b.Put, i)
		}
	}
	return b
}

func item(key, value string, revision int64) store.Item {
	return store.Item{Key: key, Value: []byte(value), Revision: revision}
}

func load(t *testing.T, s store.Store) store.Snapshot {
	t.Helper()
	snap, err := s.Load(t.Context(), "")
	check(t, err)
	return snap
}

func commit(t *testing.T, s store.Store, head int64, items ...store.Item) int64 {
	t.Helper()
	r, err := s.Commit(t.Context(), head, batch(items...))
	check(t, err)
	return r
}

// watch returns the first n commits after a revision.
func watch(t *testing.T, s store.Store, after int64, n int) (got []store.Commit) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for c, err := range s.Watch(ctx, after) {
		if err != nil {
			t.Errorf("after %d of %d commits: %v", len(got), n, err)
			return make([]store.Commit, n)
		}
		if got = append(got, c); len(got) == n {
			break
		}
	}
	return got
}

// watchErr returns the error with which a watch from now on ends.
func watchErr(ctx context.Context, s store.Store) error {
	for _, err := range s.Watch(ctx, 1<<40) {
		if err != nil {
			return err
		}
	}
	return nil
}

func together(n int, do func(i int)) {
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() { do(i) })
	}
	group.Wait()
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t *testing.T, what string, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Errorf("%s: error is %v, want %v", what, err, target)
	}
}

func want(t *testing.T, got []store.Item, items ...store.Item) {
	t.Helper()
	if g, w := text(got), text(items); g != w {
		t.Errorf("items are\n%swant\n%s", g, w)
	}
}

func text(items []store.Item) string {
	var b strings.Builder
	for _, i := range items {
		fmt.Fprintf(&b, "%q = %q at %d\n", i.Key, i.Value, i.Revision)
	}
	return b.String()
}

func wantCommits(t *testing.T, got []store.Commit, commits ...store.Commit) {
	t.Helper()
	if g, w := commitText(got), commitText(commits); g != w {
		t.Errorf("commits are\n%swant\n%s", g, w)
	}
}

func commitText(commits []store.Commit) string {
	var b strings.Builder
	for _, c := range commits {
		fmt.Fprintf(&b, "revision %d, head %v, deletes %q\n", c.Revision, c.Head, c.Delete)
		for _, i := range c.Put {
			i.Revision = c.Revision
			b.WriteString(text([]store.Item{i}))
		}
	}
	return b.String()
}
