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
)

// Machine is what has a name in the lab: a host, the router, or a machine outside. Inside, everything is where it is on
// a real one - /run/openvswitch/db.sock, /var/run/docker.sock, /etc/overlane - and belongs to it alone. /tmp, /home,
// /usr and the rest are the lab machine's own.
type Machine struct {
	Name    string
	Address netip.Addr // on the underlay; of a machine outside, on the internet network

	lab     *Lab
	nics    []nic
	gateway netip.Addr // where the default route leads; the zero value: there is none
	router  bool
	space   *space

	mu      sync.Mutex
	daemons map[string]*Daemon
}

func newMachine(l *Lab, name string, nics []nic, gateway netip.Addr) *Machine {
	return &Machine{Name: name, Address: nics[0].address.Addr(), lab: l, nics: nics, gateway: gateway, daemons: map[string]*Daemon{}}
}

// makeMachine makes a machine without daemons.
func (l *Lab) makeMachine(ctx context.Context, m *Machine) error {
	if err := m.make(ctx); err != nil {
		return fmt.Errorf("machine %s: %w", m.Name, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.machines[m.Name] = m
	return nil
}

func (m *Machine) make(ctx context.Context) error {
	began := time.Now()
	dirs := []string{m.path("disk"), m.path("log")}
	if disk := m.lab.disk(m.Name); disk != "" {
		dirs = append(dirs, disk)
	}
	for _, dir := range dirs {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	s, err := m.lab.newSpace(ctx, m.Name, func(first process) error {
		return m.lab.note(func(r *record) { r.Hosts[m.Name] = &hostRecord{First: first, Daemons: map[string]process{}} })
	})
	if err != nil {
		return err
	}
	m.space = s
	if err := m.setUp(); err != nil {
		return errors.Join(err, s.end(context.WithoutCancel(ctx)))
	}
	m.lab.done(m.Name, "namespaces, "+m.Address.String(), began)
	return nil
}

// setUp joins the machine to its networks.
func (m *Machine) setUp() error {
	for _, n := range m.nics {
		if err := m.plug(n); err != nil {
			return err
		}
	}
	if m.gateway.IsValid() {
		if err := m.addDefaultRoute(); err != nil {
			return err
		}
	}
	if m.router {
		if err := m.startRouting(); err != nil {
			return err
		}
	}
	return m.writeHosts()
}

// hostsFile lets machines find each other by name; see hosts(5).
func (l *Lab) hostsFile() []byte {
	var b strings.Builder
	b.WriteString("127.0.0.1 localhost\n::1 localhost\n")
	for _, h := range l.File.Hosts {
		fmt.Fprintf(&b, "%s %s\n", h.Address, h.Name)
	}
	for _, m := range l.outsiders() {
		fmt.Fprintf(&b, "%s %s\n", m.Address, m.Name)
	}
	return []byte(b.String())
}

func (m *Machine) writeHosts() error {
	return m.space.enter(func() error { return os.WriteFile("/etc/hosts", m.lab.hostsFile(), 0o644) })
}

// path is in the machine's folder, which the machine sees as well.
func (m *Machine) path(elem ...string) string {
	return filepath.Join(append([]string{m.lab.Dir, "hosts", m.Name}, elem...)...)
}

// Up tells whether the machine is there.
func (m *Machine) Up() bool { return m.space.first.alive() }

// Root is where this process sees the machine's files: Root()+"/run/openvswitch/db.sock" is a host's OVSDB.
func (m *Machine) Root() string { return fmt.Sprintf("/proc/%d/root", m.space.first.PID) }

// Netns is the path of the machine's network namespace.
func (m *Machine) Netns() string { return m.space.netns() }

// Start starts a command on the machine. It is an ordinary child of this process: wait for it, signal it, and give it a
// context, as ever. It gets the machine's environment unless it has one.
func (m *Machine) Start(cmd *exec.Cmd) error {
	if cmd.Env == nil {
		cmd.Env = plainEnviron(m.lab.bin())
	}
	return m.space.enter(cmd.Start)
}

// Command is a command that Start is to start, such as "ovs-vsctl", "docker" or "overlane": each finds its own
// machine's daemons.
func (m *Machine) Command(ctx context.Context, argv ...string) *exec.Cmd {
	path := argv[0]
	if path == "overlane" {
		path = filepath.Join(m.lab.bin(), path)
	}
	cmd := exec.CommandContext(ctx, path, argv[1:]...)
	cmd.WaitDelay = 30 * time.Second // what it started may hold its output open; a machine that is busy may be late to read it
	return cmd
}

// Exec runs a command on the machine and returns what it prints to standard output. The error tells what it printed
// beside.
func (m *Machine) Exec(ctx context.Context, argv ...string) (string, error) {
	cmd := m.Command(ctx, argv...)
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := m.Start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		said := strings.TrimSpace(stderr.String())
		if said == "" {
			said = strings.TrimSpace(stdout.String())
		}
		return stdout.String(), fmt.Errorf("%s: %s: %w: %s", m.Name, strings.Join(argv, " "), errors.Join(ctx.Err(), err), said)
	}
	return stdout.String(), nil
}

// Daemons are the daemons that were started on the machine, by name.
func (m *Machine) Daemons() map[string]*Daemon {
	m.lab.mu.Lock()
	defer m.lab.mu.Unlock()
	all := map[string]*Daemon{}
	for name := range m.lab.record.Hosts[m.Name].Daemons {
		all[name] = m.daemon(name)
	}
	return all
}
