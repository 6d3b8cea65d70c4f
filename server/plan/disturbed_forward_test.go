package plan

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/overlane/overlane/model"
)

// A plan names each forwarded port whose connections may break, and no others.
func TestPlanDisturbsForwards(t *testing.T) {
	before := admitted(t, model.NewState(), `
- {kind: Host, name: h1, spec: {address: 192.168.5.2}}
- {kind: Host, name: g1, spec: {address: 192.168.5.3, roles: [gateway], outside: {interface: eth1, address: 198.51.100.3/24, router: 198.51.100.1}}}
- {kind: Host, name: g2, spec: {address: 192.168.5.4, roles: [gateway], outside: {interface: eth1, address: 198.51.100.4/24, router: 198.51.100.1}}}
- {kind: VPC, name: blue}
- {kind: Subnet, name: blue/web, spec: {cidr: 10.0.0.0/24}}
- {kind: Endpoint, name: blue/web/a, spec: {host: h1}}
- {kind: Endpoint, name: blue/web/b, spec: {host: h1}}
- {kind: Endpoint, name: blue/web/unplugged}
- {kind: InternetGateway, name: blue, spec: {design: central}}
- {kind: PublicPool, name: world, spec: {cidrs: [203.0.113.0/24]}}
- {kind: PublicIP, name: blue/i}
- {kind: Forward, name: blue/a, spec: {publicIP: blue/i, port: 443, endpoint: blue/web/a}}
- {kind: Forward, name: blue/b, spec: {publicIP: blue/i, protocol: udp, port: 443, endpoint: blue/web/b}}
- {kind: Forward, name: blue/u, spec: {publicIP: blue/i, port: 80, endpoint: blue/web/unplugged}}
`)
	const a, b = "port 203.0.113.0:443/tcp (Forward blue/a) of Endpoint blue/web/a: ",
		"port 203.0.113.0:443/udp (Forward blue/b) of Endpoint blue/web/b: "
	for _, c := range []struct {
		yaml string
		want []string
	}{
		{"{kind: InternetGateway, name: blue, spec: {hosts: [g1, g2]}}", nil},
		{"{kind: InternetGateway, name: blue, spec: {hosts: [g2]}}", []string{a + "passes other hosts: g2, not g1, g2",
			b + "passes other hosts: g2, not g1, g2"}},
		{"{kind: PublicIP, name: blue/i, spec: {address: 203.0.113.9}}",
			[]string{a + "is given up for 203.0.113.9:443/tcp", b + "is given up for 203.0.113.9:443/udp"}},
		{"{kind: Forward, name: blue/a, spec: {publicIP: blue/i, port: 8443, endpoint: blue/web/a}}",
			[]string{a + "is given up for 203.0.113.0:8443/tcp"}},
		{"{kind: Forward, name: blue/a, spec: {publicIP: blue/i, port: 443, endpoint: blue/web/b}}",
			[]string{a + "goes to Endpoint blue/web/b"}},
		{"{kind: Forward, name: blue/b, spec: {publicIP: blue/i, protocol: udp, port: 443, endpoint: blue/web/b, targetPort: 8443}}", []string{b + "goes to its port 8443, not 443"}},
		{"{kind: Forward, name: blue/u, spec: {publicIP: blue/i, port: 81, endpoint: blue/web/unplugged}}", nil},
		{"{kind: Forward, name: blue/new, spec: {publicIP: blue/i, port: 81, endpoint: blue/web/a}}", nil},
	} {
		changes := changesOf(t, before, c.yaml)
		if diff := cmp.Diff(c.want, Disturbed(before, before.With(2, changes), changes)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.yaml, diff)
		}
	}
	changes, err := model.Admit(before, model.Request{Delete: []model.Key{{Kind: "Forward", Name: "blue/a"},
		{Kind: "Forward", Name: "blue/u"}}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{a + "is given up"}, Disturbed(before, before.With(2, changes), changes)); diff != "" {
		t.Errorf("delete (-want +got):\n%s", diff)
	}
}
