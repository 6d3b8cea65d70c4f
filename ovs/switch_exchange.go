package ovs

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/overlane/overlane/openflow"
)

// exchange is a run of consecutive xids whose answers a caller waits for.
type exchange struct {
	first uint32
	n     uint32
	take  func(i int, m openflow.Message) // an answer to the message number i; runs on the reading goroutine and must not wait
}

// open reserves xids. They never include 0, which messages have that the switch sends unasked.
func (s *Switch) open(n int, take func(int, openflow.Message)) *exchange {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.nextXID == 0 || s.nextXID > s.nextXID+uint32(n) {
		s.nextXID = 1
	}
	e := &exchange{first: s.nextXID, n: uint32(n), take: take}
	s.nextXID += e.n
	s.exchanges = append(s.exchanges, e)
	return e
}

func (s *Switch) close(e *exchange) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.exchanges = slices.DeleteFunc(s.exchanges, func(x *exchange) bool { return x == e })
}

func (s *Switch) exchangeFor(xid uint32) *exchange {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.exchanges {
		if xid-e.first < e.n {
			return e
		}
	}
	return nil
}

// send writes messages of an exchange, the first of which has the number i, in one piece.
func (s *Switch) send(ctx context.Context, e *exchange, i int, messages ...openflow.Message) error {
	var b []byte
	var err error
	for k, m := range messages {
		if b, err = openflow.Append(b, e.first+uint32(i+k), m); err != nil {
			return err
		}
	}
	return s.write(ctx, b)
}

// write writes whole messages. Once it has begun, ctx does not stop it: half a message would be the end of the
// connection. A switch that reads nothing is noticed by its silence, which ends the connection and the write.
func (s *Switch) write(ctx context.Context, b []byte) error {
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	case <-s.done:
		return s.err
	}
	defer func() { <-s.turn }()
	if _, err := s.conn.Write(b); err != nil {
		s.fail(fmt.Errorf("write to switch: %w", err))
		return s.Err()
	}
	return nil
}

// sendAside sends a message without waiting: the reading goroutine must not wait for a writer that waits for the
// switch.
func (s *Switch) sendAside(xid uint32, m openflow.Message) {
	b, err := openflow.Append(nil, xid, m)
	if err != nil {
		s.log.Error("answer the switch", "err", err)
		return
	}
	go func() { _ = s.write(context.Background(), b) }() // an error ends the connection, which reports it
}

// wait waits for c.
func (s *Switch) wait(ctx context.Context, c <-chan struct{}) error {
	select {
	case <-c:
		return nil
	case <-s.done:
		return s.err
	case <-ctx.Done():
		return fmt.Errorf("wait for the switch: %w", ctx.Err())
	}
}

// ask sends requests and returns all answers, in the order in which they arrive. It waits until the switch has handled
// every request. The first refusal is the error.
func (s *Switch) ask(ctx context.Context, requests ...openflow.Message) ([]openflow.Message, error) {
	a := answers{last: len(requests), done: make(chan struct{})}
	e := s.open(len(requests)+1, a.take)
	defer s.close(e)
	if err := s.send(ctx, e, 0, append(requests, openflow.BarrierRequest{})...); err != nil {
		return nil, err
	}
	if err := s.wait(ctx, a.done); err != nil {
		return nil, err
	}
	if a.refused != nil {
		return nil, fmt.Errorf("%T refused: %w", requests[a.refusedAt], *a.refused)
	}
	return a.got, nil
}

// answers belong to the reading goroutine until done is closed.
type answers struct {
	last      int // number of the barrier
	got       []openflow.Message
	refused   *openflow.Error
	refusedAt int
	once      sync.Once
	done      chan struct{}
}

func (a *answers) take(i int, m openflow.Message) {
	switch m := m.(type) {
	case openflow.Error:
		if a.refused == nil {
			a.refused, a.refusedAt = &m, min(i, a.last-1)
		}
	default:
		a.got = append(a.got, m)
	}
	if i == a.last {
		a.once.Do(func() { close(a.done) })
	}
}
