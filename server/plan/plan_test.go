package plan

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/server/api"
)

// A plan names the flows that one endpoint more means to its own host, and to another member of its subnet; a host
// that is no member is not in it.
func TestPlanFlows(t *testing.T) {
	before := admitted(t, model.NewState(), `
kind: Host
name: h1
spec: {address: 192.168.5.2}
---
kind: Host
name: h2
spec: {address: 192.168.5.3}
---
kind: Host
name: h3
spec: {address: 192.168.5.4}
---
kind: VPC
name: blue
---
kind: Subnet
name: blue/web
spec: {cidr: 10.0.0.0/24, vni: 100}
---
kind: Endpoint
name: blue/web/a
spec: {host: h1, address: 10.0.0.2}
---
kind: Endpoint
name: blue/web/b
spec: {host: h2, address: 10.0.0.3}
`)
	changes := changesOf(t, before, "kind: Endpoint\nname: blue/web/c\nspec: {host: h1, address: 10.0.0.9}\n")
	got := Flows(before, before.With(2, changes), changes)
	const (
		group = "group=flood(blue/web),type=all; actions=output:blue/web/a; actions="
		toH2  = "set_field:192.168.5.3->tun_dst,set_field:100->tun_id,output:tunnel"
	)
	want := []api.HostFlows{
		{Host: "h1", Add: []string{
			group + "output:blue/web/c; actions=" + toH2,
			"table=admit,priority=100,in_port=blue/web/c actions=set_field:100->vni,set_field:15728640->vpc,goto_table:source",
			"table=locate,priority=100,key=10.0.0.9,vpc=15728640 actions=set_field:100->found_vni,set_field:here->found_kind," +
				"set_field:0.0.0.0->found_vtep,set_field:blue/web/c->found_port,set_field:02:4f:0a:00:00:09->found_mac",
			"table=verify,priority=100,found_port=blue/web/c,in_port=blue/web/c,dl_src=02:4f:0a:00:00:09 actions=drop",
		}, Delete: []string{group + toH2}},
		{Host: "h2", Add: []string{
			"table=locate,priority=100,key=10.0.0.9,vpc=15728640 actions=set_field:100->found_vni,set_field:elsewhere->found_kind," +
				"set_field:192.168.5.2->found_vtep,set_field:0->found_port,set_field:02:4f:0a:00:00:09->found_mac",
		}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("plan (-want +got):\n%s", diff)
	}
}

// A plan names each public address and the SNAT of each VPC whose connections may break, and no others.
func TestPlanDisturbs(t *testing.T) {
	before := admitted(t, model.NewState(), `
- {kind: Host, name: h1, spec: {address: 192.168.5.2, natPrefix: 10.200.1.0/24}}
- {kind: Host, name: e1, spec: {address: 192.168.5.3, roles: [edge, gateway], outside: {interface: eth1, address: 198.51.100.3/24, router: 198.51.100.1}}}
- {kind: Host, name: e2, spec: {address: 192.168.5.4, roles: [edge, gateway], outside: {interface: eth1, address: 198.51.100.4/24, router: 198.51.100.1}}}
- {kind: VPC, name: blue}
- {kind: Subnet, name: blue/web, spec: {cidr: 10.0.0.0/24}}
- {kind: Endpoint, name: blue/web/a, spec: {host: h1}}
- {kind: Endpoint, name: blue/web/b, spec: {host: h1}}
- {kind: Endpoint, name: blue/web/c, spec: {host: h1}}
- {kind: Endpoint, name: blue/web/unplugged}
- {kind: InternetGateway, name: blue, spec: {snat: true}}
- {kind: PublicPool, name: world, spec: {cidrs: [203.0.113.0/24]}}
- {kind: PublicIP, name: blue/a, spec: {endpoint: blue/web/a}}
- {kind: PublicIP, name: blue/u, spec: {endpoint: blue/web/unplugged}}
- {kind: PublicIP, name: blue/later}
`)
	central := admitted(t, before, "{kind: InternetGateway, name: blue, spec: {snat: true, design: central}}")
	const a = "public address 203.0.113.0 (PublicIP blue/a) of Endpoint blue/web/a: "
	const snat = "connections of 2 endpoints of VPC blue by SNAT: "
	for _, c := range []struct {
		yaml string
		want []string
	}{
		{"{kind: InternetGateway, name: blue, spec: {snat: true, allow: [192.168.5.0/24]}}", nil},
		{"{kind: InternetGateway, name: blue, spec: {snat: true, hosts: [e1, e2]}}", nil},
		{"{kind: InternetGateway, name: blue}", []string{snat + "it is turned off"}},
		{"{kind: InternetGateway, name: blue, spec: {snat: true, hosts: [e2]}}",
			[]string{a + "passes other hosts: e2, not e1, e2", snat + "it passes other hosts: e2, not e1, e2"}},
		{"{kind: InternetGateway, name: blue, spec: {snat: true, design: central}}",
			[]string{a + "is reached in another design: central, not distributed",
				snat + "it is reached in another design: central, not distributed"}},
		{"{kind: PublicIP, name: blue/a}", []string{a + "is taken from it"}},
		{"{kind: PublicIP, name: blue/a, spec: {endpoint: blue/web/b}}", []string{a + "goes to Endpoint blue/web/b"}},
		{"{kind: PublicIP, name: blue/a, spec: {endpoint: blue/web/a, address: 203.0.113.9}}",
			[]string{a + "is given up for 203.0.113.9"}},
		{"{kind: PublicIP, name: blue/u}", nil},
		{"{kind: PublicIP, name: blue/later, spec: {endpoint: blue/web/b}}", nil},
	} {
		changes := changesOf(t, before, c.yaml)
		if diff := cmp.Diff(c.want, Disturbed(before, before.With(2, changes), changes)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.yaml, diff)
		}
	}
	for _, c := range []struct {
		yaml string
		want []string
	}{
		{"{kind: InternetGateway, name: blue, spec: {snat: true, allow: [192.168.5.0/24]}}", nil},
		{"{kind: Endpoint, name: blue/web/c, spec: {attachment: {}}}", nil},
		{"{kind: InternetGateway, name: blue, spec: {snat: true, portsPerHost: 64}}",
			[]string{snat + "it has other ports: blocks of 64 of PublicPool world, not 1024 of world"}},
		{"{kind: InternetGateway, name: blue}", []string{snat + "it is turned off"}},
	} {
		changes := changesOf(t, central, c.yaml)
		if diff := cmp.Diff(c.want, Disturbed(central, central.With(3, changes), changes)); diff != "" {
			t.Errorf("central: %s (-want +got):\n%s", c.yaml, diff)
		}
	}
	changes, err := model.Admit(before, model.Request{Delete: []model.Key{{Kind: "InternetGateway", Name: "blue"},
		{Kind: "PublicIP", Name: "blue/a"}, {Kind: "PublicIP", Name: "blue/u"},
		{Kind: "PublicIP", Name: "blue/later"}}})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{a + "is given up", snat + "it has no internet gateway any more"}
	if diff := cmp.Diff(want, Disturbed(before, before.With(2, changes), changes)); diff != "" {
		t.Errorf("delete (-want +got):\n%s", diff)
	}
}

func admitted(t *testing.T, s *model.State, yaml string) *model.State {
	t.Helper()
	return s.With(1, changesOf(t, s, yaml))
}

func changesOf(t *testing.T, s *model.State, yaml string) []model.Change {
	t.Helper()
	objects, err := model.DecodeYAML([]byte(yaml), "intent.yaml")
	if err != nil {
		t.Fatal(err)
	}
	changes, err := model.Admit(s, model.Request{Put: objects})
	if err != nil {
		t.Fatal(err)
	}
	return changes
}
