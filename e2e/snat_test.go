package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/overlane/overlane/lab"
	"github.com/overlane/overlane/lab/labtest"
)

// outside is a lab with two machines on the internet, and the article's intent.
func outside(t testing.TB, docker bool, hosts ...lab.HostSpec) *network {
	t.Helper()
	f := lab.File{
		Hosts: hosts, Server: hosts[0].Name,
		Outside: &lab.Outside{Machines: []lab.MachineSpec{{Name: "client"}, {Name: "server"}}},
	}
	n := up(t, f)
	n.apply(article)
	return n
}

// at runs a command on a machine outside.
func (n *network) at(machine string, argv ...string) string {
	n.t.Helper()
	return labtest.Exec(n.t, n.Machine(machine), argv...)
}

// reaches waits until an echo comes back: a way outside is open once its host has seen to it.
func (n *network) reaches(host, netns, to string) {
	n.t.Helper()
	n.eventually(netns+" reaches "+to, func() error {
		_, err := n.in(host, netns, "ping", "-c1", "-W1", to)
		return err
	})
}

// Each VPC leaves by the host that its endpoint is on, in the host's name and then the site's: the article's double NAT.
func TestSNAT(t *testing.T) {
	t.Parallel()
	n := outside(t, true, lab.HostSpec{Name: "host1", Docker: true}, lab.HostSpec{Name: "host2"})
	server := n.Machine("server").Address.String()
	n.endpoint("host1 a blue/web --ip 172.17.42.2")
	n.endpoint("host1 ra red/web --ip 172.17.42.2")
	n.endpoint("host2 b blue/web --ip 172.17.42.10")
	n.run("off by default", func(n *network) {
		n.says("host1", "a", "Destination Net Unreachable", "ping", "-c1", "-W5", server)
	})
	n.apply("{kind: InternetGateway, name: blue, spec: {snat: true}}")
	n.run("on for one VPC, on every host", func(n *network) {
		n.reaches("host1", "a", server)
		n.reaches("host2", "b", server)
		n.says("host1", "ra", "Destination Net Unreachable", "ping", "-c1", "-W5", server)
	})
	n.apply("{kind: InternetGateway, name: red, spec: {snat: true}}")
	n.run("VPCs with the same addresses side by side", func(n *network) {
		n.reaches("host1", "ra", server)
		n.ping("host1", "a", server)
	})
	_ = fmt.Sprint(strings.ToUpper(server))
}
