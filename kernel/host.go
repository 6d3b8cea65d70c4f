package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The files of a run, in a folder of its own.
const (
	jobFile      = "job.json"
	argvFile     = "qemu.json"
	consoleFile  = "console"
	fsSocket     = "fs.sock"
	stdoutSocket = "1.sock"
	stderrSocket = "2.sock"
	statusSocket = "3.sock"
)

// grace is what the guest may take to start and to end beside its command, and slowest how much longer it may take for
// all of it than by its own clock.
const (
	grace   = 3 * time.Minute
	slowest = 4
)

// run boots the guest, and returns when it is gone.
func (m machine) run() (status int, err error) {
	scratch, err := os.MkdirTemp("", "kernel")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(scratch)
	img, err := prepare(scratch)
	if err != nil {
		return 0, err
	}
	m.job.Modules = img.modules
	if err := errors.Join(writeJSON(filepath.Join(scratch, jobFile), m.job), writeJSON(filepath.Join(scratch, argvFile), m.qemu(img, scratch))); err != nil {
		return 0, err
	}
	var code strings.Builder
	done, err := pump(scratch, map[string]io.Writer{stdoutSocket: os.Stdout, stderrSocket: os.Stderr, statusSocket: &code})
	if err != nil {
		return 0, err
	}
	hostErr := boot(slowest*(m.job.Timeout+grace), m.writable(scratch)...)
	done()
	if code.Len() == 0 {
		return 0, errors.Join(errors.New("the guest died; its console ended:\n"+lastLines(filepath.Join(scratch, consoleFile), 60)), hostErr)
	}
	return strconv.Atoi(code.String())
}

// writable are the folders that QEMU makes sockets in, the run's own first.
func (m machine) writable(scratch string) []string {
	if m.wire == [2]string{} {
		return []string{scratch}
	}
	return []string{scratch, filepath.Dir(m.wire[0])}
}

func writeJSON(path string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o600)
}

// pump listens on a socket for each of the guest's outputs and passes on what comes. QEMU connects. When it is gone,
// done waits for the rest.
func pump(scratch string, to map[string]io.Writer) (done func(), err error) {
	var copies sync.WaitGroup
	var listeners []net.Listener
	for name, w := range to {
		l, err := net.Listen("unix", filepath.Join(scratch, name))
		if err != nil {
			return nil, err
		}
		listeners = append(listeners, l)
		copies.Go(func() {
			c, err := l.Accept()
			if err != nil {
				return // QEMU did not come
			}
			_, _ = io.Copy(w, c) // it ends when QEMU does, in whatever way
		})
	}
	return func() {
		for _, l := range listeners {
			l.Close()
		}
		copies.Wait()
	}, nil
}

// boot runs QEMU in namespaces of its own: if this process dies, or the time is over, all of it is gone.
func boot(limit time.Duration, writable ...string) error {
	cmd := exec.Command("/proc/self/exe", writable...)
	cmd.Args[0] = hostStage
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("make namespaces (are you root?): %w", err)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	over := time.AfterFunc(limit, func() { stop <- syscall.SIGTERM })
	defer over.Stop()
	go func() {
		<-stop
		_ = cmd.Process.Kill() // it may have ended
	}()
	return cmd.Wait()
}

// inside is the first process of the namespaces. It shows the guest a read-only root.
func inside(writable []string) int {
	err := readOnlyRoot(writable)
	if err == nil {
		err = runQEMU(writable[0])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "kernel:", err)
		return 1
	}
	return 0
}

// bind is the arguments of mount(2).
type bind struct {
	source, target, fs string
	flags              uintptr
}

func readOnlyRoot(writable []string) error {
	mounts := []bind{{"", "/", "", unix.MS_REC | unix.MS_PRIVATE}}
	for _, folder := range writable {
		mounts = append(mounts, bind{folder, folder, "", unix.MS_BIND})
	}
	mounts = append(mounts,
		bind{"/", "/", "", unix.MS_BIND},
		bind{"", "/", "", unix.MS_REMOUNT | unix.MS_BIND | unix.MS_RDONLY},
		bind{"proc", "/proc", "proc", 0},  // of this namespace's processes
		bind{"tmpfs", "/run", "tmpfs", 0}, // for virtiofsd's lock
	)
	for _, m := range mounts {
		if err := unix.Mount(m.source, m.target, m.fs, m.flags, ""); err != nil {
			return fmt.Errorf("mount %+v: %w", m, err)
		}
	}
	return os.Chdir("/") // the root that is mounted now, not the one below it
}

// fileServers are where distributions keep virtiofsd: the one in C of QEMU 7, the one in Rust that came after it.
var fileServers = []struct {
	path  string
	flags []string
}{
	{"/usr/lib/qemu/virtiofsd", []string{"-o", "source=/", "-o", "sandbox=chroot", "-o", "cache=always", "-o", "no_posix_lock", "-o", "no_flock"}},
	{"/usr/libexec/virtiofsd", []string{"--shared-dir=/", "--sandbox=chroot", "--cache=always"}},
}

func runQEMU(scratch string) error {
	var argv []string
	data, err := os.ReadFile(filepath.Join(scratch, argvFile))
	if err == nil {
		err = json.Unmarshal(data, &argv)
	}
	if err != nil {
		return err
	}
	if err := serveFiles(scratch); err != nil {
		return err
	}
	qemu := exec.Command(argv[0], argv[1:]...)
	qemu.Stderr = os.Stderr
	if err := qemu.Run(); err != nil {
		return fmt.Errorf("run QEMU: %w", err)
	}
	return nil
}

// serveFiles starts virtiofsd on the root and waits until it listens. It ends with QEMU's connection, or with this
// namespace.
func serveFiles(scratch string) error {
	for _, s := range fileServers {
		if _, err := os.Stat(s.path); err != nil {
			continue
		}
		socket := filepath.Join(scratch, fsSocket)
		server := exec.Command(s.path, append(s.flags, "--socket-path="+socket)...)
		log := new(strings.Builder)
		server.Stderr = log
		if err := server.Start(); err != nil {
			return fmt.Errorf("start virtiofsd: %w", err)
		}
		ended := make(chan error, 1)
		go func() { ended <- server.Wait() }()
		return awaitSocket(socket, ended, log)
	}
	return fmt.Errorf("virtiofsd is not there: neither %s nor %s", fileServers[0].path, fileServers[1].path)
}

func awaitSocket(path string, ended <-chan error, log fmt.Stringer) error {
	for {
		if _, err := os.Stat(path); err == nil {
			return nil
		}
		select {
		case err := <-ended:
			return errors.Join(fmt.Errorf("virtiofsd ended: %s", log), err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func lastLines(path string, n int) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
