package flow_test

import (
	"testing"

	"github.com/overlane/overlane/dataplane/flow"
)

func TestSymbols(t *testing.T) {
	symbols := flow.Symbols{
		Tables: flow.TableNames{0: "admit", 7: "locate"},
		Slots: []flow.Bits{
			{Name: "vni", Field: flow.Reg0, Width: 24},
			{Name: "flag", Field: flow.Reg0, First: 24, Width: 1},
			{Name: "kind", Field: flow.Reg0, First: 28, Width: 4, Values: map[uint64]string{2: "gateway"}},
			{Name: "mac", Field: flow.XReg1, Width: 48, Form: flow.Ethernet},
			{Name: "port", Field: flow.Reg5, Width: 16, Form: flow.Port},
			{Name: "key", Field: flow.XXReg2, Width: 128, Form: flow.IPv6},
		},
		Ports:    map[uint32]string{3: "tunnel"},
		Groups:   map[uint32]string{9: "flood(blue/web)"},
		Meters:   map[uint32]string{1: "arp"},
		Userdata: map[byte]string{1: "alive"},
	}
	for _, c := range []struct{ flow, want string }{
		{"reg0=0x64/0xffffff,in_port=3 actions=drop", "vni=100,in_port=tunnel actions=drop"},
		{"reg0=0x20000000/0xf0000000,ip actions=goto_table:7", "kind=gateway,ip actions=goto_table:locate"},
		{"reg0=0x30000000/0xb0000000 actions=drop", "kind=3/0xb actions=drop"},
		{"reg1=7 actions=drop", "reg1=0x7 actions=drop"},
		{"in_port=4 actions=output:3,output:4", "in_port=4 actions=output:tunnel,output:4"},
		{"reg0=0 actions=set_field:0x1000064/0x1ffffff->reg0", "vni=0,flag=0,kind=0,reg0=0/0xe000000 actions=set_field:100->vni,set_field:1->flag"},
		{"reg2=0,reg3=5 actions=set_field:3->reg5", "mac=00:00:00:00:00:05,reg2=0/0xffff0000 actions=set_field:tunnel->port,set_field:0/0xffff0000->reg5"},
		{"ip actions=move:NXM_OF_IP_SRC[]->NXM_NX_REG11[]", "ip actions=move:ip_src->key[0..31]"},
		{"reg1=0 actions=move:NXM_NX_XXREG2[]->NXM_NX_XXREG3[]", "reg1=0 actions=move:key->xxreg3"},
		{"reg1=0 actions=output:NXM_NX_REG5[0..15],group:9", "reg1=0 actions=output:port,group:flood(blue/web)"},
		{"reg1=0 actions=meter:1,controller(max_len=128,userdata=01.02)", "reg1=0 actions=meter:arp,controller(max_len=128,userdata=alive.02)"},
		{"reg1=0 actions=check_pkt_larger(1464)->NXM_NX_REG0[24],output:4", "reg1=0 actions=check_pkt_larger(1464)->flag,output:4"},
	} {
		f, err := flow.ParseFlow("table=0,priority=1," + c.flow)
		if err != nil {
			t.Fatal(err)
		}
		if have, want := symbols.Flow(f), "table=admit,priority=1,"+c.want; have != want {
			t.Errorf("have %s\nwant %s", have, want)
		}
	}
}

func TestSymbolsNameGroupsLineByLine(t *testing.T) {
	symbols := flow.Symbols{Groups: map[uint32]string{9: "leave(blue)"}, Ports: map[uint32]string{3: "tunnel-g1"}}
	g, err := flow.ParseGroup("group_id=9,type=ff,bucket=bucket_id:0,watch_port:3,actions=output:3,bucket=bucket_id:1,watch_port:4,actions=drop")
	if err != nil {
		t.Fatal(err)
	}
	want := "group=leave(blue),type=ff\n  watch_port=tunnel-g1,actions=output:tunnel-g1\n  watch_port=4,actions=drop"
	if have := symbols.Group(g); have != want {
		t.Errorf("have %s\nwant %s", have, want)
	}
}
