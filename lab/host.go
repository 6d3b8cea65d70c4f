package lab

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"
)

// Host is a machine that Overlane runs on. It has its own Open vSwitch and, where asked, Docker.
type Host struct {
	*Machine
	docker bool
}

func newHost(l *Lab, spec HostSpec) *Host {
	return &Host{newMachine(l, spec.Name, l.File.hostNICs(spec), l.File.gateway(underlayNet)), spec.Docker}
}

// makeHost makes a host without daemons.
func (l *Lab) makeHost(ctx context.Context, spec HostSpec) error {
	h := newHost(l, spec)
	if err := l.makeMachine(ctx, h.Machine); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hosts[h.Name] = h
	return nil
}

// startDaemons starts what a machine has before Overlane comes.
func (h *Host) startDaemons(ctx context.Context) error {
	daemons, ctx := errgroup.WithContext(ctx)
	daemons.Go(func() error { return h.startOVS(ctx) })
	if h.docker {
		daemons.Go(func() error { return h.startDocker(ctx) })
	}
	if err := daemons.Wait(); err != nil {
		return fmt.Errorf("host %s: %w", h.Name, err)
	}
	return nil
}

// Docker runs the docker command of the host.
func (h *Host) Docker(ctx context.Context, args ...string) (string, error) {
	return h.Exec(ctx, append([]string{"docker"}, args...)...)
}
