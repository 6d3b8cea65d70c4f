package dataplane_test

import (
	"strings"
	"testing"

	"github.com/overlane/overlane/dataplane"
	"github.com/overlane/overlane/dataplane/flow/sim"
)

const handedOn = `
{kind: Host, name: h1, spec: {address: 192.168.5.2}}
---
{kind: Host, name: g1, spec: {address: 192.168.5.11, roles: [gateway], outside: {interface: eth1, address: 203.0.113.11/24, router: 203.0.113.1}}}
---
{kind: PublicPool, name: world, spec: {cidrs: [1.22.3.0/24]}}
---
{kind: VPC, name: blue}
---
{kind: InternetGateway, name: blue, spec: {design: central, snat: true, pool: world}}
---
{kind: Subnet, name: blue/web, spec: {cidr: 10.0.1.0/24, vni: 100}}
---
{kind: Endpoint, name: blue/web/a, spec: {host: h1, address: 10.0.1.2}}
---
{kind: Endpoint, name: blue/web/c, spec: {host: h1, address: 10.0.1.4}}
---
`

// Conntrack remembers the connections of whoever had an address or a port before. They are not the new one's, and
// nobody goes on with them.
func TestConnectionsDoNotPassOnWithAnAddress(t *testing.T) {
	for name, intent := range map[string]string{
		"a public IP": "{kind: PublicIP, name: blue/p, spec: {address: 1.22.3.5, endpoint: blue/web/OWNER}}",
		"a forward": "{kind: PublicIP, name: blue/p, spec: {address: 1.22.3.5}}\n---\n" +
			"{kind: Forward, name: blue/f, spec: {publicIP: blue/p, port: 443, endpoint: blue/web/OWNER, targetPort: 443}}",
	} {
		t.Run(name, func(t *testing.T) {
			var remembered sim.Connections
			of := func(owner string) func(line string) string {
				n := newNetwork(t, []byte(handedOn+strings.ReplaceAll(intent, "OWNER", owner)))
				h := n.hosts["h1"]
				h.sim = sim.New(sim.Config{Flows: h.entries.Flows, Groups: h.entries.Groups,
					Symbols: dataplane.Symbols(h.entries.Groups), Connections: &remembered})
				return func(line string) string {
					at, packet := n.packet(t, strings.Fields(line))
					return n.hosts[at].sim.Send(packet).String()
				}
			}
			const (
				toPublic     = "h1<192.168.5.11/15728640 tcp 1.22.3.5 from 198.51.100.10 ports 4000-443"
				anew         = "h1<192.168.5.11/15728640 tcp 1.22.3.5 from 198.51.100.10 ports 4001-443"
				fromA        = "blue/web/a tcp 198.51.100.10 ports 443-4000 flags syn-ack"
				fromC        = "blue/web/c tcp 198.51.100.10 ports 443-4001 flags syn-ack"
				toBorderHost = "sent to port 1"
			)
			send := of("a")
			if story := send(toPublic); !strings.Contains(story, "sent to port 10") {
				t.Fatalf("the first owner is not reached:\n%s", story)
			}
			if story := send(fromA); !strings.Contains(story, "source becomes 1.22.3.5") || !strings.Contains(story,
				toBorderHost) {
				t.Fatalf("the first owner does not answer:\n%s", story)
			}
			send = of("c")
			if story := send(toPublic); strings.Contains(story, "sent to port") {
				t.Errorf("somebody goes on with the first owner's connection:\n%s", story)
			}
			if story := send(fromA); !strings.Contains(story, "source becomes 1.22.3.5") || strings.Contains(story,
				"sent to port") {
				t.Errorf("the first owner goes on to send in the name of the address:\n%s", story)
			}
			if story := send(anew); !strings.Contains(story, "sent to port 11") {
				t.Errorf("the second owner is not reached:\n%s", story)
			}
			if story := send(fromC); !strings.Contains(story, toBorderHost) {
				t.Errorf("the second owner does not answer:\n%s", story)
			}
		})
	}
}
