package server

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/server/wire"
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
	got := planFlows(before, before.With(2, changes), changes)
	const group = "group_id=1325400164,type=all,"
	want := []wire.HostFlows{
		{Host: "h1", Add: []string{
			group + "bucket=bucket_id:0,actions=output:10,bucket=bucket_id:1,actions=output:11," +
				"bucket=bucket_id:2,actions=set_field:192.168.5.3->tun_dst,set_field:0x64->tun_id,output:1",
			"table=admit,priority=100,in_port=11 actions=set_field:0x64->reg0,set_field:0xf00000->reg9,goto_table:source",
			"table=locate,priority=100,reg1=0xa000009,reg9=0xf00000 actions=set_field:0x1->reg6,set_field:0x64->reg10,set_field:0->reg2,set_field:0xb->reg3,set_field:0x24f0a000009->xreg2",
			"table=verify,priority=100,reg3=0xb,in_port=11,dl_src=02:4f:0a:00:00:09 actions=drop",
		}, Delete: []string{
			group + "bucket=bucket_id:0,actions=output:10,bucket=bucket_id:1,actions=set_field:192.168.5.3->tun_dst,set_field:0x64->tun_id,output:1",
		}},
		{Host: "h2", Add: []string{
			"table=locate,priority=100,reg1=0xa000009,reg9=0xf00000 actions=set_field:0x2->reg6,set_field:0x64->reg10,set_field:0xc0a80502->reg2,set_field:0->reg3,set_field:0x24f0a000009->xreg2",
		}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("plan (-want +got):\n%s", diff)
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
