package main

import (
	"context"
	"fmt"
	"time"

	"github.com/overlane/overlane/lab"
)

const attachRuns = 40

// measureAttach compares one attach, until its flows are applied, with the article's script: by the agent's socket, by
// the command line, and by the socket while the server keeps its store in memory, which leaves the disk out.
func measureAttach(ctx context.Context, w *world) error {
	if err := w.article(ctx); err != nil {
		return err
	}
	if err := addNetns(ctx, w.host1, "a0"); err != nil {
		return err
	}
	spent := func() time.Duration { return cpu(w.pids()...) }
	var socket, command, script samples
	before := w.cpuEach()
	for range attachRuns {
		if err := w.attachOnce(ctx, &socket, spent, viaSocket); err != nil {
			return err
		}
		if err := w.attachOnce(ctx, &command, spent, viaCommand); err != nil {
			return err
		}
		if err := w.scriptOnce(ctx, &script); err != nil {
			return err
		}
	}
	each := w.cpuEach().since(before)
	memory, err := w.attachFromMemory(ctx)
	if err != nil {
		return err
	}
	wall, cpuOf := at(script.wall, 0.5), at(script.cpu, 0.5)
	eighth, three := ratioAtMost(1.0/8), atMost(3)
	w.report(
		median("attach until applied, p50, call", "ms", socket.wall).against("script", wall).wants(eighth),
		quantile("attach until applied, p99, call", "ms", 0.99, socket.wall).against("script", at(script.wall, 0.99)),
		median("attach until applied, p50, call, store in memory", "ms", memory.wall).against("script", wall).wants(eighth),
		quantile("attach until applied, p99, call, store in memory", "ms", 0.99, memory.wall).against("script", at(script.wall, 0.99)),
		median("attach until applied, p50, command line", "ms", command.wall).against("script", wall).wants(eighth),
		quantile("attach until applied, p99, command line", "ms", 0.99, command.wall).against("script", at(script.wall, 0.99)),
		median("attach, CPU, call: server and agents", "ms", socket.cpu).against("script", cpuOf).wants(three).
			noting("of all CPU used meanwhile, detaching included: %s", each),
		median("attach, CPU, call, store in memory", "ms", memory.cpu).against("script", cpuOf).wants(three).noting("and the server called without TLS"),
		median("attach, CPU, command line: it, server and agents", "ms", command.cpu).against("script", cpuOf).wants(three),
	)
	return nil
}

// attachMethod is one way to request an attach; cpu is the CPU time that it used in processes that have ended since.
type attachMethod func(ctx context.Context, w *world) (cpu time.Duration, err error)

func viaSocket(ctx context.Context, w *world) (time.Duration, error) {
	_, err := attach(ctx, w.host1, "a0", single)
	return 0, err
}

func viaCommand(ctx context.Context, w *world) (time.Duration, error) {
	return timed(w.host1, w.host1.Command(ctx, "overlane", "attach", "--netns", "a0", "--subnet", single))
}

func (w *world) attachOnce(ctx context.Context, s *samples, spent func() time.Duration, call attachMethod) error {
	err := s.take(spent, func() (time.Duration, error) { return call(ctx, w) })
	if err != nil {
		return err
	}
	return detach(ctx, w.host1, "a0")
}

func (w *world) scriptOnce(ctx context.Context, s *samples) error {
	err := s.take(nobody, func() (time.Duration, error) { return w.runScript(ctx, w.host1, "a0", "art0", "172.17.42.2") })
	if err != nil {
		return err
	}
	return undoScript(ctx, w.host1, "art0")
}

// attachFromMemory has host1's agent follow a second server for a while, one with a store in memory.
func (w *world) attachFromMemory(ctx context.Context) (s samples, err error) {
	memory, err := w.startRole(ctx, w.host1, roleMemoryServer, memorySocket, w.host1.Name, w.host1.Address.String())
	if err != nil {
		return s, err
	}
	defer memory.stop()
	if err := w.useServer(ctx, w.host1, "unix://"+memorySocket); err != nil {
		return s, err
	}
	spent := func() time.Duration { return cpu(memory.pid(), w.host1.Agent().PID()) }
	for range attachRuns {
		if err := w.attachOnce(ctx, &s, spent, viaSocket); err != nil {
			return s, err
		}
	}
	return s, w.useServer(ctx, w.host1, fmt.Sprintf("https://%s:7443", w.host1.Address))
}

const memorySocket = "/run/overlane/memory.sock"

// useServer has the host's agent follow another server.
func (w *world) useServer(ctx context.Context, h *lab.Host, address string) error {
	if _, err := h.Exec(ctx, "sed", "-i", "s|^server:.*|server: "+address+"|", "/etc/overlane/agent.yaml"); err != nil {
		return err
	}
	if err := h.StopAgent(ctx); err != nil {
		return err
	}
	if err := h.StartAgent(ctx); err != nil {
		return err
	}
	return awaitReady(ctx, h)
}

// awaitReady waits until the agent has the server's whole view and the switch has applied it.
func awaitReady(ctx context.Context, h *lab.Host) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		s, err := agentOf(h).Status(ctx)
		if err == nil && s.Host.Ready {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("agent of %s: not ready: %s: %w", h.Name, s.Host.Reason, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}
