package lab

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestParseStat(t *testing.T) {
	// A command may hold spaces and parentheses; the last one counts.
	const line = "4711 (a) b (c) S 1 4711 4711 0 -1 4194560 212 0 0 0 0 0 0 0 20 0 1 0 8123456 2453504 258 18446744073709551615"
	started, err := parseStat([]byte(line))
	if err != nil || started != 8123456 {
		t.Errorf("started %d, %v", started, err)
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("1 (init) S 0 1 1 0 -1 4194560 212 0 0 0 0 0 0 0 20 0 1 0 8 2453504 258"))
	f.Add([]byte("1 (init)"))
	f.Add([]byte(")"))
	f.Fuzz(func(_ *testing.T, line []byte) { _, _ = parseStat(line) }) // it does not panic
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
