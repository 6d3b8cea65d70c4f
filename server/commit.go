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
	// maxAttempts is how often a request is judged anew because another server committed first. With two busy servers every
	// second attempt succeeds.
	maxAttempts = 20
	// commitTime is how long a commit may take. It does not end when the client hangs up, since nobody would know then
	// whether it happened.
	commitTime = 15 * time.Second
)

// outcome is what became of a request.
type outcome struct {
	revision int64          // of the store
	changes  []model.Change // with the revisions that they got
	before   *model.State   // what it was judged against
}

// change commits a request for a caller. When it returns, everything that is read from this server shows it, and every
// stream has been told.
func (s *Server) change(ctx context.Context, caller Caller, q model.Request) (outcome, error) {
	return s.changeBy(ctx, caller, asks(q))
}

// asks decides on the same request whatever the state is.
func asks(q model.Request) func(*model.State) (model.Request, error) {
	return func(*model.State) (model.Request, error) { return q, nil }
}

// changeBy is change for a request that depends on what is stored: decide makes it of the very state that it is judged
// against, and is asked again if that has moved on.
func (s *Server) changeBy(ctx context.Context, caller Caller, decide func(*model.State) (model.Request, error)) (outcome, error) {
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
	return outcome{}, unavailable("other servers commit all the time: gave up after %d attempts; try again", maxAttempts)
}

// attempt is one judgement and one commit. With ErrConflict comes the revision to wait for.
func (s *Server) attempt(ctx context.Context, caller Caller, decide func(*model.State) (model.Request, error)) (outcome, int64, error) {
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

// judge says what a request would change, if the caller may change that. The caller is judged once more, against the state that the change
// is committed on: its host may have been revoked while its body was on the way, or its turn.
func (s *Server) judge(caller Caller, decide func(*model.State) (model.Request, error)) (outcome, error) {
	state := s.State()
	if err := s.replica.Complete(); err != nil { // asked later, so that whatever the state lacks is known
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

// exist refuses deletions of what is not there, so that the caller can tell them from other refusals.
func exist(s *model.State, keys []model.Key) error {
	for _, key := range keys {
		if kind, ok := model.KindByName(key.Kind); ok && kind.Name == key.Kind && s.Get(key) == nil {
			return notFound("%s: does not exist", key)
		}
	}
	return nil
}
