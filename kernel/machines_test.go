//go:build qemu

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Two machines with a wire between them, and nothing else that they share: a server and a host on the first, a host on the second. The
// second is booted when the first has made a token for it.
func TestTwoMachines(t *testing.T) {
	dir := t.TempDir()
	build(t, filepath.Join(dir, "kernel"), ".")
	build(t, filepath.Join(dir, "overlane"), "../cmd/overlane")
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	scripts, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	intent, err := filepath.Abs("../examples/article/network.yaml")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	first := startMachine(t, ctx, dir, 1, filepath.Join(scripts, "host1.sh"), scripts, intent)
	token := strings.TrimPrefix(first.await(t, "token "), "token ")
	second := startMachine(t, ctx, dir, 2, filepath.Join(scripts, "host2.sh"), scripts, token)
	second.await(t, "host2 is plugged in")
	first.await(t, "host1 is done")
	seen := first.seen.String()
	for _, words := range []string{
		"VXLAN     VNI 100 blue/web",                          // the capture, with names
		"172.17.42.2 (blue/web/blue1)",                        // from the agent's view
		"tunnel(tun_id=0x64,src=192.168.5.2,dst=192.168.5.3,", // the kernel's own flows
		"system", // the datapath in the status
	} {
		if !strings.Contains(seen, words) {
			t.Errorf("host1 does not say %q", words)
		}
	}
}

func build(t *testing.T, to, what string) {
	t.Helper()
	cmd := exec.Command("go", "build", "-o", to, what)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v: %s", what, err, out)
	}
}

// running is a guest whose output is read line by line.
type running struct {
	name  string
	lines *bufio.Scanner
	seen  strings.Builder
}

func startMachine(t *testing.T, ctx context.Context, dir string, number int, script ...string) *running {
	t.Helper()
	ends := []string{filepath.Join(dir, "wire1"), filepath.Join(dir, "wire2")}
	args := []string{"-name", fmt.Sprint("host", number), "-timeout", "5m", "-memory", "1536M", "-wire", ends[number-1] + "," + ends[2-number], "bash"}
	cmd := exec.CommandContext(ctx, filepath.Join(dir, "kernel"), append(args, script...)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	out, in := io.Pipe()
	cmd.Stdout, cmd.Stderr = in, in
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		err := cmd.Wait()
		in.CloseWithError(errors.Join(errors.New("it has ended"), err))
		close(ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		go func() { _, _ = io.Copy(io.Discard, out) }()
		<-ended
	})
	return &running{name: args[1], lines: bufio.NewScanner(out)}
}

// await reads until a line that begins with the words, and logs what it reads, but no token.
func (r *running) await(t *testing.T, words string) string {
	t.Helper()
	for r.lines.Scan() {
		line := r.lines.Text()
		fmt.Fprintln(&r.seen, line)
		if strings.HasPrefix(line, words) {
			return line
		}
		t.Logf("%s: %s", r.name, line)
	}
	t.Fatalf("%s did not come to say %q: %v", r.name, words, r.lines.Err())
	return ""
}
