package lab

import (
	"bufio"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// space is a set of namespaces - network, processes, mounts, host name - and the process that holds them. They end with
// it, and all their processes, mounts and interfaces with them: the kernel sees to that.
type space struct {
	first process
	tie   *os.File // while open, the first process lives; nil unless the lab is tied to this process
}

const (
	spaceFlags = unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWUTS
	enterFlags = spaceFlags
)

// first.sh is the first process of a space.
//
//go:embed first.sh
var firstScript string

// newSpace makes namespaces. Record is called with their first process before anything can keep that alive: if this
// process dies earlier, so does the space. An empty name makes no mounts: a network only.
func (l *Lab) newSpace(ctx context.Context, name string, record func(process) error) (*space, error) {
	cmd := exec.Command("sh", "-c", firstScript, "first", l.Dir, name, l.disk(name))
	cmd.Env = plainEnviron("")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: spaceFlags}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdin, tie, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer stdin.Close()
	cmd.Stdin = stdin
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		tie.Close()
		return nil, fmt.Errorf("make namespaces: %w", err)
	}
	s := &space{tie: tie}
	defer context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })()
	if s.first, err = processOf(cmd.Process.Pid); err == nil {
		err = record(s.first)
	}
	line, readErr := bufio.NewReader(stdout).ReadString('\n')
	if err != nil || line != "ready\n" {
		tie.Close()
		_, _ = cmd.Process.Kill(), cmd.Wait()
		return nil, fmt.Errorf("make namespaces: %w: %s", errors.Join(err, readErr, ctx.Err()), strings.TrimSpace(stderr.String()))
	}
	go func() { _ = cmd.Wait() }() // only to reap it
	return s, s.release(l.options.Tied)
}

// release lets the first process go on, with or without this one.
func (s *space) release(tied bool) error {
	if tied {
		_, err := s.tie.WriteString("tied\n")
		return err
	}
	_, err := s.tie.WriteString("stay\n")
	err = errors.Join(err, s.tie.Close())
	s.tie = nil
	return err
}

// end kills all in it.
func (s *space) end(ctx context.Context) error {
	err := s.first.kill(ctx)
	if s.tie != nil {
		s.tie.Close()
	}
	return err
}

// enter runs a function on a thread that is in the space; what it starts is born there. The thread dies afterwards,
// because no Go code may ever run on it again.
func (s *space) enter(f func() error) error {
	result := make(chan error, 1)
	go onSpareThread(func() { result <- s.onThread(f) })
	return <-result
}

// onSpareThread runs a function on a thread that then ends. The first thread of the process cannot end, and its
// namespaces are those of /proc/self, so it is held until another one has done it.
func onSpareThread(f func()) {
	runtime.LockOSThread()
	if unix.Gettid() != unix.Getpid() {
		f()
		return
	}
	defer runtime.UnlockOSThread()
	done := make(chan struct{})
	go func() {
		runtime.LockOSThread()
		f()
		close(done)
	}()
	<-done
}

func (s *space) onThread(f func() error) error {
	fd, err := s.first.open()
	if err != nil {
		return fmt.Errorf("enter namespaces: %w", err)
	}
	defer unix.Close(fd)
	root, err := unix.Open(fmt.Sprintf("/proc/%d/root", s.first.PID), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("enter namespaces: open root: %w", err)
	}
	defer unix.Close(root)
	// A mount namespace can be entered only by a thread that shares its root and working directory with no other.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("enter namespaces: %w", err)
	}
	if err := unix.Setns(fd, enterFlags); err != nil {
		return fmt.Errorf("enter namespaces: %w", err)
	}
	// Now the root is the namespace's; that of a process in a chroot is another one.
	if err := errors.Join(unix.Fchdir(root), unix.Chroot(".")); err != nil {
		return fmt.Errorf("enter namespaces: change root: %w", err)
	}
	return f()
}

// network is a netlink socket in the space.
func (s *space) network() (*netlink.Handle, error) {
	ns, err := netns.GetFromPath(s.netns())
	if err != nil {
		return nil, fmt.Errorf("open network namespace: %w", err)
	}
	defer ns.Close()
	h, err := netlink.NewHandleAt(ns)
	if err != nil {
		return nil, fmt.Errorf("enter network namespace: %w", err)
	}
	return h, nil
}

func (s *space) netns() string { return fmt.Sprintf("/proc/%d/ns/net", s.first.PID) }

// plainEnviron is this process's environment without what leads tools to the machine's own daemons, and with a folder
// first on PATH.
func plainEnviron(bin string) []string {
	var env []string
	path := os.Getenv("PATH")
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "DOCKER_") && !strings.HasPrefix(v, "OVS_") && !strings.HasPrefix(v, "OVERLANE_") && !strings.HasPrefix(v, "PATH=") {
			env = append(env, v)
		}
	}
	if bin != "" {
		path = bin + ":" + path
	}
	return append(env, "PATH="+path+":/usr/local/sbin:/usr/sbin:/sbin")
}
