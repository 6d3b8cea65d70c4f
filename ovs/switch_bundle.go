package ovs

import (
	"context"
	"fmt"
	"sync"

	"github.com/overlane/overlane/openflow"
)

const bundleFlags = openflow.BundleAtomic | openflow.BundleOrdered

// bundle applies steps, all or none. The switch looks at each message as it is added and at the whole when it commits;
// a message that it refuses to add is not in the bundle, which could then be committed without it. So the commit waits
// until all were added.
func (s *Switch) bundle(ctx context.Context, steps []step) error {
	t := newTally(steps)
	n := len(steps)
	e := s.open(n+4, func(i int, m openflow.Message) { t.take(i-1, m) }) // open, steps, close, commit, barrier
	defer s.close(e)
	id := s.bundles.Add(1)
	b, err := encodeBundle(id, e, steps)
	if err != nil {
		return err
	}
	if err := s.write(ctx, b); err != nil {
		return err
	}
	if err := s.outcome(ctx, t); err != nil {
		s.discard(e, id, n+2)
		return err
	}
	t.expect(n + 2)
	if err := s.send(ctx, e, n+2, control(id, openflow.BundleCommit), openflow.BarrierRequest{}); err != nil {
		return err
	}
	return s.outcome(ctx, t)
}

func control(id uint32, step openflow.BundleStep) openflow.BundleControl {
	return openflow.BundleControl{ID: id, Step: step, Flags: bundleFlags}
}

// encodeBundle is a bundle from its opening to its closing.
func encodeBundle(id uint32, e *exchange, steps []step) ([]byte, error) {
	b, err := openflow.Append(make([]byte, 0, 256*len(steps)), e.first, control(id, openflow.BundleOpen))
	for i, step := range steps {
		xid := e.first + uint32(i+1)
		b, err = openflow.Append(b, xid, openflow.BundleAdd{ID: id, Flags: bundleFlags, XID: xid, Message: step.message})
		if err != nil {
			return nil, &ChangeError{[]Refusal{refusal(step, err)}}
		}
	}
	if err != nil {
		return nil, err
	}
	return openflow.Append(b, e.first+uint32(len(steps)+1), control(id, openflow.BundleClose))
}

// outcome waits for the answer to the message that the tally expects; the error has the refusals.
func (s *Switch) outcome(ctx context.Context, t *tally) error {
	if err := s.wait(ctx, t.reached); err != nil {
		return err
	}
	return t.err()
}

// discard discards a bundle. It does not wait for the answer: if the message is lost, the switch discards the bundle
// after 10 seconds.
func (s *Switch) discard(e *exchange, bundle uint32, i int) {
	s.sendAside(e.first+uint32(i), control(bundle, openflow.BundleDiscard))
}

// tally collects the switch's answers to the steps of a change, until it has answered the message behind them. Steps
// are numbered from 0, the message behind them is number len(steps).
type tally struct {
	mu      sync.Mutex
	steps   []step
	last    int // number of the message that is waited for; -1: none
	refused []Refusal
	whole   *openflow.Error // about another message than a step
	reached chan struct{}
}

func newTally(steps []step) *tally {
	return &tally{steps: steps, last: len(steps), reached: make(chan struct{}, 1)}
}

func (t *tally) take(i int, m openflow.Message) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e, ok := m.(openflow.Error); ok {
		t.refuse(i, e)
	}
	if i == t.last {
		t.last = -1
		t.reached <- struct{}{}
	}
}

func (t *tally) refuse(i int, e openflow.Error) {
	if i >= 0 && i < len(t.steps) {
		t.refused = append(t.refused, refusal(t.steps[i], e))
	} else if t.whole == nil {
		t.whole = &e
	}
}

// expect makes message number i the next one to be waited for.
func (t *tally) expect(i int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = i
}

// err gives the refusals. The refusals of single steps say more than the failure of the bundle, so they come first.
func (t *tally) err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.whole != nil && (len(t.refused) == 0 || !t.whole.BundleMessageFailed()):
		return fmt.Errorf("the switch refused the bundle: %w", *t.whole)
	case len(t.refused) > 0:
		return &ChangeError{t.refused}
	}
	return nil
}

func refusal(s step, reason error) Refusal { return Refusal{s.what(), s.owner, reason} }
