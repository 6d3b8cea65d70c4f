package e2e

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/overlane/overlane/lab"
)

// central is a lab of two hosts and two gateways, whose next hops the router uses side by side, with the article's intent.
func central(t testing.TB) *network {
	t.Helper()
	n := up(t, lab.File{
		Hosts:  []lab.HostSpec{{Name: "host1"}, {Name: "host2"}, {Name: "g1", Uplink: true}, {Name: "g2", Uplink: true}},
		Server: "host1",
		Outside: &lab.Outside{Machines: []lab.MachineSpec{{Name: "client"}, {Name: "server"}},
			Routes: []lab.Route{{To: netip.MustParsePrefix("1.22.3.0/24"), Via: []netip.Addr{netip.MustParseAddr("203.0.113.11"), netip.MustParseAddr("203.0.113.12")}}}},
	})
	n.apply(article)
	for host, nextHop := range map[string]string{"g1": "203.0.113.11/24", "g2": "203.0.113.12/24"} {
		n.apply(fmt.Sprintf("{kind: Host, name: %s, spec: {address: %s, roles: [gateway], outside: {interface: eth1, address: %s, router: 203.0.113.1}}}",
			host, n.Host(host).Address, nextHop))
	}
	n.apply(`
{kind: PublicPool, name: world, spec: {cidrs: [1.22.3.0/24]}}
---
{kind: InternetGateway, name: blue, spec: {design: central}}
---
{kind: PublicIP, name: blue/a, spec: {address: 1.22.3.5, endpoint: blue/web/a}}
---
{kind: PublicIP, name: blue/b, spec: {address: 1.22.3.6, endpoint: blue/web/b}}
`)
	n.endpoint("host1 a blue/web --ip 172.17.42.2")
	n.endpoint("host2 b blue/web --ip 172.17.42.3")
	n.endpoint("host1 c blue/web --ip 172.17.42.4")
	return n
}

func TestCentral(t *testing.T) {
	t.Parallel()
	n := central(t)
	n.reaches("host1", "a", n.Machine("server").Address.String())
}
