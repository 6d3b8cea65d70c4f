// Package storetest is the test suite that every store passes. Stores differ in the failures that they survive, but not
// in their behaviour.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/overlane/overlane/store"
)

// Backend is a kind of store under test.
type Backend struct {
	Open    func(t *testing.T) store.Store                                 // an empty store, closed when the test ends
	Reopen  func(t *testing.T, s store.Store) store.Store                  // closes s and opens the same data; nil: not persistent
	Compact func(ctx context.Context, s store.Store, revision int64) error // deletes the history up to a revision
}

// Run runs the suite.
func Run(t *testing.T, b Backend) {
	tests := map[string]func(*testing.T, Backend){
		"empty":                   testEmpty,
		"commit and load":         testCommit,
		"prefix":                  testPrefix,
		"stale head":              testStaleHead,
		"write leaves head":       testWrite,
		"racing commits":          testRace,
		"counters":                testCounters,
		"watch in order":          testWatchOrder,
		"watch live":              testWatchLive,
		"watch resumes":           testWatchResume,
		"watch a deletion":        testWatchDelete,
		"watchers agree":          testWatchersAgree,
		"compaction":              testCompaction,
		"large commit":            testLarge,
		"binary values":           testBinary,
		"cancelled context":       testCancel,
		"closed":                  testClosed,
		"abandoned watch":         testAbandoned,
		"write of nothing":        testNothing,
		"values are copied":       testCopies,
		"reopen keeps everything": testReopen,
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { test(t, b) })
	}
}

func testEmpty(t *testing.T, b Backend) {
	s := b.Open(t)
	snap := load(t, s)
	if snap.Head != 0 || len(snap.Items) != 0 {
		t.Errorf("an empty store has head %d and items %v", snap.Head, snap.Items)
	}
}

func testCommit(t *testing.T, b Backend) {
	s := b.Open(t)
	first := commit(t, s, 0, put("a", "1"), put("b", "2"))
	second := commit(t, s, first, put("a", "3"), drop("b"), drop("never was"), put("c", "4"))
	if second <= first {
		t.Errorf("revision %d follows %d", second, first)
	}
	want(t, load(t, s).Items, item("a", "3", second), item("c", "4", second))
	if snap := load(t, s); snap.Head != second || snap.Revision < second {
		t.Errorf("snapshot has head %d, revision %d; committed at %d", snap.Head, snap.Revision, second)
	}
}

func testPrefix(t *testing.T, b Backend) {
	s := b.Open(t)
	r := commit(t, s, 0, put("a", "0"), put("a/x", "1"), put("a/y", "2"), put("a0", "3"), put("b/x", "4"),
		put("head", "5"))
	snap, err := s.Load(t.Context(), "a/")
	check(t, err)
	want(t, snap.Items, item("a/x", "1", r), item("a/y", "2", r))
	if snap.Head != r {
		t.Errorf("head is %d, want %d", snap.Head, r)
	}
	want(t, load(t, s).Items, item("a", "0", r), item("a/x", "1", r), item("a/y", "2", r), item("a0", "3", r),
		item("b/x", "4", r), item("head", "5", r))
}

func testStaleHead(t *testing.T, b Backend) {
	s := b.Open(t)
	first := commit(t, s, 0, put("a", "1"))
	second := commit(t, s, first, put("a", "2"))
	for _, head := range []int64{0, first, second + 1} {
		r, err := s.Commit(t.Context(), head, batch(put("a", "3"), put("b", "3")))
		if !errors.Is(err, store.ErrConflict) {
			t.Fatalf("commit on head %d while it is %d: %v", head, second, err)
		}
		if r < second {
			t.Errorf("the conflict tells of revision %d; the head moved at %d", r, second)
		}
	}
	want(t, load(t, s).Items, item("a", "2", second))
}

func testWrite(t *testing.T, b Backend) {
	s := b.Open(t)
	head := commit(t, s, 0, put("a", "1"))
	r, err := s.Write(t.Context(), batch(put("status", "2")))
	check(t, err)
	if snap := load(t, s); snap.Head != head || snap.Revision < r || r <= head {
		t.Errorf("after a write at %d: %+v", r, snap)
	}
	commit(t, s, head, put("a", "2"))
}

func testRace(t *testing.T, b Backend) {
	s := b.Open(t)
	const rounds, writers = 20, 4
	for range rounds {
		head := load(t, s).Head
		var won atomic.Int32
		together(writers, func(i int) {
			_, err := s.Commit(t.Context(), head, batch(put("winner", fmt.Sprint(i))))
			if err == nil {
				won.Add(1)
			} else if !errors.Is(err, store.ErrConflict) {
				t.Error(err)
			}
		})
		if won.Load() != 1 {
			t.Fatalf("%d of %d commits on head %d succeeded, want one", won.Load(), writers, head)
		}
	}
}

// testCounters has concurrent writers read, add one and commit. No addition may be lost.
func testCounters(t *testing.T, b Backend) {
	s := b.Open(t)
	const writers, each = 4, 10
	together(writers, func(int) {
		for n := 0; n < each; {
			snap, err := s.Load(t.Context(), "n")
			if err != nil {
				t.Error(err)
				return
			}
			value := ""
			if len(snap.Items) > 0 {
				value = string(snap.Items[0].Value)
			}
			if _, err := s.Commit(t.Context(), snap.Head, batch(put("n", value+"x"))); err == nil {
				n++
			}
		}
	})
	if got := string(load(t, s).Items[0].Value); got != strings.Repeat("x", writers*each) {
		t.Errorf("counted to %d, want %d", len(got), writers*each)
	}
}

func testWatchOrder(t *testing.T, b Backend) {
	s := b.Open(t)
	start := load(t, s).Revision
	first := commit(t, s, 0, put("b", "2"), put("a", "1"))
	second, err := s.Write(t.Context(), batch(put("s", "3")))
	check(t, err)
	third := commit(t, s, first, drop("a"), put("b", "4"))
	got := watch(t, s, start, 3)
	wantCommits(t, got,
		store.Commit{Revision: first, Head: true, Batch: batch(put("a", "1"), put("b", "2"))},
		store.Commit{Revision: second, Batch: batch(put("s", "3"))},
		store.Commit{Revision: third, Head: true, Batch: batch(put("b", "4"), drop("a"))})
}

func testWatchLive(t *testing.T, b Backend) {
	s := b.Open(t)
	start := load(t, s).Revision
	got := make(chan store.Commit)
	go func() {
		defer close(got)
		for c, err := range s.Watch(t.Context(), start) {
			if err != nil {
				return
			}
			got <- c
		}
	}()
	head := int64(0)
	for i := range 10 {
		head = commit(t, s, head, put("k", fmt.Sprint(i)))
		select {
		case c := <-got:
			wantCommits(t, []store.Commit{c}, store.Commit{Revision: head, Head: true,
				Batch: batch(put("k", fmt.Sprint(i)))})
		case <-time.After(10 * time.Second):
			t.Fatalf("commit %d was not told to the watcher", i)
		}
	}
}

func testWatchResume(t *testing.T, b Backend) {
	s := b.Open(t)
	start := load(t, s).Revision
	head := int64(0)
	var revisions []int64
	for i := range 20 {
		head = commit(t, s, head, put("k", fmt.Sprint(i)))
		revisions = append(revisions, head)
	}
	for n := 0; n < len(revisions); n += 7 {
		from := start
		if n > 0 {
			from = revisions[n-1]
		}
		for i, c := range watch(t, s, from, len(revisions)-n) {
			if c.Revision != revisions[n+i] {
				t.Errorf("watch after %d: commit %d is of revision %d, want %d", from, i, c.Revision, revisions[n+i])
			}
		}
	}
}

func testWatchDelete(t *testing.T, b Backend) {
	s := b.Open(t)
	first := commit(t, s, 0, put("a", "1"), put("b", "1"))
	r, err := s.Write(t.Context(), batch(drop("a"), drop("b")))
	check(t, err)
	wantCommits(t, watch(t, s, first, 1), store.Commit{Revision: r, Batch: batch(drop("a"), drop("b"))})
}

func testWatchersAgree(t *testing.T, b Backend) {
	s := b.Open(t)
	start := load(t, s).Revision
	const commits, watchers = 50, 4
	go func() {
		head := int64(0)
		for i := range commits {
			head, _ = s.Commit(t.Context(), head, batch(put("x", fmt.Sprint(i)), put("y", fmt.Sprint(i))))
		}
	}()
	together(watchers, func(int) {
		for i, c := range watch(t, s, start, commits) {
			if v := fmt.Sprint(i); len(c.Put) != 2 || string(c.Put[0].Value) != v || string(c.Put[1].Value) != v {
				t.Errorf("commit %d reached a watcher as %+v", i, c)
				return
			}
		}
	})
}

func testCompaction(t *testing.T, b Backend) {
	s := b.Open(t)
	start := load(t, s).Revision
	head := int64(0)
	for i := range 10 {
		head = commit(t, s, head, put("k", fmt.Sprint(i)))
	}
	check(t, b.Compact(t.Context(), s, head-2))
	for _, err := range s.Watch(t.Context(), start) {
		if !errors.Is(err, store.ErrCompacted) {
			t.Fatalf("watch after revision %d with a history from %d: %v", start, head-2, err)
		}
	}
	watch(t, s, head-2, 1)
	want(t, load(t, s).Items, item("k", "9", head))
}

// testLarge commits as many objects at once as a user may apply.
func testLarge(t *testing.T, b Backend) {
	s := b.Open(t)
	const n = 6000
	var items []store.Item
	for i := range n {
		items = append(items, put(fmt.Sprintf("object/Endpoint/blue/web/endpoint%05d", i),
			fmt.Sprintf(`{"spec":{"host":"host%03d","address":"10.0.%d.%d","mac":"02:4f:0a:00:%02x:%02x"}}`, i/100,
				i/250, i%250, i/250, i%250)))
	}
	start := load(t, s).Revision
	head := commit(t, s, 0, items...)
	if got := watch(t, s, start, 1)[0]; len(got.Put) != n || got.Revision != head {
		t.Errorf("one commit of %d objects reached the watcher as %d at revision %d, committed at %d", n, len(got.Put),
			got.Revision, head)
	}
	snap := load(t, s)
	if len(snap.Items) != n || !slices.IsSortedFunc(snap.Items,
		func(a, b store.Item) int { return strings.Compare(a.Key, b.Key) }) {
		t.Errorf("%d items loaded, want %d in order of keys", len(snap.Items), n)
	}
	for i := range items {
		items[i].Value = nil // a deletion
	}
	commit(t, s, head, items...)
	want(t, load(t, s).Items)
}

func testBinary(t *testing.T, b Backend) {
	s := b.Open(t)
	value := string([]byte{0, 1, 0xff, 0xfe, '\n', 0})
	r := commit(t, s, 0, put("k\xff/ü", value))
	want(t, load(t, s).Items, item("k\xff/ü", value, r))
}

func testCancel(t *testing.T, b Backend) {
	s := b.Open(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Load(ctx, "")
	wantErr(t, "load", err, context.Canceled)
	_, err = s.Commit(ctx, 0, batch(put("a", "1")))
	wantErr(t, "commit", err, context.Canceled)
	_, err = s.Write(ctx, batch(put("a", "1")))
	wantErr(t, "write", err, context.Canceled)
	ctx, cancel = context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	wantErr(t, "watch", watchErr(ctx, s), context.Canceled)
}

func testClosed(t *testing.T, b Backend) {
	s := b.Open(t)
	ended := make(chan error)
	go func() { ended <- watchErr(t.Context(), s) }()
	check(t, s.Close())
	check(t, s.Close())
	select {
	case err := <-ended:
		wantErr(t, "watch", err, store.ErrClosed)
	case <-time.After(20 * time.Second):
		t.Fatal("closing the store did not end the watch")
	}
	_, err := s.Load(t.Context(), "")
	wantErr(t, "load", err, store.ErrClosed)
	_, err = s.Commit(t.Context(), 0, batch(put("a", "1")))
	wantErr(t, "commit", err, store.ErrClosed)
	_, err = s.Write(t.Context(), batch(put("a", "1")))
	wantErr(t, "write", err, store.ErrClosed)
	wantErr(t, "watch", watchErr(t.Context(), s), store.ErrClosed)
}

// testAbandoned has watchers that stop reading. No writer may wait for them.
func testAbandoned(t *testing.T, b Backend) {
	s := b.Open(t)
	start := load(t, s).Revision
	stuck, release := make(chan struct{}), make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		for _, err := range s.Watch(t.Context(), start) {
			if err != nil {
				t.Error(err)
			}
			close(stuck)
			<-release
			return
		}
	})
	head := commit(t, s, 0, put("k", "first"))
	<-stuck
	for i := range 300 {
		head = commit(t, s, head, put("k", fmt.Sprint(i)))
	}
	watch(t, s, start, 301)
	close(release)
	done.Wait()
}

func testNothing(t *testing.T, b Backend) {
	s := b.Open(t)
	head := commit(t, s, 0, put("a", "1"))
	_, err := s.Write(t.Context(), batch(drop("never was")))
	check(t, err)
	next := commit(t, s, head) // an empty commit moves the head, too
	wantCommits(t, watch(t, s, head, 1), store.Commit{Revision: next, Head: true})
	if got := load(t, s).Head; got != next || next <= head {
		t.Errorf("head is %d after commits at %d and %d", got, head, next)
	}
}

func testCopies(t *testing.T, b Backend) {
	s := b.Open(t)
	mine := store.Item{Key: "k", Value: []byte("before")}
	r, err := s.Commit(t.Context(), 0, store.Batch{Put: []store.Item{mine}})
	check(t, err)
	copy(mine.Value, "AFTER!")
	want(t, load(t, s).Items, item("k", "before", r))
}

func testReopen(t *testing.T, b Backend) {
	if b.Reopen == nil {
		return
	}
	s := b.Open(t)
	start := load(t, s).Revision
	first := commit(t, s, 0, put("a", "1"), put("b", "2"))
	second := commit(t, s, first, drop("a"), put("c", "3"))
	before := load(t, s)
	s = b.Reopen(t, s)
	after := load(t, s)
	if after.Head != before.Head {
		t.Errorf("head was %d, is %d", before.Head, after.Head)
	}
	want(t, after.Items, before.Items...)
	if got := watch(t, s, start, 2); got[0].Revision != first || got[1].Revision != second {
		t.Errorf("history after reopening: %+v", got)
	}
	if third := commit(t, s, second, put("d", "4")); third <= second {
		t.Errorf("revision %d follows %d", third, second)
	}
}
