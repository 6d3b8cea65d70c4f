// Package lab makes hosts out of namespaces: each has its own network, processes, mounts, Open vSwitch and, where
// asked, Docker, and all hang on one underlay of their own; where asked, a router leads from there to plain machines
// outside. Demo, tests and play run on it; production never needs it. It never changes the machine's own network, Open
// vSwitch, Docker, /etc or mounts: all it makes dies with the first process of each host, and with one folder.
package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// DefaultDir is where labs have their folders.
const DefaultDir = "/run/overlane-lab"

// Options say how a lab is brought up. The zero value is good.
type Options struct {
	Dir    string       // parent of the lab's folder; DefaultDir
	Binary string       // the overlane binary that server and agents run; this process's own
	Log    *slog.Logger // nil: nothing is logged

	// Progress hears of every step that is done, from several goroutines at once.
	Progress func(Step)
	// Tied has the lab die with this process, however that ends; only its folder stays then.
	Tied bool
	// Disk is a folder for what hosts write, in place of memory; for figures, in which a disk's fsync counts.
	Disk string
	// Bare leaves out the server, the agents and what hangs on them, whatever the file says.
	Bare bool
}

// Step is something that the lab has done.
type Step struct {
	Host string // or another machine; empty: the lab as a whole
	What string
	Took time.Duration
}

// Lab is a running lab. Its methods may be called from several goroutines.
type Lab struct {
	File File
	Dir  string // its folder

	// Server is the overlane server; nil if the file names none.
	Server *Daemon

	options Options
	lock    *os.File // held while the lab is being changed

	mu       sync.Mutex
	record   record
	hosts    map[string]*Host
	machines map[string]*Machine // the hosts' as well
	networks map[string]*space
}

// Up brings up a lab and returns when every host is ready. If it fails, or ctx ends, it takes down again what it had
// made.
func Up(ctx context.Context, f File, o Options) (*Lab, error) {
	if err := f.complete(); err != nil {
		return nil, err
	}
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("lab %s: namespaces need root", f.Name)
	}
	l, err := create(f, o)
	if err != nil {
		return nil, err
	}
	defer l.unlock()
	if err := l.bringUp(ctx); err != nil {
		err = fmt.Errorf("lab %s: %w", f.Name, err)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		return nil, errors.Join(err, l.Down(ctx))
	}
	return l, nil
}

// create makes the folder of a lab that is not there yet.
func create(f File, o Options) (*Lab, error) {
	o, err := o.filled()
	if err != nil {
		return nil, err
	}
	l := newLab(f, filepath.Join(o.Dir, f.Name), o)
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return nil, err
	}
	if err := os.Mkdir(l.Dir, 0o755); errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("lab %s exists already in %s; end it with: overlane lab down %s", f.Name, l.Dir, f.Name)
	} else if err != nil {
		return nil, err
	}
	if l.lock, err = lockFolder(l.Dir); err != nil {
		return nil, err
	}
	l.record = record{File: f, Binary: o.Binary, Networks: map[string]process{}, Hosts: map[string]*hostRecord{}}
	if o.Disk != "" {
		l.record.Disk = filepath.Join(o.Disk, "overlane-lab-"+f.Name)
	}
	if o.Tied {
		if l.record.Owner, err = processOf(os.Getpid()); err != nil {
			return nil, err
		}
	}
	return l, l.linkBinary()
}

func newLab(f File, dir string, o Options) *Lab {
	return &Lab{File: f, Dir: dir, options: o, hosts: map[string]*Host{}, machines: map[string]*Machine{}, networks: map[string]*space{}}
}

func (o Options) filled() (Options, error) {
	if o.Dir == "" {
		o.Dir = DefaultDir
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Progress == nil {
		o.Progress = func(Step) {}
	}
	if o.Binary == "" {
		self, err := os.Executable()
		if err != nil {
			return o, fmt.Errorf("find the overlane binary: %w", err)
		}
		o.Binary = self
	}
	var err error
	o.Binary, err = filepath.Abs(o.Binary) // it is linked to from elsewhere
	return o, err
}

// linkBinary puts "overlane" on the hosts' PATH, in a folder that has nothing else in it.
func (l *Lab) linkBinary() error {
	if err := os.Mkdir(l.bin(), 0o755); err != nil {
		return err
	}
	return os.Symlink(l.options.Binary, filepath.Join(l.bin(), "overlane"))
}

// Use has what starts on the hosts from now on run another overlane binary. What runs goes on.
func (l *Lab) Use(binary string) error {
	binary, err := filepath.Abs(binary)
	if err != nil {
		return err
	}
	link := filepath.Join(l.bin(), "overlane")
	if err := errors.Join(os.Symlink(binary, link+".new"), os.Rename(link+".new", link)); err != nil {
		return fmt.Errorf("use %s: %w", binary, err)
	}
	return l.note(func(r *record) { r.Binary = binary })
}

// disk is a machine's folder on a disk; empty if it has none, or if it is no machine.
func (l *Lab) disk(host string) string {
	if host == "" || l.record.Disk == "" {
		return ""
	}
	return filepath.Join(l.record.Disk, host)
}

func (l *Lab) bin() string { return filepath.Join(l.Dir, "bin") }

// bringUp does everything at once that does not wait for something else.
func (l *Lab) bringUp(ctx context.Context) error {
	if err := l.makeNetworks(ctx); err != nil {
		return err
	}
	made, inMade := errgroup.WithContext(ctx)
	for _, spec := range l.File.Hosts {
		made.Go(func() error { return l.makeHost(inMade, spec) })
	}
	for _, m := range l.outsiders() {
		made.Go(func() error { return l.makeMachine(inMade, m) })
	}
	if err := made.Wait(); err != nil {
		return err
	}
	started, inStarted := errgroup.WithContext(ctx)
	for _, h := range l.Hosts() {
		started.Go(func() error { return h.startDaemons(inStarted) })
	}
	started.Go(func() error { return l.startOverlane(inStarted) })
	if err := started.Wait(); err != nil || l.Server == nil {
		return err
	}
	return l.attachEndpoints(ctx)
}

// AddHost makes a host while the lab runs. If the lab has a server, the host joins it and gets an agent.
func (l *Lab) AddHost(ctx context.Context, spec HostSpec) (*Host, error) {
	f := l.File.with(spec)
	if err := f.complete(); err != nil {
		return nil, err
	}
	if err := l.relock(); err != nil {
		return nil, err
	}
	defer l.unlock()
	spec = f.Hosts[len(f.Hosts)-1]
	before := l.File
	l.setFile(f)
	if err := l.startHost(ctx, spec); err != nil {
		l.setFile(before)
		return nil, errors.Join(err, l.remove(context.WithoutCancel(ctx), spec.Name))
	}
	return l.Host(spec.Name), l.announce()
}

func (l *Lab) startHost(ctx context.Context, spec HostSpec) error {
	if err := l.makeHost(ctx, spec); err != nil {
		return err
	}
	h := l.Host(spec.Name)
	if err := h.startDaemons(ctx); err != nil || l.Server == nil {
		return err
	}
	if err := l.join(ctx, h); err != nil {
		return err
	}
	return h.StartAgent(ctx)
}

// RemoveHost ends a host and all that runs on it at once, as if its plug were pulled. Intent still names it.
func (l *Lab) RemoveHost(ctx context.Context, name string) error {
	if err := l.relock(); err != nil {
		return err
	}
	defer l.unlock()
	if l.hosts[name] == nil {
		return fmt.Errorf("lab %s has no host %s", l.File.Name, name)
	}
	l.setFile(l.File.without(name))
	return errors.Join(l.remove(ctx, name), l.announce())
}

// RemoveMachine is RemoveHost of a machine outside.
func (l *Lab) RemoveMachine(ctx context.Context, name string) error {
	if err := l.relock(); err != nil {
		return err
	}
	defer l.unlock()
	if !l.File.hasMachine(name) || l.machines[name] == nil {
		return fmt.Errorf("lab %s has no machine %s outside", l.File.Name, name)
	}
	l.setFile(l.File.withoutMachine(name))
	return errors.Join(l.remove(ctx, name), l.announce())
}

// announce tells running machines which machines came or went.
func (l *Lab) announce() error {
	for _, m := range l.Machines() {
		if err := m.writeHosts(); err != nil {
			return err
		}
	}
	return nil
}

func (l *Lab) setFile(f File) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.File, l.record.File = f, f
}

// Host is one of the lab's hosts; nil if it has none of that name.
func (l *Lab) Host(name string) *Host {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.hosts[name]
}

// Hosts are all hosts, in the order of the file.
func (l *Lab) Hosts() []*Host {
	l.mu.Lock()
	defer l.mu.Unlock()
	var hosts []*Host
	for _, h := range l.File.Hosts {
		if h := l.hosts[h.Name]; h != nil {
			hosts = append(hosts, h)
		}
	}
	return hosts
}

// Machine is one of the lab's hosts, its router (by the name router), or one of its machines outside; nil if it has
// none of that name.
func (l *Lab) Machine(name string) *Machine {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.machines[name]
}

// Machines are all: hosts, the router, and the machines outside, in the order of the file.
func (l *Lab) Machines() []*Machine {
	l.mu.Lock()
	defer l.mu.Unlock()
	var machines []*Machine
	for _, name := range l.File.names() {
		if m := l.machines[name]; m != nil {
			machines = append(machines, m)
		}
	}
	return machines
}

// Log is where what is done in the lab is told.
func (l *Lab) Log() *slog.Logger { return l.options.Log }

// Logs copies the last lines, at most n, of each log of the hosts' daemons: of the hosts that are named, or of all.
func (l *Lab) Logs(w io.Writer, n int, hosts ...string) error {
	files, err := filepath.Glob(filepath.Join(l.Dir, "hosts", "*", "log", "*.log"))
	if err != nil {
		return err
	}
	for _, file := range files { // in order
		if len(hosts) > 0 && !slices.Contains(hosts, hostOfLog(file)) {
			continue
		}
		if err := tail(w, file, n); err != nil {
			return err
		}
	}
	return nil
}

// done tells of a step that began at a time.
func (l *Lab) done(host, what string, began time.Time) {
	took := time.Since(began)
	l.options.Log.Debug(what, "host", host, "took", took)
	l.options.Progress(Step{Host: host, What: what, Took: took})
}
