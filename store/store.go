// Package store keeps objects as bytes under keys, with one revision that grows with every write and a guarded head
// that only commits of intent move. It has three forms: etcd embedded in the process, an external etcd cluster, and
// memory. It never looks into a value and never decides whether one is allowed.
package store

import (
	"context"
	"errors"
	"iter"
)

// Store is a key-value map with a history. All methods may be called at once by many goroutines. Errors other than the
// ones below mean that the store cannot be reached, or a context that ended: a write may then have happened or not.
type Store interface {
	// Load reads all items whose key starts with prefix, as they were at one moment.
	Load(ctx context.Context, prefix string) (Snapshot, error)

	// Commit writes the batch whole, if the head is still at the revision that the caller judged it against, and moves
	// the head to the revision returned. If not, nothing is written, the error is ErrConflict, and the revision is one
	// at which the moved head can be seen.
	Commit(ctx context.Context, head int64, b Batch) (revision int64, err error)

	// Write writes the batch whole, whatever the head is, and leaves the head where it is. A batch that changes
	// nothing (deletes of keys that are not there) makes no revision of its own.
	Write(ctx context.Context, b Batch) (revision int64, err error)

	// Watch goes over all writes after a revision, in order and each of them whole; then it waits for more. It ends with
	// an error: ErrCompacted if the history does not reach that far back (load again, then watch from there), the
	// context's, ErrClosed, or why the store cannot be reached any more (watch again from the last revision seen).
	Watch(ctx context.Context, after int64) iter.Seq2[Commit, error]

	// Close ends all watches and releases everything. What was written stays, except in memory.
	// Closing again does nothing.
	Close() error
}

// The errors that a caller can act on.
var (
	ErrConflict  = errors.New("the head has moved")
	ErrCompacted = errors.New("the revision is no longer in the history")
	ErrTooLarge  = errors.New("the write is too large")
	ErrClosed    = errors.New("the store is closed")
)

// Item is a value under its key. Revision is that of the write which made it what it is; in a batch it has no meaning.
type Item struct {
	Key      string
	Value    []byte
	Revision int64
}

// Batch is what one write does: all of it or nothing. A key is in it once.
type Batch struct {
	Put    []Item
	Delete []string // those that are not there are ignored
}

// Len is the number of keys that the batch touches.
func (b Batch) Len() int { return len(b.Put) + len(b.Delete) }

// Snapshot is what the store held at Revision. Head is the revision of the last commit, 0 before the first.
type Snapshot struct {
	Revision int64
	Head     int64
	Items    []Item // by key
}

// Commit is one write as a watch tells it: what it put, each item with this Revision, and what it deleted, both by key.
type Commit struct {
	Revision int64
	Head     bool // it moved the head here: made by Commit, not by Write
	Batch
}
