package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// jobVariable tells the guest's first process where its job is, in the machine's file system.
const jobVariable = "overlane_job"

// guest is the guest's first process, from the initramfs to the end. Whatever happens, it powers off.
func guest() {
	defer func() { _ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF) }()
	j, err := enterRoot(os.Getenv(jobVariable))
	if err == nil {
		err = j.execute()
	}
	if err != nil {
		fmt.Println("init:", err) // on the console
	}
	unix.Sync()
}

// enterRoot loads the modules of the initramfs and makes the root: the machine's files below, memory above.
func enterRoot(path string) (j job, err error) {
	modules, err := filepath.Glob("/modules/*")
	if err != nil {
		return j, err
	}
	for _, m := range modules { // in the order of their names
		if err := insert(m); err != nil {
			return j, fmt.Errorf("insert %s: %w", m, err)
		}
	}
	if err := mountAll(rootMounts); err != nil {
		return j, err
	}
	data, err := os.ReadFile("/lower" + path)
	if err == nil {
		err = json.Unmarshal(data, &j)
	}
	if err != nil {
		return j, fmt.Errorf("read job: %w", err)
	}
	if err := changeRoot("/memory/root"); err != nil {
		return j, fmt.Errorf("change root: %w", err)
	}
	return j, mountAll(systemMounts)
}

func insert(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.FinitModule(int(f.Fd()), "", 0)
}

type mount struct{ source, target, fs, options string }

var rootMounts = []mount{
	{rootTag, "/lower", "virtiofs", ""},
	{"memory", "/memory", "tmpfs", "mode=755,size=80%"},
	{"", "/memory/upper", "", ""},
	{"", "/memory/work", "", ""},
	{"root", "/memory/root", "overlay", "lowerdir=/lower,upperdir=/memory/upper,workdir=/memory/work"},
}

var systemMounts = []mount{
	{"proc", "/proc", "proc", ""},
	{"sys", "/sys", "sysfs", ""},
	{"cgroup", "/sys/fs/cgroup", "cgroup2", ""},
	{"dev", "/dev", "devtmpfs", ""},
	{"devpts", "/dev/pts", "devpts", "gid=5,mode=620,ptmxmode=666"},
	{"shm", "/dev/shm", "tmpfs", ""},
	{"run", "/run", "tmpfs", "mode=755"},
	{"", "/run/lock", "", ""},
}

// mountAll makes the folders and mounts what has a file system.
func mountAll(mounts []mount) error {
	for _, m := range mounts {
		if err := os.MkdirAll(m.target, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
		if m.fs == "" {
			continue
		}
		if err := unix.Mount(m.source, m.target, m.fs, 0, m.options); err != nil {
			return fmt.Errorf("mount %s on %s: %w", m.fs, m.target, err)
		}
	}
	return nil
}

// changeRoot does what switch_root(8) does.
func changeRoot(to string) error {
	return errors.Join(unix.Chdir(to), unix.Mount(".", "/", "", unix.MS_MOVE, ""), unix.Chroot("."), unix.Chdir("/"))
}

// execute runs the command and tells how it ended.
func (j job) execute() error {
	if err := j.settle(); err != nil {
		return err
	}
	code, err := j.command()
	if err != nil {
		return err
	}
	port, err := openPort(statusPort)
	if err != nil {
		return err
	}
	_, err = port.WriteString(strconv.Itoa(code))
	return errors.Join(err, port.Close())
}

// settle does what a distribution's init would do.
func (j job) settle() error {
	os.Setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	for name, to := range map[string]string{"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"} {
		if err := os.Symlink(to, "/dev/"+name); err != nil {
			return err
		}
	}
	if err := unix.Sethostname([]byte(j.Name)); err != nil {
		return fmt.Errorf("set host name: %w", err)
	}
	if err := os.MkdirAll("/lib/modules", 0o755); err != nil {
		return err
	}
	if err := os.Symlink(j.Modules, filepath.Join("/lib/modules", filepath.Base(j.Modules))); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	if _, err := output(append([]string{"modprobe", "-a"}, j.Load...)...); err != nil && len(j.Load) > 0 {
		return err
	}
	if _, err := output("ip", "link", "set", "lo", "up"); err != nil {
		return err
	}
	return awaitUptime(j.Uptime)
}

func awaitUptime(least time.Duration) error {
	var info unix.Sysinfo_t
	for {
		if err := unix.Sysinfo(&info); err != nil {
			return err
		}
		up := time.Duration(info.Uptime) * time.Second
		if up >= least {
			return nil
		}
		time.Sleep(least - up)
	}
}

// command runs the command in a session of its own. Its outputs are pipes, because a port cannot be opened twice, and
// commands do open /dev/stderr.
func (j job) command() (code int, err error) {
	var pumps sync.WaitGroup
	var writers []*os.File
	for _, pattern := range []string{stdoutPort, stderrPort} {
		port, err := openPort(pattern)
		if err != nil {
			return 0, err
		}
		r, w, err := os.Pipe()
		if err != nil {
			return 0, err
		}
		writers = append(writers, w)
		pumps.Go(func() {
			_, _ = io.Copy(port, r) // if the port is gone, so is who would hear of it
			_ = port.Close()
		})
	}
	for _, e := range j.Env {
		if name, value, ok := strings.Cut(e, "="); ok {
			os.Setenv(name, value)
		}
	}
	cmd := exec.Command(j.Argv[0], j.Argv[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = j.Dir, writers[0], writers[1]
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(writers[1], "kernel:", err)
		code = 127
	} else {
		code = j.await(cmd.Process.Pid)
	}
	_ = unix.Kill(-1, unix.SIGKILL) // daemons that the command left may hold the pipes
	for _, w := range writers {
		w.Close()
	}
	pumps.Wait()
	return code, nil
}

// openPort waits for a port, which the device brings up in its own time.
func openPort(pattern string) (*os.File, error) {
	for range 1000 {
		if found, _ := filepath.Glob(pattern); len(found) == 1 {
			return os.OpenFile(found[0], os.O_WRONLY, 0)
		}
		time.Sleep(10 * time.Millisecond)
	}
	there, _ := filepath.Glob("/dev/v*")
	return nil, fmt.Errorf("%s does not come; there are %v", pattern, there)
}

// await reaps orphans, as the first process must, until the command has ended.
func (j job) await(pid int) int {
	var late atomic.Bool
	timer := time.AfterFunc(j.Timeout, func() {
		late.Store(true)
		_ = unix.Kill(-1, unix.SIGKILL)
	})
	defer timer.Stop()
	for {
		var status unix.WaitStatus
		ended, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR), err == nil && ended != pid:
			continue
		case late.Load():
			return statusTimeout
		case err != nil:
			return statusDied
		case status.Signaled():
			return 128 + int(status.Signal())
		}
		return status.ExitStatus()
	}
}
