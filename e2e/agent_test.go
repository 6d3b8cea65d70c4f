package e2e

import (
	"errors"
	"strings"
	"testing"

	"github.com/overlane/overlane/model"
)

// What a person does in a row on one host: detach by name, attach again at once, a second interface, a host that was
// away.
func TestAgentFollowsItsPeople(t *testing.T) {
	t.Parallel()
	n := hosts(t, 1)
	n.run("detach by the name that attach has printed", func(n *network) {
		n.endpoint("host1 a blue/web")
		if out := n.on("host1", argv("overlane detach blue/web/a")...); out != "blue/web/a detached\n" {
			n.t.Errorf("detach says %q", out)
		}
		if got := n.known(); len(got) != 0 {
			n.t.Errorf("there are still %v", got)
		}
		for _, what := range []string{"blue/web/a", "nosuch"} {
			if out := n.on("host1", "overlane", "detach", what); out != "nothing of "+what+" is attached here\n" {
				n.t.Errorf("detaching what is not attached says %q", out)
			}
		}
	})
	n.run("attached again at once, its status is known", func(n *network) {
		for range 3 {
			n.attach("host1", argv("--netns a --subnet blue/web --ip 172.17.42.7")...)
			n.awaitState("blue/web/a", model.Ready)
			n.on("host1", argv("overlane detach --netns a")...)
		}
	})
	n.run("a second interface without a gateway", func(n *network) {
		n.endpoint("host1 two blue/web")
		r := n.attach("host1", argv("--netns two --subnet red/web --interface eth1 --no-gateway")...)
		if r.Gateway.IsValid() || r.Interface != "eth1" {
			n.t.Errorf("got %+v", r)
		}
		routes, err := n.in("host1", "two", "ip", "route")
		if err != nil || strings.Count(routes, "default") != 1 || !strings.Contains(routes, "default via 172.17.42.1 dev eth0") {
			n.t.Errorf("routes: %v\n%s", err, routes)
		}
		out := n.on("host1", argv("overlane attach --netns two --subnet red/web --interface eth1 --no-gateway")...)
		if !strings.Contains(out, "unchanged") || !strings.Contains(out, "no gateway") {
			n.t.Errorf("again: %s", out)
		}
		n.awaitState("red/web/two", model.Ready)
	})
	n.run("deleted while the agent was dead", func(n *network) {
		n.killAgent("host1")
		n.on("host1", argv("ip netns del two")...)
		n.startAgent("host1")
		n.eventually("its endpoints are released", func() error {
			if got := n.known(); len(got) != 0 {
				return errors.New(strings.Join(got, " "))
			}
			return nil
		})
		n.endpoint("host1 two blue/web")
		if out, err := n.in("host1", "two", "ip", "-br", "link", "show", "eth0"); err != nil {
			n.t.Errorf("by the same name: %v\n%s", err, out)
		}
	})
}
