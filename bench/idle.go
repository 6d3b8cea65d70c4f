package main

import (
	"context"
	"time"
)

const idleTime = 30 * time.Second

// measureIdle is the CPU time of server and agents while nothing happens.
func measureIdle(ctx context.Context, w *world) error {
	if err := w.fill(ctx); err != nil {
		return err
	}
	time.Sleep(3 * time.Second) // until the work that filling causes is done
	before := w.cpuEach()
	time.Sleep(idleTime)
	used := w.cpuEach().since(before)
	percent := func(d time.Duration) float64 { return 100 * d.Seconds() / idleTime.Seconds() }
	w.report(
		median("idle CPU of the server at 5,000", "%", []float64{percent(used[0])}).wants(atMost(1)),
		median("idle CPU of an agent at 5,000", "%", []float64{percent(used[1]), percent(used[2])}).wants(atMost(1)).
			noting("of its 49 peers 48 are simulated and do not answer probes, which are repeated each second then instead of each third"),
	)
	return nil
}

// fill applies 5,000 endpoints.
func (w *world) fill(ctx context.Context) error {
	if w.crowd != nil {
		return nil
	}
	if err := w.plugReal(ctx); err != nil {
		return err
	}
	return w.grow(ctx, 5000, false)
}
