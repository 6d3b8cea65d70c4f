package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/overlane/overlane/client"
	"github.com/overlane/overlane/lab"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/server"
	"github.com/overlane/overlane/store"
)

// This program starts itself again for roles that need a process of their own, so that their CPU time is known apart.
const (
	roleVariable     = "OVERLANE_BENCH_ROLE"
	roleMemoryServer = "memory-server" // a server with a store in memory: SOCKET HOST ADDRESS
	roleCrowd        = "crowd"         // simulated hosts: SOCKET HOST...
)

func play(role string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	switch role {
	case roleMemoryServer:
		return serveFromMemory(ctx, os.Args[1], os.Args[2], os.Args[3])
	case roleCrowd:
		return simulate(ctx, os.Args[1], os.Args[2:])
	}
	return fmt.Errorf("no role is called %q", role)
}

// child is this program in a role.
type process struct {
	cmd   *exec.Cmd
	lines *bufio.Reader
}

// startRole starts the program in a role on a host, or on the machine itself if host is nil, and returns when it
// reports that it is ready.
func (w *world) startRole(ctx context.Context, h *lab.Host, role string, args ...string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	cmd.Stderr = os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	start := cmd.Start
	if h != nil {
		start = func() error { return h.Start(cmd) }
	}
	if err := start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", role, err)
	}
	c := &process{cmd, bufio.NewReader(out)}
	if line, err := c.lines.ReadString('\n'); line != "ready\n" {
		c.stop()
		return nil, fmt.Errorf("start %s: it said %q: %w", role, line, err)
	}
	return c, nil
}

func (c *process) pid() int { return c.cmd.Process.Pid }

func (c *process) stop() {
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	_, _ = io.Copy(io.Discard, c.lines)
	_ = c.cmd.Wait()
}

// serveFromMemory serves the bench's first intent and one host.
func serveFromMemory(ctx context.Context, socket, host, address string) error {
	s, err := server.New(ctx, server.Config{Store: store.NewMemory(0), Log: slog.New(slog.DiscardHandler), Version: "bench"})
	if err != nil {
		return err
	}
	l, err := server.ListenUnix(socket)
	if err != nil {
		return err
	}
	vtep, err := netip.ParseAddr(address)
	if err != nil {
		return err
	}
	go func() {
		c, err := client.New(client.Config{Address: "unix://" + socket})
		if err == nil {
			host := model.Object{Kind: "Host", Name: host, Spec: &model.HostSpec{Address: vtep}}
			err = apply(ctx, c, append([]model.Object{host}, firstIntent()...))
		}
		if err != nil {
			fmt.Printf("%q\n", err)
			return
		}
		fmt.Println("ready")
	}()
	return s.Serve(ctx, l)
}
