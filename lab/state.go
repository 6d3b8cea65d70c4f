package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"syscall"
	"time"
)

// record is what another process must know to go on with a lab, or to end it. It is on disk before what it names can
// outlive us.
type record struct {
	File     File                   `json:"file"`
	Binary   string                 `json:"binary"`
	Owner    process                `json:"owner"`          // that the lab is tied to; none if it is not
	Disk     string                 `json:"disk,omitempty"` // folder outside of the lab's own
	Networks map[string]process     `json:"networks"`       // by name: underlay, uplink, internet
	Hosts    map[string]*hostRecord `json:"hosts"`          // and all other machines
}

type hostRecord struct {
	First   process            `json:"first"`
	Daemons map[string]process `json:"daemons"` // by name: ovsdb-server, ovs-vswitchd, dockerd, server, agent
}

const recordFile = "lab.json"

// note changes the record and saves it.
func (l *Lab) note(change func(*record)) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(&l.record)
	return l.saveLocked()
}

func (l *Lab) saveLocked() error {
	data, err := json.MarshalIndent(l.record, "", "  ")
	if err != nil {
		return fmt.Errorf("save lab: %w", err)
	}
	path := filepath.Join(l.Dir, recordFile)
	if err := os.WriteFile(path+".new", data, 0o644); err != nil {
		return fmt.Errorf("save lab: %w", err)
	}
	return os.Rename(path+".new", path)
}

// readRecord is empty if the process that made the lab died before it wrote one; there is nothing to end then.
func readRecord(dir string) (record, error) {
	var r record
	data, err := os.ReadFile(filepath.Join(dir, recordFile))
	if errors.Is(err, os.ErrNotExist) {
		return r, nil
	} else if err != nil {
		return r, fmt.Errorf("read lab: %w", err)
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return r, fmt.Errorf("read lab %s: %w", dir, err)
	}
	return r, nil
}

// ErrNotUp says that there is no lab of a name.
var ErrNotUp = errors.New("bring it up with: overlane lab up")

// Open finds a lab that this or another process brought up, or began to. Of the options, Dir and Log count. The error
// may be ErrNotUp.
func Open(name string, o Options) (*Lab, error) {
	o, err := o.filled()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(o.Dir, name)
	if _, err := os.Stat(dir); err != nil || !nameRule().MatchString(name) {
		return nil, fmt.Errorf("no lab %s is up: %w", name, ErrNotUp)
	}
	r, err := readRecord(dir)
	if err != nil {
		return nil, err
	}
	o.Binary = r.Binary
	l := newLab(r.File, dir, o)
	l.record = r
	for name, first := range r.Networks {
		l.networks[name] = &space{first: first}
	}
	for _, spec := range r.File.Hosts {
		if h := newHost(l, spec); l.reopen(h.Machine) {
			l.hosts[spec.Name] = h
		}
	}
	for _, m := range l.outsiders() {
		l.reopen(m)
	}
	if h := l.hosts[r.File.Server]; h != nil {
		l.Server = h.serverDaemon()
	}
	return l, nil
}

// reopen finds a machine that has been recorded.
func (l *Lab) reopen(m *Machine) bool {
	r := l.record.Hosts[m.Name]
	if r == nil {
		return false
	}
	m.space = &space{first: r.First}
	l.machines[m.Name] = m
	return true
}

// Abandoned tells whether the lab was tied to a process that has ended. Nothing lives in it any more, or not for long.
func (l *Lab) Abandoned() bool {
	return l.record.Owner != process{} && !l.record.Owner.alive()
}

// List names the labs that have a folder, up or not.
func List(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && nameRule().MatchString(e.Name()) {
			names = append(names, e.Name())
		}
	}
	sort.Strings(names)
	return names, err
}

// lockFolder keeps other processes from changing the lab. The kernel lets go of it when this process ends, or a little
// later: a child that has not yet reached its exec holds it, too.
func lockFolder(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(lockPatience); ; time.Sleep(pollEvery) {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if time.Now().After(deadline) {
			f.Close()
			return nil, fmt.Errorf("lab %s is being changed by another process", filepath.Base(dir))
		}
	}
}

const lockPatience = 3 * time.Second

func (l *Lab) relock() (err error) {
	l.lock, err = lockFolder(l.Dir)
	return err
}

func (l *Lab) unlock() {
	if l.lock != nil {
		l.lock.Close()
		l.lock = nil
	}
}
