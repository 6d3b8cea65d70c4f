package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/overlane/overlane/lab"
	"github.com/overlane/overlane/lab/labtest"
	"github.com/overlane/overlane/model"
)

// The last release's agents and server run a lab of two hosts and two gateways, and this version's replace them one
// after the other, in both orders. No packet of running endpoints is lost, and in between endpoints come and go as
// ever.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	release, now := lastRelease(t), labtest.Binary(t)
	agents := []string{"host1", "host2", "g1", "g2"}
	for _, order := range []struct {
		name  string
		steps []string
	}{
		{"agents first", append(agents, "server")},
		{"server first", append([]string{"server"}, agents...)},
	} {
		t.Run(order.name, func(t *testing.T) {
			t.Parallel()
			n := shared(t, func(o *lab.Options) { o.Binary = release })
			n.apply("{kind: PublicIP, name: blue/c, spec: {address: 1.22.3.9, endpoint: blue/web/c}}")
			n.endpoint("host2 c blue/web --ip 172.17.42.5")
			n.awaitState("blue/web/c", model.Ready)
			addresses := n.manyServers()
			w := &watching{n: n, streams: []*stream{
				n.streaming("east-west", n.inside("host1", "a"), n.inside("host2", "b"), 7301, "172.17.42.3"),
				n.streaming("by a shared address", n.inside("host1", "a"), n.Machine("server").Netns(), 7302, addresses...),
				n.streaming("to a public address", n.Machine("client").Netns(), n.inside("host2", "c"), 7303, "1.22.3.9"),
			}, transfers: []*transfer{
				n.transferring("TCP by a shared address", n.inside("host2", "b"), n.Machine("server").Netns(), addresses[0], 7304),
			}}
			w.recover()
			if err := n.Use(now); err != nil {
				t.Fatal(err)
			}
			for i, what := range order.steps {
				w.watch().LosslessOnce(t, labtest.Event{What: "the " + what + " of this version replaces the release's", Do: func() { n.replace(what) }})
				n.comesAndGoes(i)
			}
		})
	}
}

// replace ends a program as an upgrade of its package does, and starts this version's.
func (n *network) replace(what string) {
	n.t.Helper()
	ctx := n.t.Context()
	n.t.Log(time.Now().Format(clock), "replace", what)
	if what == "server" {
		if err := n.Server.Stop(ctx); err != nil {
			n.t.Fatal(err)
		}
		n.startServer()
		n.serverAnswers()
	} else {
		if err := n.Host(what).StopAgent(ctx); err != nil {
			n.t.Fatal(err)
		}
		n.startAgent(what)
	}
	for _, h := range n.Hosts() {
		n.awaitHostReady(h.Name)
	}
	n.awaitOpen("g1", "g2")
}

// comesAndGoes attaches an endpoint on each of the two hosts, has them reach each other and older endpoints, and
// detaches them.
func (n *network) comesAndGoes(i int) {
	n.t.Helper()
	x, y := fmt.Sprintf("x%d", i), fmt.Sprintf("y%d", i)
	n.endpoint("host1 " + x + " blue/web --ip 172.17.42.20")
	n.endpoint("host2 " + y + " blue/web --ip 172.17.42.21")
	n.ping("host1", x, "172.17.42.21")
	n.ping("host1", x, "172.17.42.3")
	n.ping("host1", "a", "172.17.42.21")
	n.leaves(n.inside("host1", x))
	n.on("host1", "overlane", "detach", "--netns", x)
	n.on("host2", "overlane", "detach", "--netns", y)
	n.on("host1", "ip", "netns", "del", x)
	n.on("host2", "ip", "netns", "del", y)
}

// lastRelease is the overlane binary of the last release, built in a worktree of its commit.
func lastRelease(t *testing.T) string {
	t.Helper()
	file, err := os.ReadFile("../scripts/last-release")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(file)), "\n")
	version, commit, _ := strings.Cut(lines[len(lines)-1], " ")
	dir, err := filepath.Abs("../.cache/release-" + version)
	if err != nil {
		t.Fatal(err)
	}
	run := func(dir, name string, args ...string) {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build the last release, %s %s: %v\n%s", version, commit, err, out)
		}
	}
	if _, err := os.Stat(dir); err != nil {
		run("..", "git", "worktree", "prune")
		run("..", "git", "worktree", "add", "--detach", dir, commit)
	}
	run(dir, "git", "checkout", "--quiet", "--detach", commit)
	binary := filepath.Join(dir, "bin", "overlane")
	run(dir, "go", "build", "-buildvcs=false", "-o", binary, "./cmd/overlane")
	return binary
}
