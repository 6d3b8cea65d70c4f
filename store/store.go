// Package store keeps objects as bytes under keys. Every write increases the revision, and only commits of intent move
// the head. There are three stores: etcd embedded in the process, an external etcd cluster, and memory. None of them
// decodes or checks values.
package store

import (
	"context"
	"errors"
	"iter"
)

// Store is a key-value map with a history. It is safe for concurrent use. Errors other than the ones below mean that
// the store is unreachable or that the context has ended: a write may then have happened or not.
type Store interface {
	// Load reads all items whose key starts with prefix, as they were at one moment.
	Load(ctx context.Context, prefix string) (Snapshot, error)

	// Commit writes the whole batch if the head is still at the given revision, and moves the head to the returned
	// revision. If not, it writes nothing and returns ErrConflict, with a revision that includes the head's move.
	Commit(ctx context.Context, head int64, b Batch) (revision int64, err error)

	// Write writes the whole batch and does not move the head. A batch that changes nothing (deletions of missing keys)
	// makes no revision.
	Write(ctx context.Context, b Batch) (revision int64, err error)

	// Watch iterates over all writes after a revision, in order, each as a whole, and then waits for further ones. It
	// ends with an error: ErrCompacted if the history does not reach that far back (load again, then watch from there),
	// the context's error, ErrClosed, or the reason why the store is unreachable (watch again from the last revision).
	Watch(ctx context.Context, after int64) iter.Seq2[Commit, error]

	// Close ends all watches and releases all resources. The items stay, except in a store in memory. Closing again
	// does nothing.
	Close() error
}

// The errors that a caller can act on.
var (
	ErrConflict  = errors.New("the head has moved")
	ErrCompacted = errors.New("the revision is no longer in the history")
	ErrTooLarge  = errors.New("the write is too large")
	ErrClosed    = errors.New("the store is closed")
)

// Item is a value and its key. Revision is that of its last write; in a batch it has no meaning.
type Item struct {
	Key      string
	Value    []byte
	Revision int64
}

// Batch is the content of one atomic write. It has each key at most once.
type Batch struct {
	Put    []Item
	Delete []string // missing keys are ignored
}

// Len is the number of keys that the batch touches.
func (b Batch) Len() int { return len(b.Put) + len(b.Delete) }

// Snapshot is the content of the store at Revision. Head is the revision of the last commit, 0 before the first.
type Snapshot struct {
	Revision int64
	Head     int64
	Items    []Item // by key
}

// Commit is one write in a watch: the items that it put, each with this Revision, and the keys that it deleted, both in
// the order of keys.
type Commit struct {
	Revision int64
	Head     bool // it moved the head: made by Commit, not by Write
	Batch
}
