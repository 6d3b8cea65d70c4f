package agent

import (
	"context"
	"testing"
	"time"
)

// A function that ask has given up does not run any more; one that runs just then is waited for.
func TestAskLeavesNothingRunning(t *testing.T) {
	q := newQueue()
	ended, end := context.WithCancel(t.Context())
	end()
	ran := false
	if err := q.ask(ended, func() { ran = true }); err == nil {
		t.Error("a function that did not run was taken for one that did")
	}
	for len(q.calls) > 0 {
		(<-q.calls).run()
	}
	if ran {
		t.Error("a function ran after ask had given it up")
	}
	begun := make(chan struct{})
	ctx, stop := context.WithCancel(t.Context())
	go func() { (<-q.calls).run() }()
	go func() { <-begun; stop() }()
	if err := q.ask(ctx, func() { close(begun); time.Sleep(50 * time.Millisecond); ran = true }); err != nil || !ran {
		t.Errorf("ask returned while its function ran: %v", err)
	}
}
