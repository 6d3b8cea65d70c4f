package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// An embedded etcd must maintain its own space, since it does not listen for tools. Its database contains every value
// in its history, and never shrinks by itself. When the file reaches the quota, etcd raises an alarm and refuses all
// writes until it is compacted, defragmented and disarmed, even after a restart.

// DefaultQuota is the greatest size of an embedded store's file, in bytes.
const DefaultQuota = 4 << 30

// historyShare is the part of the quota for values in the history.
const historyShare = 16

const (
	reliefTime  = 2 * time.Minute // for making space
	reliefEvery = time.Minute     // making space blocks all other requests, so it is not tried more often
)

// space keeps an embedded store within its quota.
type space struct {
	history int64 // greatest size of the values in the history, in bytes

	mu       sync.Mutex
	written  int64   // bytes written since the last mark
	marks    []int64 // revisions, a quarter of history apart, oldest first
	making   sync.Mutex
	relieved time.Time
}

// wrote records a write. It returns the revision up to which the history is to be deleted; 0: none.
func (s *space) wrote(b Batch, revision int64) int64 {
	const overhead = 512 // of a key and its index
	s.mu.Lock()
	defer s.mu.Unlock()
	s.written += overhead
	for _, item := range b.Put {
		s.written += int64(len(item.Value)) + overhead
	}
	if s.written < s.history/4 {
		return 0
	}
	s.written, s.marks = 0, append(s.marks, revision)
	if len(s.marks) <= 4 {
		return 0
	}
	oldest := s.marks[0]
	s.marks = s.marks[1:]
	return oldest
}

// Commit implements [Store].
func (e *Embedded) Commit(ctx context.Context, head int64, b Batch) (int64, error) {
	return e.within(b, func() (int64, error) { return e.Etcd.Commit(ctx, head, b) })
}

// Write implements [Store].
func (e *Embedded) Write(ctx context.Context, b Batch) (int64, error) {
	return e.within(b, func() (int64, error) { return e.Etcd.Write(ctx, b) })
}

// within executes a write, and makes space if there is none left.
func (e *Embedded) within(b Batch, write func() (int64, error)) (int64, error) {
	began := time.Now()
	revision, err := write()
	if errors.Is(err, rpctypes.ErrNoSpace) {
		if again := e.relieve(began); again != nil {
			return revision, errors.Join(err, again)
		}
		revision, err = write()
	}
	if err != nil {
		return revision, err
	}
	if until := e.space.wrote(b, revision); until > 0 {
		if err := e.Compact(e.ctx, until); err != nil && e.ctx.Err() == nil {
			e.log.Warn("the store's history grows", "error", err)
		}
	}
	return revision, nil
}

// relieve makes space for a write that began at a time and found none. If space was made only just before, the items
// themselves are too large, not their history.
func (e *Embedded) relieve(began time.Time) error {
	s := &e.space
	s.making.Lock()
	defer s.making.Unlock()
	switch since := time.Since(s.relieved); {
	case s.relieved.After(began):
		return nil // another write has made space meanwhile
	case since < reliefEvery:
		return fmt.Errorf("space was made %v ago, and is used up again: delete what is not needed",
			since.Round(time.Second))
	}
	defer func() { s.relieved = time.Now() }()
	ctx, cancel := context.WithTimeout(e.ctx, reliefTime)
	defer cancel()
	e.log.Warn("the store is full; will forget its history to make space")
	if err := e.makeSpace(ctx); err != nil {
		return fmt.Errorf("make space: %w", err)
	}
	return nil
}

// makeSpace deletes all history, shrinks the file, and lets etcd write again.
func (e *Embedded) makeSpace(ctx context.Context) error {
	now, err := e.Load(ctx, "none/")
	if err != nil {
		return err
	}
	_, err = e.client.Compact(ctx, now.Revision, clientv3.WithCompactPhysical())
	if err != nil && !errors.Is(err, rpctypes.ErrCompacted) {
		return fmt.Errorf("compact: %w", err)
	}
	if err := e.server.Server.Backend().Defrag(); err != nil { // the client's call panics in an etcd without listeners
		return fmt.Errorf("defragment: %w", err)
	}
	if _, err := e.client.AlarmDisarm(ctx, &clientv3.AlarmMember{}); err != nil {
		return fmt.Errorf("disarm: %w", err)
	}
	return nil
}

// relieveAlarm makes space if etcd was full when it stopped.
func (e *Embedded) relieveAlarm() error {
	alarms, err := e.client.AlarmList(e.ctx)
	if err != nil || len(alarms.Alarms) == 0 {
		return err
	}
	return e.relieve(time.Now())
}
