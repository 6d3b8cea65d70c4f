package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/overlane/overlane/lab"
)

// measureRestart counts the echoes that are lost between two endpoints on different hosts while the agents of both are
// killed and started again, and then the server.
func measureRestart(ctx context.Context, w *world) error {
	if err := w.fill(ctx); err != nil {
		return err
	}
	reply, err := attach(ctx, w.host2, realNetns(0), many(0)) // it is attached already
	if err != nil {
		return err
	}
	sent, lost, err := w.echoesDuring(ctx, reply.Address.Addr().String(), func() error {
		for _, h := range []*lab.Host{w.host1, w.host2} {
			if err := errors.Join(h.KillAgent(ctx, syscall.SIGKILL), h.StartAgent(ctx), awaitReady(ctx, h)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	w.report(lostEchoes("agents are", sent, lost))
	sent, lost, err = w.echoesDuring(ctx, reply.Address.Addr().String(), func() error {
		began, was := time.Now(), w.lab.Server.PID()
		if err := errors.Join(w.lab.Server.Kill(ctx, syscall.SIGKILL), w.lab.Server.Start(ctx)); err != nil {
			return err
		}
		for _, err := w.server.Version(ctx); err != nil && ctx.Err() == nil; _, err = w.server.Version(ctx) {
			time.Sleep(10 * time.Millisecond)
		}
		fmt.Fprintf(os.Stderr, "bench: the server was back after %.2f s: process %d, was %d\n", time.Since(began).Seconds(), w.lab.Server.PID(), was)
		time.Sleep(7 * time.Second) // agents come back after five at most
		return errors.Join(awaitReady(ctx, w.host1), awaitReady(ctx, w.host2))
	})
	if err != nil {
		return err
	}
	w.report(lostEchoes("the server is", sent, lost))
	return nil
}

func lostEchoes(who string, sent, lost int) result {
	r := median("echoes lost while "+who+" killed and restarted at 5,000", "", []float64{float64(lost)}).wants(atMost(0))
	return r.noting("of %d, one each 10 ms", sent)
}

var pingReply = regexp.MustCompile(`icmp_seq=(\d+) `)

// echoesDuring pings every 10 ms while f runs, and a second before and after. An echo is lost if it has no answer
// although a later one has: echoes that are under way when ping ends do not count.
func (w *world) echoesDuring(ctx context.Context, to string, f func() error) (sent, lost int, err error) {
	cmd := w.host1.Command(ctx, "ip", "netns", "exec", realNetns(0), "ping", "-n", "-i", "0.01", to)
	var out strings.Builder
	cmd.Stdout = &out
	if err := w.host1.Start(cmd); err != nil {
		return 0, 0, err
	}
	time.Sleep(time.Second)
	err = f()
	time.Sleep(time.Second)
	_ = cmd.Process.Signal(os.Interrupt)
	_ = cmd.Wait() // its exit status says only that echoes were lost
	answered := map[int]bool{}
	for _, m := range pingReply.FindAllStringSubmatch(out.String(), -1) {
		seq, _ := strconv.Atoi(m[1])
		answered[seq] = true
		sent = max(sent, seq)
	}
	if sent == 0 {
		err = errors.Join(err, fmt.Errorf("ping had no answer: %s", out.String()))
	}
	return sent, sent - len(answered), err
}
