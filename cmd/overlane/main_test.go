package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/overlane/overlane/client"
	"github.com/overlane/overlane/cmd/internal/agentd"
	"github.com/overlane/overlane/cmd/internal/serverd"
	"github.com/overlane/overlane/internal/roottest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"overlane":        main,
		"overlane-server": func() { os.Exit(serverd.Main(os.Args[1:], os.Stdout, os.Stderr)) },
		"overlane-agent":  func() { os.Exit(agentd.Main(os.Args[1:], os.Stdout, os.Stderr)) },
	})
}

// TestScripts runs the command line against real servers. Besides testscript's own, a script has the commands
//
//	server [ARG...]    start overlane server in the background, and wait until it serves
//	stop               stop it, and wait until it is gone
//	status N ARG...    run overlane with these arguments, and want this exit status
//	watch FILE ARG...  run overlane watch in the background, its output in a file
//	await FILE WORDS   wait until a file has these words
//
// A server and those that join it are in a network namespace of the script's own, which has the address 198.51.100.1.
func TestScripts(t *testing.T) {
	roottest.Need(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			e.Setenv("OVERLANE_SERVER", "unix://"+filepath.Join(e.WorkDir, "s.sock"))
			e.Setenv("NETNS", makeNetns(e))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"server": startServer, "stop": stopServer, "status": wantStatus, "watch": startWatch, "await": await,
		},
		UpdateScripts: os.Getenv("UPDATE") != "",
	})
}

// makeNetns makes the script's network namespace, and has it removed.
func makeNetns(e *testscript.Env) string {
	name := fmt.Sprintf("cli-%d-%s", os.Getpid(), strings.TrimPrefix(filepath.Base(e.WorkDir), "script-"))
	ip := func(args ...string) {
		if output, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			e.T().Fatal("ip ", strings.Join(args, " "), ": ", err, ": ", string(output), " (these tests need root)")
		}
	}
	ip("netns", "add", name)
	e.Defer(func() { _ = exec.Command("ip", "netns", "delete", name).Run() })
	ip("-n", name, "link", "set", "lo", "up")
	ip("-n", name, "address", "add", "198.51.100.1/24", "dev", "lo")
	return name
}

// running is a program of a script in the background.
type running struct {
	cmd  *exec.Cmd
	gone chan error
}

// start starts one with its output in files, and has it stopped when the script ends.
func start(ts *testscript.TestScript, output, log string, cmd *exec.Cmd) *running {
	out, err := os.Create(ts.MkAbs(output))
	ts.Check(err)
	defer out.Close()
	problems, err := os.Create(ts.MkAbs(log))
	ts.Check(err)
	defer problems.Close()
	cmd.Dir, cmd.Stdout, cmd.Stderr = ts.Getenv("WORK"), out, problems
	for _, name := range []string{"PATH", "TMPDIR", "OVERLANE_SERVER"} {
		cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
	}
	r := &running{cmd, make(chan error, 1)}
	ts.Check(cmd.Start())
	go func() { r.gone <- cmd.Wait() }()
	ts.Defer(r.stop)
	return r
}

// stop interrupts the program, and waits until it is gone.
func (r *running) stop() {
	_ = r.cmd.Process.Signal(os.Interrupt)
	r.gone <- <-r.gone
}

var servers sync.Map // by work folder, *running

func startServer(ts *testscript.TestScript, _ bool, args []string) {
	args = append([]string{"netns", "exec", ts.Getenv("NETNS"), "overlane", "server", "--data", "data", "--socket", "s.sock"}, args...)
	r := start(ts, "server.out", "server.log", exec.Command("ip", args...))
	servers.Store(ts.Getenv("WORK"), r)
	if err := r.serves(ts.Getenv("OVERLANE_SERVER")); err != nil {
		ts.Fatalf("the server does not serve: %v\n%s", err, ts.ReadFile("server.log"))
	}
}

func stopServer(ts *testscript.TestScript, _ bool, _ []string) {
	r, _ := servers.Load(ts.Getenv("WORK"))
	r.(*running).stop()
}

func startWatch(ts *testscript.TestScript, _ bool, args []string) {
	overlane, err := exec.LookPath("overlane")
	ts.Check(err)
	start(ts, args[0], args[0]+".err", exec.Command(overlane, append([]string{"watch"}, args[1:]...)...))
}

func (r *running) serves(address string) error {
	c, err := client.New(client.Config{Address: address})
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for {
		if _, err = c.Version(ctx); err == nil || ctx.Err() != nil {
			return err
		}
		select {
		case why := <-r.gone:
			r.gone <- why
			return fmt.Errorf("it ended: %w", why)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func wantStatus(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec("overlane", args[1:]...)
	got := 0
	if err != nil {
		got = -1
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			got = exit.ExitCode()
		}
	}
	if fmt.Sprint(got) != args[0] {
		ts.Fatalf("overlane %s: status %d, not %s: %v", strings.Join(args[1:], " "), got, args[0], err)
	}
}

func await(ts *testscript.TestScript, _ bool, args []string) {
	path, words := ts.MkAbs(args[0]), strings.Join(args[1:], " ")
	deadline := time.Now().Add(30 * time.Second)
	for {
		text, _ := os.ReadFile(path)
		if strings.Contains(string(text), words) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s never had %q; it has\n%s", args[0], words, text)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
