package e2e

import (
	"fmt"
	"slices"
	"testing"

	"github.com/overlane/overlane/lab"
	"github.com/overlane/overlane/model"
)

// An endpoint that a user has declared keeps its address wherever it is plugged in.
func TestEndpointMoves(t *testing.T) {
	t.Parallel()
	n := hosts(t, 3)
	n.apply("{kind: Endpoint, name: blue/web/db, spec: {address: 172.17.42.50}}")
	n.endpoint("host3 peer blue/web")
	first := n.endpoint("host1 db blue/web")
	n.ping("host3", "peer", "172.17.42.50")
	n.run("by detach and attach", func(n *network) {
		n.on("host1", "overlane", "detach", "--netns", "db")
		if ports := n.ports("host1"); len(ports) > 0 {
			n.t.Errorf("ports left on host1: %v", ports)
		}
		if !slices.Contains(n.known(), "blue/web/db") {
			n.t.Fatal("detach has deleted what a user has declared")
		}
		n.noPing("host3", "peer", "172.17.42.50")
		second := n.endpoint("host2 db blue/web")
		if second.Address != first.Address || second.MAC != first.MAC {
			n.t.Errorf("on host1 it was %s %s, on host2 it is %s %s", first.Address, first.MAC, second.Address, second.MAC)
		}
		n.ping("host3", "peer", "172.17.42.50")
	})
	n.run("no host takes it from another one", func(n *network) {
		n.refused("host1", argv("overlane attach --netns db --subnet blue/web"), "blue/web/db", "on another host", "detach it there first")
		n.ping("host3", "peer", "172.17.42.50")
	})
	n.run("by a change of intent", func(n *network) {
		n.apply("{kind: Endpoint, name: blue/web/db, spec: {host: host1}}")
		n.eventually("host2 has let go of it", func() error {
			if left := append(n.ports("host2"), n.interfaces("host2")...); len(left) > 0 {
				return fmt.Errorf("it has %v", left)
			}
			return nil
		})
		n.attach("host1", "--netns", "db", "--subnet", "blue/web")
		n.ping("host3", "peer", "172.17.42.50")
	})
}

func TestHostsJoinAndLeave(t *testing.T) {
	t.Parallel()
	n := hosts(t, 2)
	n.endpoint("host1 a blue/web")
	n.endpoint("host2 b blue/web")
	n.ping("host1", "a", "172.17.42.3")
	running := []*pings{n.pinging("host1", "a", "172.17.42.3")}
	n.lossless(running, func() {
		n.join("host3")
		n.endpoint("host3 c blue/web")
		n.ping("host1", "a", "172.17.42.4")
		n.ping("host3", "c", "172.17.42.3")
		n.awaitTunnel("host1", "host3", model.TunnelUp)

		n.refused("host1", argv("overlane delete host host3"), "Host host3", "blue/web/c")
		n.on("host3", "overlane", "detach", "--netns", "c")
		n.on("host1", "overlane", "delete", "host", "host3")
		if err := n.RemoveHost(t.Context(), "host3"); err != nil {
			t.Fatal(err)
		}
		for _, host := range []string{"host1", "host2"} {
			n.eventually(host+" forgets host3", func() error {
				for _, tunnel := range n.measured(host).Host.Tunnels {
					if tunnel.Peer == "host3" {
						return fmt.Errorf("it has a tunnel to it")
					}
				}
				return nil
			})
		}
	})
}

// A host that dies is deleted with what was on it, and another one of its name may come.
func TestHostDies(t *testing.T) {
	t.Parallel()
	n := hosts(t, 2)
	n.endpoint("host1 a blue/web --ip 172.17.42.2")
	n.endpoint("host2 b blue/web --ip 172.17.42.3")
	n.ping("host1", "a", "172.17.42.3")
	if err := n.RemoveHost(t.Context(), "host2"); err != nil {
		t.Fatal(err)
	}
	n.awaitTunnel("host1", "host2", model.TunnelDown)
	n.awaitState("blue/web/a", model.Attached)
	n.refused("host1", argv("overlane delete host host2"), "blue/web/b")
	n.on("host1", "overlane", "delete", "endpoint", "blue/web/b")
	n.on("host1", "overlane", "delete", "host", "host2")
	n.awaitState("blue/web/a", model.Ready)
	n.join("host2")
	n.endpoint("host2 b blue/web --ip 172.17.42.3")
	n.ping("host1", "a", "172.17.42.3")
}

// join adds a host and waits until it is ready.
func (n *network) join(name string) {
	n.t.Helper()
	if _, err := n.AddHost(n.t.Context(), lab.HostSpec{Name: name}); err != nil {
		n.t.Fatal(err)
	}
	n.awaitHostReady(name)
}
