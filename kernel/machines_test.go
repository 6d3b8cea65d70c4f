//go:build qemu

package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Two machines with a wire between them, and nothing else that they share: a server and a host on the first, a host on
// the second. The second is booted when the first has made a token for it.
func TestTwoMachines(t *testing.T) {
	dir := t.TempDir()
	build(t, filepath.Join(dir, "kernel"), ".")
	build(t, dir+"/", "../cmd/...")
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

// running is a guest whose output, its daemons' logs included, is read line by line.
type running struct {
	name  string
	lines chan string
	ended error // once lines is closed
	seen  strings.Builder
}

// manyLines is more than a guest prints, so that none waits for the test to read the other's.
const manyLines = 1 << 16

func startMachine(t *testing.T, ctx context.Context, dir string, number int, script ...string) *running {
	t.Helper()
	ends := []string{filepath.Join(dir, "wire1"), filepath.Join(dir, "wire2")}
	args := []string{"-name", fmt.Sprint("host", number), "-timeout", "5m", "-memory", "1536M", "-wire", ends[number-1] + "," + ends[2-number], "bash"}
	cmd := exec.CommandContext(ctx, filepath.Join(dir, "kernel"), append(args, script...)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = in, in
	err = cmd.Start()
	_ = in.Close()
	if err != nil {
		t.Fatal(err)
	}
	r := &running{name: args[1], lines: make(chan string, manyLines)}
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			r.lines <- lines.Text()
		}
		r.ended = cmd.Wait()
		close(r.lines)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		for line := range r.lines {
			if t.Failed() {
				t.Logf("%s: %s", r.name, line)
			}
		}
	})
	return r
}

// await reads until a line that begins with the words, and logs what it reads, but no token.
func (r *running) await(t *testing.T, words string) string {
	t.Helper()
	for line := range r.lines {
		fmt.Fprintln(&r.seen, line)
		if strings.HasPrefix(line, words) {
			return line
		}
		t.Logf("%s: %s", r.name, line)
	}
	t.Fatalf("%s did not come to say %q, and has ended: %v", r.name, words, r.ended)
	return ""
}
