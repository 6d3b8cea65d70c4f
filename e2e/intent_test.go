package e2e

import (
	"strings"
	"testing"
)

// A walk through the commands of intent, as a person would; what is refused, and how, has tests of its own beside the
// commands.
func TestIntent(t *testing.T) {
	t.Parallel()
	n := hosts(t, 1)
	n.endpoint("host1 a blue/web --ip 172.17.42.2")
	n.run("apply is all or nothing", func(n *network) {
		n.on("host1", "sh", "-c", `cat >/run/bad.yaml <<E
{kind: Subnet, name: blue/good, spec: {cidr: 10.1.0.0/24}}
---
{kind: Subnet, name: blue/bad, spec: {cidr: 172.17.42.128/25}}
E`)
		n.refused("host1", argv("overlane apply -f /run/bad.yaml"), "blue/bad", "spec.cidr", "172.17.42.128/25", "blue/web")
		if got := n.on("host1", "overlane", "get", "subnets"); strings.Contains(got, "blue/good") {
			n.t.Errorf("half of it is applied:\n%s", got)
		}
	})
	n.run("plan changes nothing and tells of flows", func(n *network) {
		n.on("host1", "sh", "-c", `echo '{kind: Endpoint, name: blue/web/new, spec: {host: host1}}' >/run/plan.yaml`)
		if got := n.on("host1", "overlane", "plan", "-f", "/run/plan.yaml"); !strings.Contains(got, "blue/web/new") {
			n.t.Errorf("plan: %s", got)
		}
		if got := n.on("host1", "overlane", "get", "endpoints"); strings.Contains(got, "blue/web/new") {
			n.t.Errorf("plan has applied it:\n%s", got)
		}
	})
	n.run("what is in use stays", func(n *network) {
		n.refused("host1", argv("overlane delete subnet blue/web"), "Subnet blue/web", "blue/web/a")
		n.refused("host1", argv("overlane delete vpc blue"), "VPC blue", "blue/web")
		n.ping("host1", "a", "172.17.42.1")
	})
	n.run("an endpoint that is deleted is unplugged", func(n *network) {
		n.on("host1", "overlane", "delete", "endpoint", "blue/web/a")
		n.eventually("its port is gone", func() error { return errIf(len(n.ports("host1"))+len(n.interfaces("host1")) > 0) })
		n.on("host1", "overlane", "delete", "subnet", "blue/web")
		n.on("host1", "overlane", "delete", "vpc", "blue")
		n.eventually("and no flow is left of it", func() error { return errIf(strings.Contains(n.flows("host1"), "reg4=0x64/")) })
	})
}

// A host has a certificate, and may do what hosts do.
func TestHostsRights(t *testing.T) {
	t.Parallel()
	n := hosts(t, 2)
	n.endpoint("host1 a blue/web")
	const asHost = "--server=https://192.168.5.2:7443"
	for _, tt := range []struct{ command, words string }{
		{"overlane delete endpoint blue/web/a " + asHost, "host2"},
		{"overlane delete vpc red " + asHost, "host2"},
		{"overlane token create " + asHost, "host2"},
		{"overlane host revoke host1 " + asHost, "host2"},
	} {
		n.refused("host2", argv(tt.command), tt.words)
	}
	n.on("host2", "ip", "addr", "add", "192.168.5.77/32", "dev", "lo")
	token := strings.TrimSpace(n.on("host1", "overlane", "token", "create", "--host", "host7"))
	n.refused("host2", argv("overlane join 192.168.5.2:7443 "+token+" --name host8 --no-start --config-dir /run/h8"), "host7")
	n.on("host2", "overlane", "join", "192.168.5.2:7443", token, "--name", "host7", "--address", "192.168.5.77", "--no-start", "--config-dir", "/run/h7")
	n.refused("host2", argv("overlane join 192.168.5.2:7443 "+token+" --name host7 --no-start --config-dir /run/h7b"), "token")
	if got := n.known(); len(got) != 1 {
		t.Errorf("endpoints are %v", got)
	}
}
