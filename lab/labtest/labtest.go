// Package labtest brings up a lab for a test and takes it down again, whatever becomes of the test: a test that is
// killed takes its hosts with it, and the next lab of the same name clears away their folder.
package labtest

import (
	"context"
	"fmt"
	"hash/fnv"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/overlane/overlane/internal/roottest"
	"github.com/overlane/overlane/lab"
)

// Up brings up a lab that is described in YAML; its name, if it has none, is made of the test's. The test fails, not
// skips, without root or Open vSwitch. When it has failed, what was done in the lab is shown, and the last lines of the
// logs of the hosts that took part.
func Up(t testing.TB, file string, options ...func(*lab.Options)) *lab.Lab {
	t.Helper()
	f, err := lab.Parse([]byte(file))
	if err != nil {
		t.Fatal(err)
	}
	return UpFile(t, f, options...)
}

// UpFile is Up of a file that is read already.
func UpFile(t testing.TB, f lab.File, options ...func(*lab.Options)) *lab.Lab {
	t.Helper()
	roottest.Need(t)
	f.Name = Name(t)
	r := newReport()
	o := lab.Options{Tied: true, Log: r.logger(t)}
	for _, set := range options {
		set(&o)
	}
	if f.Server != "" && o.Binary == "" && !o.Bare {
		o.Binary = Binary(t)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	clear(t, ctx, f.Name)
	l, err := lab.Up(ctx, f, o)
	if err != nil {
		t.Fatalf("%v\n%s", err, &r.done)
	}
	reports.Store(l, r)
	t.Cleanup(func() {
		reports.Delete(l)
		down(t, l, r)
	})
	return l
}

// Bare leaves out server and agents.
func Bare(o *lab.Options) { o.Bare = true }

// Name is the name of the test's lab: short, since it is in paths of sockets, and another one for each test and
// checkout.
func Name(t testing.TB) string {
	wd, _ := os.Getwd()
	h := fnv.New32a()
	fmt.Fprint(h, wd, t.Name())
	return fmt.Sprintf("t-%08x", h.Sum32())
}

// clear takes down what a killed run of the same test has left.
func clear(t testing.TB, ctx context.Context, name string) {
	t.Helper()
	left, err := lab.Open(name, lab.Options{})
	if err != nil {
		return
	}
	if err := left.Down(ctx); err != nil {
		t.Fatal(err)
	}
}

func down(t testing.TB, l *lab.Lab, r *report) {
	if t.Failed() {
		r.show(t, l)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := l.Down(ctx); err != nil {
		t.Error(err)
	}
}

// Binary is the overlane binary, with its other programs beside it: $OVERLANE_BINARY, or one built once for
// this test process.
func Binary(t testing.TB) string {
	t.Helper()
	if path := os.Getenv("OVERLANE_BINARY"); path != "" {
		return path
	}
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// build keeps the binary in the checkout, where the next run finds the work done. Tests of several packages run at
// once: one builds.
var build = sync.OnceValues(func() (string, error) {
	root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	path := filepath.Join(strings.TrimSpace(string(root)), "bin", "test", "overlane")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", err
	}
	bin, err := os.Open(filepath.Dir(path))
	if err != nil {
		return "", err
	}
	defer bin.Close() // and with it the lock
	if err := syscall.Flock(int(bin.Fd()), syscall.LOCK_EX); err != nil {
		return "", err
	}
	cmd := exec.Command("go", "build", "-o", filepath.Dir(path)+"/", "./cmd/...")
	cmd.Dir = strings.TrimSpace(string(root))
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build overlane: %w\n%s", err, out)
	}
	return path, nil
})

// Runner is a host or another machine of a lab.
type Runner interface {
	Exec(ctx context.Context, argv ...string) (string, error)
}

// Exec runs a command on a machine, and fails the test if the command does.
func Exec(t testing.TB, m Runner, argv ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out, err := m.Exec(ctx, argv...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
