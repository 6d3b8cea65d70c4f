//go:build qemu

package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// These boot guests: half a minute under emulation.

func TestGuest(t *testing.T) {
	trace := filepath.Join(t.TempDir(), "trace")
	t.Setenv("GREETING", "from outside")
	out, problems, status := kernel(t, "-uptime", "0", "-name", "host9", "sh", "-c",
		`hostname; echo "$GREETING"; echo trace >"$0"; cat "$0"; lsmod | grep -o ^openvswitch; (sleep 1000 &); echo oops >&2; exit 7`, trace)
	if want := "host9\nfrom outside\ntrace\nopenvswitch\n"; out != want {
		t.Errorf("output %q, want %q", out, want)
	}
	if problems != "oops\n" || status != 7 {
		t.Errorf("errors %q, status %d", problems, status)
	}
	if _, err := os.Stat(trace); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the guest wrote %s on this machine: %v", trace, err)
	}
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	if _, problems, status := kernel(t, "-uptime", "0", "-timeout", "1s", "sleep", "1000"); status != statusTimeout {
		t.Errorf("status %d, %s", status, problems)
	}
}

func TestNoSuchCommand(t *testing.T) {
	t.Parallel()
	if _, problems, status := kernel(t, "-uptime", "0", "no-such-command"); status != 127 || !strings.Contains(problems, "no-such-command") {
		t.Errorf("status %d, %s", status, problems)
	}
}

func TestDeadGuest(t *testing.T) {
	t.Parallel()
	_, problems, status := kernel(t, "-uptime", "0", "sh", "-c", "echo c >/proc/sysrq-trigger")
	if status != statusDied || !strings.Contains(problems, "sysrq triggered crash") {
		t.Errorf("status %d, %s", status, problems)
	}
}

func kernel(t *testing.T, args ...string) (out, problems string, status int) {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "kernel")
	build := exec.Command("go", "build", "-o", binary, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var stdout, stderr strings.Builder
	cmd := exec.Command(binary, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()
}
