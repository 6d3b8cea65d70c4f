package agent

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
)

// queueLength is how many calls may wait for the loop. Packets of the switch beyond that are lost: a tick sends a probe
// to each peer, and the answers come at once.
const queueLength = 2048

// queue is how other goroutines reach the loop, which owns all state of the agent: they hand it functions, and wait for
// conditions that the loop checks after each step.
type queue struct {
	calls   chan call // run by the loop, one at a time
	waiters []*waiter
	missed  atomic.Uint64 // packets of the switch that found the queue full
}

// call is a function for the loop to run.
type call struct {
	run    func()
	packet bool // it takes a packet of the switch, and no plan follows from it
}

func newQueue() *queue { return &queue{calls: make(chan call, queueLength)} }

// do has the loop run a function. It returns when the function is queued, or when ctx ends.
func (q *queue) do(ctx context.Context, f func()) {
	select {
	case q.calls <- call{run: f}:
	case <-ctx.Done():
	}
}

// ask has the loop run a function and waits for its end. After an error the function has not run, and never will, so
// what it would have written is the caller's.
func (q *queue) ask(ctx context.Context, f func()) error {
	var begun atomic.Bool // by the loop, or given up
	done := make(chan struct{})
	q.do(ctx, func() {
		if begun.CompareAndSwap(false, true) {
			f()
			close(done)
		}
	})
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	if begun.CompareAndSwap(false, true) {
		return ctx.Err()
	}
	<-done // it runs just now
	return nil
}

// offer hands the loop a function that takes a packet. It is lost, and counted, when the queue is full.
func (q *queue) offer(f func()) {
	select {
	case q.calls <- call{f, true}:
	default:
		q.missed.Add(1)
	}
}

// wake has the loop go on at once. If the queue is full, it does anyway.
func (q *queue) wake() {
	select {
	case q.calls <- call{func() {}, true}:
	default:
	}
}

// run runs a call and those that have queued up meanwhile, so that a burst of changes becomes one bundle. packets tells
// that all of them took packets.
func (q *queue) run(first call) (packets bool) {
	first.run()
	packets = first.packet
	for n := 0; n < cap(q.calls); n++ {
		select {
		case next := <-q.calls:
			next.run()
			packets = packets && next.packet
		default:
			return packets
		}
	}
	return packets
}

// waiter is a call that waits for the loop to get somewhere.
type waiter struct {
	ready func() bool
	done  chan struct{}
}

// await returns once ready holds; ready runs on the loop, after each step of it. What says in the error what was waited
// for.
func (q *queue) await(ctx context.Context, what string, ready func() bool) error {
	w := &waiter{ready, make(chan struct{})}
	q.do(ctx, func() { q.waiters = append(q.waiters, w) })
	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
		q.do(context.Background(), func() { q.forget(w) })
		return fmt.Errorf("wait for %s: %w", what, ctx.Err())
	}
}

// answerWaiters lets those go whose condition holds.
func (q *queue) answerWaiters() {
	q.waiters = slices.DeleteFunc(q.waiters, func(w *waiter) bool {
		ready := w.ready()
		if ready {
			close(w.done)
		}
		return ready
	})
}

func (q *queue) forget(gone *waiter) {
	q.waiters = slices.DeleteFunc(q.waiters, func(w *waiter) bool { return w == gone })
}
