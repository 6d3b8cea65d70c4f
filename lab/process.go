package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// process is one of ours. A pid alone is not enough: the kernel gives it to somebody else one day.
type process struct {
	PID     int    `json:"pid"`
	Started uint64 `json:"started"` // clock ticks after boot, proc(5) field 22 of stat
}

// processOf is a process that has just been started and not yet been waited for.
func processOf(pid int) (process, error) {
	started, err := startOf(pid)
	if err != nil {
		return process{}, fmt.Errorf("process %d: %w", pid, err)
	}
	return process{PID: pid, Started: started}, nil
}

// startOf reads when a process started.
func startOf(pid int) (uint64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	return parseStart(data)
}

// parseStart reads the start behind the command, which is in parentheses and may itself contain any byte.
func parseStart(data []byte) (uint64, error) {
	end := bytes.LastIndexByte(data, ')')
	if end < 0 {
		return 0, errors.New("stat has no command")
	}
	fields := bytes.Fields(data[end+1:])
	if len(fields) < 20 {
		return 0, errors.New("stat is too short")
	}
	return strconv.ParseUint(string(fields[19]), 10, 64)
}

// open is a file descriptor of the process; it stays this process's when the pid is used again. ErrProcessDone: it
// has ended.
func (p process) open() (fd int, err error) {
	if p.PID == 0 {
		return -1, os.ErrProcessDone
	}
	if fd, err = unix.PidfdOpen(p.PID, 0); errors.Is(err, unix.ESRCH) {
		return -1, os.ErrProcessDone
	} else if err != nil {
		return -1, fmt.Errorf("open process %d: %w", p.PID, err)
	}
	if started, err := startOf(p.PID); err != nil || started != p.Started || ended(fd, 0) {
		unix.Close(fd)
		return -1, os.ErrProcessDone
	}
	return fd, nil
}

// ended waits for a process to end, at most so long. Its state in /proc does not tell: that is a zombie's for a moment
// when a thread other than the first executes another program, as "overlane server" does.
func ended(pidfd int, wait time.Duration) bool {
	n, _ := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, int(wait.Milliseconds()))
	return n > 0
}

func (p process) alive() bool {
	fd, err := p.open()
	if err == nil {
		unix.Close(fd)
	}
	return err == nil
}

// signal reaches the process, or no one.
func (p process) signal(s syscall.Signal) error {
	fd, err := p.open()
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.PidfdSendSignal(fd, s, nil, 0)
}

// wait returns when the process has ended. For the first process of a PID namespace that means that all in it have.
func (p process) wait(ctx context.Context) error {
	fd, err := p.open()
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	} else if err != nil {
		return err
	}
	defer unix.Close(fd)
	for ctx.Err() == nil {
		if ended(fd, 50*time.Millisecond) {
			return nil
		}
	}
	return fmt.Errorf("wait for process %d: %w", p.PID, ctx.Err())
}

// kill ends the process and waits until it has gone.
func (p process) kill(ctx context.Context) error {
	if err := p.signal(syscall.SIGKILL); errors.Is(err, os.ErrProcessDone) {
		return nil
	} else if err != nil {
		return err
	}
	return p.wait(ctx)
}
