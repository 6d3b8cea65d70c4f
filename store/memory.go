package store

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
)

// DefaultHistory is the number of writes kept for watchers that resume, if none is configured.
const DefaultHistory = 10_000

// Memory is a store in the memory of the process, for tests and trials.
type Memory struct {
	history int

	mu       sync.Mutex
	revision int64
	head     int64
	items    map[string]Item
	log      []Commit // the last writes, oldest first
	grown    chan struct{}
	closed   chan struct{}
}

// NewMemory returns an empty store that keeps its last history writes; 0 means [DefaultHistory].
func NewMemory(history int) *Memory {
	return &Memory{
		history: cmp.Or(history, DefaultHistory),
		items:   map[string]Item{},
		grown:   make(chan struct{}),
		closed:  make(chan struct{}),
	}
}

// Load implements [Store].
func (m *Memory) Load(ctx context.Context, prefix string) (Snapshot, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.usable(ctx); err != nil {
		return Snapshot{}, fmt.Errorf("load: %w", err)
	}
	s := Snapshot{Revision: m.revision, Head: m.head}
	for _, key := range slices.Sorted(maps.Keys(m.items)) {
		if strings.HasPrefix(key, prefix) {
			s.Items = append(s.Items, m.items[key])
		}
	}
	return s, nil
}

// Commit implements [Store].
func (m *Memory) Commit(ctx context.Context, head int64, b Batch) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.usable(ctx); err != nil {
		return 0, fmt.Errorf("commit: %w", err)
	}
	if head != m.head {
		return m.revision, fmt.Errorf("commit: %w", ErrConflict)
	}
	m.head = m.revision + 1
	m.write(b, true)
	return m.revision, nil
}

// Write implements [Store].
func (m *Memory) Write(ctx context.Context, b Batch) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.usable(ctx); err != nil {
		return 0, fmt.Errorf("write: %w", err)
	}
	m.write(b, false)
	return m.revision, nil
}

func (m *Memory) usable(ctx context.Context) error {
	select {
	case <-m.closed:
		return ErrClosed
	default:
		return ctx.Err()
	}
}

// write makes one revision of the batch and wakes the watchers.
func (m *Memory) write(b Batch, head bool) {
	c := Commit{Revision: m.revision + 1, Head: head}
	for _, item := range b.Put {
		item.Value, item.Revision = slices.Clone(item.Value), c.Revision
		m.items[item.Key] = item
		c.Put = append(c.Put, item)
	}
	for _, key := range b.Delete {
		if _, ok := m.items[key]; ok {
			delete(m.items, key)
			c.Delete = append(c.Delete, key)
		}
	}
	if !head && c.Len() == 0 {
		return
	}
	c.sort()
	m.revision = c.Revision
	m.log = append(m.log, c)
	if len(m.log) > 2*m.history {
		m.log = slices.Clone(m.log[len(m.log)-m.history:])
	}
	close(m.grown)
	m.grown = make(chan struct{})
}

func (c *Commit) sort() {
	slices.SortFunc(c.Put, func(a, b Item) int { return strings.Compare(a.Key, b.Key) })
	slices.Sort(c.Delete)
}

// Watch implements [Store].
func (m *Memory) Watch(ctx context.Context, after int64) iter.Seq2[Commit, error] {
	return func(yield func(Commit, error) bool) {
		for {
			news, grown, err := m.since(after)
			if err != nil {
				yield(Commit{}, fmt.Errorf("watch after revision %d: %w", after, err))
				return
			}
			for _, c := range news {
				if !yield(c, nil) {
					return
				}
				after = c.Revision
			}
			if err := m.wait(ctx, grown); err != nil {
				yield(Commit{}, fmt.Errorf("watch: %w", err))
				return
			}
		}
	}
}

// since returns the writes after a revision, and a channel that is closed at the next write. The revisions in the log
// have no gaps.
func (m *Memory) since(after int64) ([]Commit, <-chan struct{}, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	missed := int(m.revision - after)
	if missed > min(len(m.log), m.history) {
		return nil, nil, ErrCompacted
	}
	return m.log[len(m.log)-max(missed, 0):], m.grown, nil
}

func (m *Memory) wait(ctx context.Context, grown <-chan struct{}) error {
	select {
	case <-grown:
		return nil
	case <-m.closed:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Compact deletes the history up to a revision, as an etcd cluster does on request.
func (m *Memory) Compact(_ context.Context, revision int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	keep := min(len(m.log), max(0, int(m.revision-revision)))
	m.log = slices.Clone(m.log[len(m.log)-keep:])
	return nil
}

// Close implements [Store].
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	select {
	case <-m.closed:
	default:
		close(m.closed)
	}
	return nil
}
