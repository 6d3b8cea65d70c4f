package main

import (
	"context"
	"time"

	"github.com/overlane/overlane/agent/local"
)

const pingRuns = 20

// measureFirstPing is the time from the start of an attach until the new endpoint answers an endpoint of the other
// host. The pings begin when the attach returns.
func measureFirstPing(ctx context.Context, w *world) error {
	if err := w.article(ctx); err != nil {
		return err
	}
	if err := addNetns(ctx, w.host1, "p0"); err != nil {
		return err
	}
	if err := addNetns(ctx, w.host2, "ours", "theirs"); err != nil {
		return err
	}
	if _, err := attach(ctx, w.host2, "ours", single); err != nil {
		return err
	}
	defer func() { _ = detach(ctx, w.host2, "ours") }()
	if _, err := w.runScript(ctx, w.host2, "theirs", "art1", "172.17.42.10"); err != nil {
		return err
	}
	defer func() { _ = undoScript(ctx, w.host2, "art1") }()
	fromOurs, err := newPinger(w.host2.Machine, "ours")
	if err != nil {
		return err
	}
	defer fromOurs.close()
	fromTheirs, err := newPinger(w.host2.Machine, "theirs")
	if err != nil {
		return err
	}
	defer fromTheirs.close()
	var ours, script samples
	for i := range pingRuns {
		// A fresh address each time: the pinger's ARP table and the switches' must not know it.
		err := ours.take(nobody, func() (time.Duration, error) {
			r, err := agentOf(w.host1).Attach(ctx, local.AttachRequest{Netns: "p0", Subnet: single, Address: addr(10, 99, 1, byte(1+i))})
			if err != nil {
				return 0, err
			}
			return 0, fromOurs.until(ctx, r.Address.Addr())
		})
		if err != nil {
			return err
		}
		if err := detach(ctx, w.host1, "p0"); err != nil {
			return err
		}
		err = script.take(nobody, func() (time.Duration, error) {
			to := addr(172, 17, 42, byte(100+i))
			if _, err := w.runScript(ctx, w.host1, "p0", "art0", to.String()); err != nil {
				return 0, err
			}
			return 0, fromTheirs.until(ctx, to)
		})
		if err != nil {
			return err
		}
		if err := undoScript(ctx, w.host1, "art0"); err != nil {
			return err
		}
	}
	w.report(
		median("attach until the first ping from another host, p50", "ms", ours.wall).against("script", at(script.wall, 0.5)).wants(ratioAtMost(0.25)),
		quantile("attach until the first ping from another host, p99", "ms", 0.99, ours.wall).against("script", at(script.wall, 0.99)),
	)
	return nil
}
