// Package backoff paces attempts at something that failed.
package backoff

import (
	"context"
	"math/rand/v2"
	"time"
)

// Backoff gives pauses that double from First up to Most. Up to a half of each is left out at random, so that many
// clients of one server do not come back at once. It is for one goroutine.
type Backoff struct {
	First time.Duration // the longest first pause; above zero
	Most  time.Duration // the longest pause; First or more

	next time.Duration // the longest next pause; 0: First
}

// Wait pauses before the next attempt. It returns false if ctx has ended, and then there should be none.
func (b *Backoff) Wait(ctx context.Context) bool {
	longest := max(b.next, b.First)
	b.next = min(2*longest, b.Most)
	timer := time.NewTimer(longest - rand.N(longest/2+1))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// Reset begins again at First: call it after an attempt that succeeded.
func (b *Backoff) Reset() { b.next = 0 }
