package backoff

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := Backoff{First: 100 * time.Millisecond, Most: 500 * time.Millisecond}
		pauses := func(longest ...time.Duration) {
			t.Helper()
			for i, most := range longest {
				began := time.Now()
				if !b.Wait(t.Context()) {
					t.Fatal("gave up")
				}
				if took := time.Since(began); took < most/2-1 || took > most {
					t.Errorf("pause %d took %s, want %s to %s", i, took, most/2, most)
				}
			}
		}
		pauses(100*time.Millisecond, 200*time.Millisecond, 400*time.Millisecond, 500*time.Millisecond, 500*time.Millisecond)
		b.Reset()
		pauses(100*time.Millisecond, 200*time.Millisecond)
	})
}

func TestEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		b := Backoff{First: time.Hour, Most: time.Hour}
		if b.Wait(ctx) {
			t.Error("paused to the end")
		}
		if took := time.Since(began); took != time.Second {
			t.Errorf("took %s", took)
		}
	})
}
