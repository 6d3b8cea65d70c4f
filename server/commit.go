package server

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/store"
)

const (
	// maxAttempts is the number of attempts to commit a request when other servers commit first. With two busy servers,
	// every second attempt succeeds.
	maxAttempts = 20
	// commitTime is the time that a commit may take. It goes on if the client disconnects, since otherwise its outcome
	// would be unknown.
	commitTime = 15 * time.Second
)

// outcome is the outcome of a request.
type outcome struct {
	revision int64          // of the store
	changes  []model.Change // with their revisions
	before   *model.State   // the state before
}

// change commits a request for a caller. When it returns, all answers and streams of this server include the change.
func (s *Server) change(ctx context.Context, caller Caller, q model.Request) (outcome, error) {
	return s.changeBy(ctx, caller, asks(q))
}

// decision makes a request from the state that it is committed on.
type decision func(*model.State) (model.Request, error)

// asks makes the same request whatever the state is.
func asks(q model.Request) func(*model.State) (model.Request, error) {
	return func(*model.State) (model.Request, error) { return q, nil }
}

// changeBy is change for a request that depends on the state: decide makes the request from the state that it is
// committed on, and is called again if that state has moved on.
func (s *Server) changeBy(ctx context.Context, caller Caller, decide decision) (outcome, error) {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return outcome{}, ctx.Err()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTime)
	defer cancel()
	for attempt := range maxAttempts {
		done, revision, err := s.attempt(ctx, caller, decide)
		if !errors.Is(err, store.ErrConflict) {
			return done, err
		}
		s.metrics.conflicts.Inc()
		if err := s.replica.Await(ctx, revision); err != nil {
			return outcome{}, err
		}
		time.Sleep(rand.N(time.Duration(attempt+1) * time.Millisecond))
	}
	return outcome{}, unavailable("other servers commit all the time: gave up after %d attempts; try again",
		maxAttempts)
}

// attempt makes one attempt to commit. With ErrConflict it returns the revision to wait for.
func (s *Server) attempt(ctx context.Context, caller Caller, decide decision) (outcome, int64, error) {
	done, err := s.judge(caller, decide)
	if err != nil {
		return outcome{}, 0, err
	}
	b, err := s.replica.Writes(done.changes)
	if err != nil || b.Len() == 0 {
		return done, 0, err
	}
	revision, err := s.config.Store.Commit(ctx, done.before.Revision(), b)
	if err != nil {
		return outcome{}, revision, err
	}
	s.metrics.commits.Inc()
	if err := s.replica.Await(ctx, revision); err != nil {
		return outcome{}, 0, err
	}
	done.revision = revision
	for i, c := range done.changes {
		if c.Action == model.Create || c.Action == model.Update {
			after := *c.After
			after.Revision = revision
			done.changes[i].After = &after
		}
	}
	return done, revision, nil
}

// judge returns the changes of a request, if the caller may make them. It also checks the caller again, on the state
// that the change is committed on: the host may have been revoked while the request was on its way.
func (s *Server) judge(caller Caller, decide func(*model.State) (model.Request, error)) (outcome, error) {
	state := s.State()
	if err := s.replica.Complete(); err != nil { // asked last, when all missing objects are known
		return outcome{}, err
	}
	if err := caller.stands(state); err != nil {
		return outcome{}, err
	}
	q, err := decide(state)
	if err != nil {
		return outcome{}, err
	}
	if err := mayAsk(state, caller, q); err != nil {
		return outcome{}, err
	}
	if err := exist(state, q.Delete); err != nil {
		return outcome{}, err
	}
	changes, err := model.Admit(state, q)
	if err != nil {
		return outcome{}, err
	}
	for _, c := range changes {
		if err := mayChange(caller, c); err != nil {
			return outcome{}, err
		}
	}
	return outcome{state.Revision(), changes, state}, nil
}

// exist refuses the deletion of missing objects, so that the caller can tell it from other refusals.
func exist(s *model.State, keys []model.Key) error {
	for _, key := range keys {
		if kind, ok := model.KindByName(key.Kind); ok && kind.Name == key.Kind && s.Get(key) == nil {
			return notFound("%s: does not exist", key)
		}
	}
	return nil
}
