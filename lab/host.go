package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Host is a machine of the lab. Inside, everything is where it is on a real one - /run/openvswitch/db.sock, /var/run/docker.sock,
// /etc/overlane - and belongs to this host alone. /tmp, /home, /usr and the rest are the machine's.
type Host struct {
	Name    string
	Address netip.Addr // on the underlay

	lab    *Lab
	docker bool
	space  *space

	mu      sync.Mutex
	daemons map[string]*Daemon
}

func newHost(l *Lab, spec HostSpec, s *space) *Host {
	return &Host{Name: spec.Name, Address: spec.Address, docker: spec.Docker, lab: l, space: s, daemons: map[string]*Daemon{}}
}

// makeHost makes a host without daemons.
func (l *Lab) makeHost(ctx context.Context, spec HostSpec) error {
	h := newHost(l, spec, nil)
	if err := h.make(ctx); err != nil {
		return fmt.Errorf("host %s: %w", h.Name, err)
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

func (h *Host) make(ctx context.Context) error {
	began := time.Now()
	dirs := []string{h.path("disk"), h.path("log")}
	if disk := h.lab.disk(h.Name); disk != "" {
		dirs = append(dirs, disk)
	}
	for _, dir := range dirs {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	s, err := h.lab.newSpace(ctx, h.Name, func(first process) error {
		return h.lab.note(func(r *record) { r.Hosts[h.Name] = &hostRecord{First: first, Daemons: map[string]process{}} })
	})
	if err != nil {
		return err
	}
	h.space = s
	if err := errors.Join(h.lab.plug(h), h.writeHosts()); err != nil {
		return errors.Join(err, s.end(context.WithoutCancel(ctx)))
	}
	h.lab.done(h.Name, "namespaces, "+h.Address.String(), began)
	return nil
}

// hostsFile lets hosts find each other by name; see hosts(5).
func (l *Lab) hostsFile() []byte {
	var b strings.Builder
	b.WriteString("127.0.0.1 localhost\n::1 localhost\n")
	for _, h := range l.File.Hosts {
		fmt.Fprintf(&b, "%s %s\n", h.Address, h.Name)
	}
	return []byte(b.String())
}

func (h *Host) writeHosts() error {
	return h.space.enter(func() error { return os.WriteFile("/etc/hosts", h.lab.hostsFile(), 0o644) })
}

// path is in the host's folder, which the host sees as well.
func (h *Host) path(elem ...string) string {
	return filepath.Join(append([]string{h.lab.Dir, "hosts", h.Name}, elem...)...)
}

// Up tells whether the host is there.
func (h *Host) Up() bool { return h.space.first.alive() }

// Root is where this process sees the host's files: Root()+"/run/openvswitch/db.sock" is its OVSDB.
func (h *Host) Root() string { return fmt.Sprintf("/proc/%d/root", h.space.first.PID) }

// Netns is the path of the host's network namespace.
func (h *Host) Netns() string { return h.space.netns() }

// Start starts a command on the host. It is an ordinary child of this process: wait for it, signal it, and give it a context, as ever.
// It gets the host's environment unless it has one.
func (h *Host) Start(cmd *exec.Cmd) error {
	if cmd.Env == nil {
		cmd.Env = plainEnviron(h.lab.bin())
	}
	return h.space.enter(cmd.Start)
}

// Command is a command that Start is to start, such as "ovs-vsctl", "docker" or "overlane": each finds its own host's daemons.
func (h *Host) Command(ctx context.Context, argv ...string) *exec.Cmd {
	path := argv[0]
	if path == "overlane" {
		path = filepath.Join(h.lab.bin(), path)
	}
	cmd := exec.CommandContext(ctx, path, argv[1:]...)
	cmd.WaitDelay = time.Second // what it started may hold its output open
	return cmd
}

// Exec runs a command on the host and returns what it prints to standard output. The error tells what it printed beside.
func (h *Host) Exec(ctx context.Context, argv ...string) (string, error) {
	cmd := h.Command(ctx, argv...)
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := h.Start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		said := strings.TrimSpace(stderr.String())
		if said == "" {
			said = strings.TrimSpace(stdout.String())
		}
		return stdout.String(), fmt.Errorf("%s: %s: %w: %s", h.Name, strings.Join(argv, " "), errors.Join(ctx.Err(), err), said)
	}
	return stdout.String(), nil
}

// Docker runs the docker command of the host.
func (h *Host) Docker(ctx context.Context, args ...string) (string, error) {
	return h.Exec(ctx, append([]string{"docker"}, args...)...)
}

// Daemons are those that have been started on the host, by name.
func (h *Host) Daemons() map[string]*Daemon {
	h.lab.mu.Lock()
	defer h.lab.mu.Unlock()
	all := map[string]*Daemon{}
	for name := range h.lab.record.Hosts[h.Name].Daemons {
		all[name] = h.daemon(name)
	}
	return all
}
