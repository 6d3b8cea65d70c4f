package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// Daemon is a program that runs on a machine until it is stopped. It may have been started by another process.
type Daemon struct {
	Name string // ovsdb-server, ovs-vswitchd, dockerd, server, agent

	machine *Machine
	argv    []string
	quiet   bool                        // standard output has secrets: it is not kept
	nice    int                         // nice(1); 0: as this process
	ready   func(context.Context) error // returns nil when the daemon serves
}

// daemon is the machine's of a name, without command.
func (m *Machine) daemon(name string) *Daemon {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.daemons[name]
	if d == nil {
		d = &Daemon{Name: name, machine: m}
		m.daemons[name] = d
	}
	return d
}

// process is the daemon's, as recorded; the zero value before the first start.
func (d *Daemon) process() process {
	d.machine.lab.mu.Lock()
	defer d.machine.lab.mu.Unlock()
	return d.machine.lab.record.Hosts[d.machine.Name].Daemons[d.Name]
}

// Running tells whether the daemon's process is there.
func (d *Daemon) Running() bool { return d.process().alive() }

// PID is the daemon's, as this process sees it; 0 if it is not running.
func (d *Daemon) PID() int {
	if p := d.process(); p.alive() {
		return p.PID
	}
	return 0
}

// Log is the path of the file that has what the daemon prints.
func (d *Daemon) Log() string { return d.machine.path("log", d.Name+".log") }

// Start starts the daemon, if it is not running, and waits until it serves.
func (d *Daemon) Start(ctx context.Context) error {
	if d.Running() {
		return nil
	}
	p, err := d.spawn(ctx)
	if err != nil {
		return fmt.Errorf("start %s: %w", d.Name, err)
	}
	err = d.machine.lab.note(func(r *record) { r.Hosts[d.machine.Name].Daemons[d.Name] = p })
	if err == nil {
		err = d.await(ctx, p)
	}
	if err != nil {
		return fmt.Errorf("start %s: %w\n%s", d.Name, err, lastLines(d.Log(), 10))
	}
	return nil
}

// spawn starts the process, by a shell that then ends: so it becomes a child of the machine's first process, which is
// reaped there, and not of this one's heirs, who may not care.
func (d *Daemon) spawn(ctx context.Context) (process, error) {
	log, err := os.OpenFile(d.Log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return process{}, err
	}
	defer log.Close()
	argv := []string{"sh", "-c", `"$0" "$@" & read -r _`}
	if d.nice != 0 {
		argv = append(argv, "nice", "-n", strconv.Itoa(d.nice))
	}
	cmd := d.machine.Command(ctx, append(argv, d.argv...)...)
	cmd.Stderr = log
	if !d.quiet {
		cmd.Stdout = log
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // Ctrl-C is for us, not for the hosts
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return process{}, err
	}
	if err := d.machine.Start(cmd); err != nil {
		return process{}, err
	}
	p, err := childOf(ctx, cmd.Process.Pid)
	if err == nil && d.nice != 0 {
		err = niceSession(p.PID, d.nice)
	}
	_ = stdin.Close() // ends the shell
	_ = cmd.Wait()    // with status 1, since it has read nothing
	return p, err
}

// niceSession sets the niceness of a process's session among other sessions. With autogroups, which most kernels have,
// nice(1) counts within a session only (sched(7), "The autogroup feature").
func niceSession(pid, nice int) error {
	err := os.WriteFile(fmt.Sprintf("/proc/%d/autogroup", pid), []byte(strconv.Itoa(nice)), 0)
	if errors.Is(err, os.ErrNotExist) { // the kernel has none
		return nil
	}
	return err
}

// childOf waits for the only child of a process.
func childOf(ctx context.Context, pid int) (process, error) {
	for ctx.Err() == nil {
		children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
		if err != nil {
			return process{}, err
		}
		var child int
		if _, err := fmt.Sscan(string(children), &child); err == nil {
			return processOf(child)
		}
		time.Sleep(time.Millisecond)
	}
	return process{}, ctx.Err()
}

const pollEvery = 10 * time.Millisecond

// patience bounds every wait for a daemon; a busy machine is slow.
const patience = 5 * time.Minute

var errEnded = errors.New("it ended at once")

// await asks until the daemon serves.
func (d *Daemon) await(ctx context.Context, p process) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for {
		err := d.ready(ctx)
		if err == nil {
			return nil
		}
		if !p.alive() {
			return errEnded
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		case <-ticker.C:
		}
	}
}

// Stop asks the daemon to end, and waits until it has; after some seconds it is killed.
func (d *Daemon) Stop(ctx context.Context) error {
	p := d.process()
	if err := p.signal(syscall.SIGTERM); errors.Is(err, os.ErrProcessDone) {
		return nil
	} else if err != nil {
		return fmt.Errorf("stop %s: %w", d.Name, err)
	}
	gently, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := p.wait(gently); err == nil {
		return nil
	}
	return p.kill(ctx)
}

// Kill sends a signal and does not wait, but for SIGKILL until the process has gone.
func (d *Daemon) Kill(ctx context.Context, s syscall.Signal) error {
	if s == syscall.SIGKILL {
		return d.process().kill(ctx)
	}
	if err := d.process().signal(s); err != nil {
		return fmt.Errorf("signal %s: %w", d.Name, err)
	}
	return nil
}

// lastLines of a file, at most n; empty if there is none.
func lastLines(path string, n int) []byte {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	lines := bytes.SplitAfter(bytes.TrimSpace(data), []byte("\n"))
	return bytes.Join(lines[max(0, len(lines)-n):], nil)
}

// tail copies the last lines of a log under the names of host and daemon.
func tail(w io.Writer, path string, n int) error {
	lines := lastLines(path, n)
	if len(lines) == 0 {
		return nil
	}
	_, err := fmt.Fprintf(w, "--- %s %s\n%s\n", hostOfLog(path), filepath.Base(path), lines)
	return err
}

// hostOfLog is the machine whose folder a log is in; see [Machine.path].
func hostOfLog(path string) string { return filepath.Base(filepath.Dir(filepath.Dir(path))) }
