package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/overlane/overlane/internal/yamljson"
)

// Where the server and the agents are, as on any machine.
const (
	serverPort   = 7443
	ServerSocket = "/run/overlane/server.sock"
	AgentSocket  = "/run/overlane/agent.sock"
)

// startOverlane does what the README says: a server, and each host joins it with its token. Intent follows.
func (l *Lab) startOverlane(ctx context.Context) error {
	if l.File.Server == "" || l.options.Bare {
		return nil
	}
	began := time.Now()
	server := l.Host(l.File.Server)
	l.Server = server.serverDaemon()
	if err := l.Server.Start(ctx); err != nil {
		return fmt.Errorf("host %s: %w", server.Name, err)
	}
	l.done(server.Name, "overlane server", began)
	joins, inJoins := errgroup.WithContext(ctx)
	for _, h := range l.Hosts() {
		joins.Go(func() error {
			if err := l.join(inJoins, h); err != nil {
				return err
			}
			return h.StartAgent(inJoins)
		})
	}
	if err := joins.Wait(); err != nil {
		return err
	}
	return l.applyIntent(ctx)
}

func (h *Host) serverDaemon() *Daemon {
	d := h.daemon("server")
	d.argv = []string{"overlane", "server", "--listen", serverAddress(h)}
	d.quiet = true // the server greets with a join token
	d.ready = h.accepts(ServerSocket)
	return d
}

func serverAddress(h *Host) string {
	return netip.AddrPortFrom(h.Address, serverPort).String()
}

func (h *Host) agent() *Daemon {
	d := h.daemon("agent")
	d.argv = []string{"overlane", "agent"}
	d.ready = h.accepts(AgentSocket)
	return d
}

// accepts tells when somebody listens on a unix socket of the host.
func (h *Host) accepts(socket string) func(context.Context) error {
	return func(ctx context.Context) error {
		var d net.Dialer
		c, err := d.DialContext(ctx, "unix", h.Root()+socket)
		if err == nil {
			c.Close()
		}
		return err
	}
}

// join makes a token for a host and joins it to the server.
func (l *Lab) join(ctx context.Context, h *Host) error {
	began := time.Now()
	server := l.Host(l.File.Server)
	token, err := server.Exec(ctx, "overlane", "token", "create", "--host", h.Name)
	if err != nil {
		return err
	}
	// The token is not for logs, and an error of Exec has the whole command.
	if _, err := h.Exec(ctx, "overlane", "join", serverAddress(server), strings.TrimSpace(token), "--name", h.Name,
		"--address", h.Address.String(), "--uplink", firstNIC, "--no-start"); err != nil {
		return errors.New(strings.ReplaceAll(err.Error(), strings.TrimSpace(token), "TOKEN"))
	}
	if err := h.configureAgent(ctx); err != nil {
		return err
	}
	l.done(h.Name, "joined", began)
	return nil
}

// configureAgent adds to the configuration that joining has written.
func (h *Host) configureAgent(ctx context.Context) error {
	if len(h.lab.File.Agent) == 0 {
		return nil
	}
	more, err := yamljson.Marshal(h.lab.File.Agent)
	if err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	_, err = h.Exec(ctx, "sh", "-ec", `printf %s "$1" >>/etc/overlane/agent.yaml`, "sh", string(more))
	return err
}

// StartAgent starts the host's agent and returns when it takes calls.
func (h *Host) StartAgent(ctx context.Context) error {
	began := time.Now()
	if err := h.agent().Start(ctx); err != nil {
		return fmt.Errorf("host %s: %w", h.Name, err)
	}
	h.lab.done(h.Name, "overlane agent", began)
	return nil
}

// StopAgent asks the agent to end, and waits.
func (h *Host) StopAgent(ctx context.Context) error { return h.agent().Stop(ctx) }

// KillAgent sends the agent a signal; for SIGKILL it waits until it has gone.
func (h *Host) KillAgent(ctx context.Context, s syscall.Signal) error { return h.agent().Kill(ctx, s) }

// Agent is the host's agent.
func (h *Host) Agent() *Daemon { return h.agent() }

// applyIntent applies the file's intent, all of it at once.
func (l *Lab) applyIntent(ctx context.Context) error {
	if len(l.File.Intent) == 0 {
		return nil
	}
	began := time.Now()
	argv := []string{"overlane", "apply"}
	for _, path := range l.File.Intent {
		argv = append(argv, "-f", path)
	}
	if _, err := l.Host(l.File.Server).Exec(ctx, argv...); err != nil {
		return err
	}
	l.done("", "intent "+strings.Join(l.File.Intent, ", "), began)
	return nil
}

// attachEndpoints makes the file's containers and namespaces, and attaches them: those with addresses of their own
// first, before somebody else is given one.
func (l *Lab) attachEndpoints(ctx context.Context) error {
	for _, fixed := range []bool{true, false} {
		all, ctx := errgroup.WithContext(ctx)
		for _, e := range l.File.Endpoints {
			if e.IP.IsValid() == fixed {
				all.Go(func() error { return l.attach(ctx, e) })
			}
		}
		if err := all.Wait(); err != nil {
			return err
		}
	}
	return nil
}

func (l *Lab) attach(ctx context.Context, e Endpoint) error {
	began := time.Now()
	h := l.Host(e.Host)
	if err := h.makeEndpoint(ctx, e); err != nil {
		return err
	}
	if _, err := h.Exec(ctx, e.attachCommand()...); err != nil {
		return err
	}
	l.done(h.Name, "attached "+e.Docker+e.Netns+" to "+e.Subnet, began)
	return nil
}

// makeEndpoint starts the container, without any network, or makes the namespace.
func (h *Host) makeEndpoint(ctx context.Context, e Endpoint) error {
	if e.Netns != "" {
		_, err := h.Exec(ctx, "ip", "netns", "add", e.Netns)
		return err
	}
	return h.RunContainer(ctx, e.Docker, e.Command...)
}

// forever is what a container without a command sleeps, in seconds; not every busybox knows "infinity".
var forever = strconv.Itoa(1<<31 - 1)

// RunContainer starts a container of busybox with --net=none, which sleeps unless it is given a command.
func (h *Host) RunContainer(ctx context.Context, name string, command ...string) error {
	if len(command) == 0 {
		command = []string{"sleep", forever}
	}
	_, err := h.Docker(ctx, append([]string{"run", "-d", "--net=none", "--name", name, "--hostname", name, Image}, command...)...)
	return err
}

func (e Endpoint) attachCommand() []string {
	argv := []string{"overlane", "attach"}
	if e.Docker != "" {
		argv = append(argv, e.Docker)
	} else {
		argv = append(argv, "--netns", e.Netns)
	}
	argv = append(argv, "--subnet", e.Subnet)
	if e.IP.IsValid() {
		argv = append(argv, "--ip", e.IP.String())
	}
	if e.Name != "" {
		argv = append(argv, "--name", e.Name)
	}
	return argv
}
