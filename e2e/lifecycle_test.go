package e2e

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/overlane/overlane/lab/labtest"
	"github.com/overlane/overlane/model"
)

// pair is two hosts with an endpoint each that are pinged every 10 ms, across hosts and inside one.
func pair(t *testing.T) (n *network, running []*pings) {
	n = hosts(t, 2)
	n.endpoint("host1 a blue/web --ip 172.17.42.2")
	n.endpoint("host1 a2 blue/web --ip 172.17.42.4")
	n.endpoint("host2 b blue/web --ip 172.17.42.3")
	n.ping("host1", "a", "172.17.42.3")
	return n, []*pings{n.pinging("host1", "a", "172.17.42.3"), n.pinging("host2", "b", "172.17.42.4"), n.pinging("host1", "a2", "172.17.42.2")}
}

func (n *network) killAgent(host string) {
	n.t.Helper()
	n.Log().Info("kill agent", "host", host)
	labtest.TookPart(n.t, n.Lab, host)
	if err := n.Host(host).KillAgent(n.t.Context(), syscall.SIGKILL); err != nil {
		n.t.Fatal(err)
	}
}

func (n *network) startAgent(host string) {
	n.t.Helper()
	n.Log().Info("start agent", "host", host)
	labtest.TookPart(n.t, n.Lab, host)
	if err := n.Host(host).StartAgent(n.t.Context()); err != nil {
		n.t.Fatal(err)
	}
}

func (n *network) killServer() {
	n.t.Helper()
	n.Log().Info("kill server")
	if err := n.Server.Kill(n.t.Context(), syscall.SIGKILL); err != nil {
		n.t.Fatal(err)
	}
}

func (n *network) startServer() {
	n.t.Helper()
	n.Log().Info("start server")
	if err := n.Server.Start(n.t.Context()); err != nil {
		n.t.Fatal(err)
	}
}

// An agent that is killed, while intent changes, loses no packet and catches up.
//
// No interface comes or goes on the two hosts meanwhile: whenever one does, ovs-vswitchd on the userspace datapath
// forgets its routes and reads them again, and a tunnel that is looked up between the two drops (about one in a hundred
// times, without Overlane too).
func TestAgentKilled(t *testing.T) {
	t.Parallel()
	n, running := pair(t)
	n.lossless(running, func() {
		n.join("host3")
		n.endpoint("host3 old blue/web --ip 172.17.42.8")
		n.ping("host1", "a", "172.17.42.8")
		n.killAgent("host1")
		running[0].more(50)
		n.refused("host1", argv("overlane attach --netns a --subnet blue/web"), "agent", "is it running?")
		n.endpoint("host3 new blue/web --ip 172.17.42.9")
		n.on("host3", "overlane", "detach", "--netns", "old")
		n.startAgent("host1")
		n.awaitHostReady("host1")
		n.ping("host1", "a", "172.17.42.9")
		n.eventually("host1 has no flow of what is gone", func() error { return errIf(strings.Contains(n.flows("host1"), "reg3=0xac112a08")) })
		running[0].more(50)
	})
	n.run("and unplugs what was deleted meanwhile", func(n *network) {
		n.killAgent("host1")
		n.on("host1", "overlane", "delete", "endpoint", "blue/web/a2")
		n.startAgent("host1")
		n.eventually("one port is left", func() error {
			if p := n.ports("host1"); len(p) != 1 {
				return fmt.Errorf("ports are %v", p)
			}
			return nil
		})
		n.ping("host1", "a", "172.17.42.9")
	})
}

// An agent that starts while the server is away leaves everything as it is, mends what is missing, and catches up when
// the server is back.
func TestAgentStartsWithoutServer(t *testing.T) {
	t.Parallel()
	n, running := pair(t)
	n.eventually("the view is on disk", func() error {
		_, err := n.try("host2", "grep", "-rq", "172.17.42.4", "/var/lib/overlane")
		return err
	})
	before := n.content("host2")
	restart := func(n *network) {
		n.startAgent("host2")
		n.eventually("the agent says what it waits for", func() error {
			s, err := n.tryMeasured("host2")
			return errors.Join(err, errIf(!strings.Contains(s.Host.Reason, "server has not been reached")))
		})
		running[0].more(100)
		if diff := cmp.Diff(before, n.content("host2")); diff != "" {
			n.t.Errorf("the switch has changed (-before +after):\n%s", diff)
		}
	}
	n.lossless(running, func() {
		n.killServer()
		n.killAgent("host2")
		n.run("nor has it its last view", func(n *network) {
			n.on("host2", "sh", "-c", "mkdir /run/kept && mv /var/lib/overlane/view* /run/kept")
			restart(n)
		})
		n.killAgent("host2")
		n.on("host2", "sh", "-c", "rm -f /var/lib/overlane/view*; mv /run/kept/* /var/lib/overlane")
		restart(n)
	})
	n.on("host2", argv("ovs-ofctl -O OpenFlow15 del-flows br-overlane cookie=0x0f1a000000000000/0xffff000000000000")...)
	n.eventually("what somebody removed is put back", func() error { return errIf(n.content("host2") != before) })
	n.ping("host1", "a", "172.17.42.3")
	n.startServer()
	n.awaitHostReady("host2")
	n.eventually("host1 has found the server, too", func() error { return errIf(n.measured("host1").Away != "") })
	n.endpoint("host2 c blue/web --ip 172.17.42.9")
	n.ping("host1", "a", "172.17.42.9")
}

func errIf(bad bool) error {
	if bad {
		return errors.New("not so yet")
	}
	return nil
}

// The network goes on without the server; what needs it says so, and leaves nothing behind.
func TestServerKilled(t *testing.T) {
	t.Parallel()
	n, running := pair(t)
	known, ports, interfaces := n.known(), n.ports("host2"), n.interfaces("host2")
	n.lossless(running, func() {
		n.killServer()
		running[0].more(50)
		n.on("host2", "ip", "netns", "add", "c")
		n.refused("host2", argv("overlane attach --netns c --subnet blue/web"), "server https://192.168.5.2:7443", "is overlane server running there?")
		n.refused("host1", argv("overlane get endpoints"), "server")
		if got := n.ports("host2"); !slices.Equal(got, ports) {
			t.Errorf("ports were %v, are %v", ports, got)
		}
		if got := n.interfaces("host2"); !slices.Equal(got, interfaces) {
			t.Errorf("interfaces were %v, are %v", interfaces, got)
		}
		if out, err := n.in("host2", "c", "ip", "-br", "link"); err != nil || strings.Contains(out, "eth0") {
			t.Errorf("left inside: %v, %s", err, out)
		}
		if s := n.measured("host2"); s.Endpoints["blue/web/b"].State != model.Ready && s.Endpoints["blue/web/b"].State != model.Attached {
			t.Errorf("what was attached is said to be %+v", s.Endpoints)
		}
		n.startServer()
		n.serverAnswers()
		if got := n.known(); !slices.Equal(got, known) {
			t.Errorf("endpoints were %v, are %v", known, got)
		}
		running[0].more(50)
	})
	n.eventually("agents reach the server again", func() error {
		_, err := n.try("host2", argv("overlane attach --netns c --subnet blue/web")...)
		return err
	})
	n.ping("host2", "c", "172.17.42.2")
	// Where the server's machine says so, a fresh status of every host.
	for _, e := range []string{"blue/web/a", "blue/web/a2", "blue/web/b", "blue/web/c"} {
		n.awaitState(e, model.Ready)
	}
}

// Whatever of Open vSwitch ends and starts again, the host recovers without anybody's help.
func TestOpenVSwitchRestarts(t *testing.T) {
	t.Parallel()
	n := hosts(t, 2)
	n.endpoint("host1 a blue/web --ip 172.17.42.2")
	n.endpoint("host2 b blue/web --ip 172.17.42.3")
	n.ping("host1", "a", "172.17.42.3")
	want := n.content("host2")
	h := n.Host("host2")
	must := func(n *network, errs ...error) {
		n.t.Helper()
		if err := errors.Join(errs...); err != nil {
			n.t.Fatal(err)
		}
	}
	recovers := func(n *network) {
		n.t.Helper()
		n.eventually("the switch has what it must", func() error {
			if diff := cmp.Diff(want, n.content("host2")); diff != "" {
				return errors.New(diff)
			}
			return nil
		})
		n.awaitHostReady("host2")
		n.eventually("packets flow", func() error {
			_, err := n.in("host1", "a", "ping", "-c1", "-W1", "172.17.42.3")
			return err
		})
		n.awaitTunnel("host2", "host1", model.TunnelUp)
		n.awaitState("blue/web/b", model.Ready)
	}
	n.run("both daemons, as in an upgrade", func(n *network) {
		must(n, h.RestartOVS(n.t.Context()))
		recovers(n)
	})
	n.run("ovs-vswitchd killed", func(n *network) {
		daemon := h.Daemons()["ovs-vswitchd"]
		must(n, daemon.Kill(n.t.Context(), syscall.SIGKILL), daemon.Start(n.t.Context()))
		recovers(n)
	})
	n.run("ovsdb-server killed", func(n *network) {
		daemon := h.Daemons()["ovsdb-server"]
		must(n, daemon.Kill(n.t.Context(), syscall.SIGKILL), daemon.Start(n.t.Context()))
		recovers(n)
	})
	n.run("all daemons of the host", func(n *network) {
		must(n, h.StopAgent(n.t.Context()), h.RestartOVS(n.t.Context()))
		n.startAgent("host2")
		recovers(n)
	})
	n.run("away for a while, and said so", func(n *network) {
		must(n, h.StopOVS(n.t.Context()))
		n.eventually("status tells", func() error {
			s, err := n.tryMeasured("host2")
			return errors.Join(err, errIf(s.Host.Ready || s.Host.Reason == ""))
		})
		must(n, h.RestartOVS(n.t.Context()))
		recovers(n)
	})
}
