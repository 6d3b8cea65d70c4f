package agent

import (
	"context"
	"errors"
	"testing"
	"time"
)

// A plan follows from everything but packets.
func TestQueueTellsPacketsFromTheRest(t *testing.T) {
	t.Parallel()
	packet, other := call{func() {}, true}, call{func() {}, false}
	for _, tt := range []struct {
		name    string
		calls   []call
		packets bool
	}{
		{"a packet", []call{packet}, true},
		{"several packets", []call{packet, packet, packet}, true},
		{"something else", []call{other}, false},
		{"something else after packets", []call{packet, packet, other}, false},
		{"something else before packets", []call{other, packet, packet}, false},
	} {
		q, ran := newQueue(), 0
		for _, c := range tt.calls {
			q.calls <- call{func() { ran++ }, c.packet}
		}
		if got := q.run(<-q.calls); got != tt.packets || ran != len(tt.calls) || len(q.calls) > 0 {
			t.Errorf("%s: packets %t, %d calls ran, and %d are left", tt.name, got, ran, len(q.calls))
		}
	}
}

func TestQueueThatIsFullLosesPackets(t *testing.T) {
	t.Parallel()
	q := newQueue()
	for range cap(q.calls) + 3 {
		q.offer(func() {})
	}
	if got := q.missed.Load(); got != 3 {
		t.Errorf("%d are lost, want 3", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := q.ask(ctx, func() { t.Error("a call that nobody waits for has run") }); !errors.Is(err, context.Canceled) {
		t.Errorf("asking a full queue: %v", err)
	}
}

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
