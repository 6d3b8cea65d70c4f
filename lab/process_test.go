package lab

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestParseStart(t *testing.T) {
	// A command may hold spaces and parentheses; the last one counts.
	const line = "4711 (a) b (c) S 1 4711 4711 0 -1 4194560 212 0 0 0 0 0 0 0 20 0 1 0 8123456 2453504 258 18446744073709551615"
	if started, err := parseStart([]byte(line)); err != nil || started != 8123456 {
		t.Errorf("started %d, %v", started, err)
	}
}

func FuzzParseStart(f *testing.F) {
	f.Add([]byte("1 (init) S 0 1 1 0 -1 4194560 212 0 0 0 0 0 0 0 20 0 1 0 8 2453504 258"))
	f.Add([]byte("1 (init)"))
	f.Add([]byte(")"))
	f.Fuzz(func(t *testing.T, line []byte) {
		if started, err := parseStart(line); err != nil && started > 0 && started < 1<<64-1 {
			t.Errorf("%d, and %v", started, err)
		}
	})
}

// A process that executes another program, by a thread that is not its first, has not ended.
func TestExecIsNoEnd(t *testing.T) {
	if left := os.Getenv("LAB_EXECS"); left != "" {
		execAgain(left)
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestExecIsNoEnd$")
	cmd.Env = append(os.Environ(), "LAB_EXECS=200")
	input, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	p, err := processOf(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Second); time.Now().Before(deadline); {
		if !p.alive() {
			t.Fatal("it is taken to have ended")
		}
	}
	input.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if p.alive() {
		t.Error("it is taken to live on")
	}
}

// execAgain executes this test again so often, and then ends with its input.
func execAgain(left string) {
	runtime.LockOSThread()
	n, _ := strconv.Atoi(left)
	if n == 0 {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}
	os.Setenv("LAB_EXECS", strconv.Itoa(n-1))
	go func() {
		runtime.LockOSThread()
		_ = syscall.Exec("/proc/self/exe", os.Args, os.Environ())
		os.Exit(1)
	}()
	select {}
}

// A pid that the kernel has given to another process is not ours to signal.
func TestSignalReachesOnlyTheSameProcess(t *testing.T) {
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	p, err := processOf(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	other := process{PID: p.PID, Started: p.Started - 1}
	if err := other.signal(syscall.SIGKILL); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("a process that started at another time: %v", err)
	}
	if !p.alive() {
		t.Fatal("it was killed nevertheless")
	}
	if err := p.kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p.alive() { // a zombie by now
		t.Error("it lives on after SIGKILL")
	}
	_ = cmd.Wait() // only to reap it
}

// The first thread of a process stands for it in /proc/self, and it never ends; so it must never enter a host.
func TestSpareThreadIsNotTheFirst(t *testing.T) {
	for range 1000 {
		done := make(chan int)
		go onSpareThread(func() { done <- unix.Gettid() })
		if tid := <-done; tid == os.Getpid() {
			t.Fatal("it ran on the first thread")
		}
	}
}
