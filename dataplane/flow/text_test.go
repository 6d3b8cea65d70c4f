package flow_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/dataplane/flow/flowtest"
	"pgregory.net/rapid"
)

// How flows are written in code, and how they read.
func TestFlowText(t *testing.T) {
	mac := flow.MAC([6]byte{2, 0, 0, 0, 0, 1})
	addr := func(s string) flow.Value { return flow.Addr(netip.MustParseAddr(s)) }
	for _, c := range []struct {
		flow flow.Flow
		want string
	}{
		{flow.Flow{}, "table=0,priority=0 actions=drop"},
		{
			flow.Flow{Table: 3, Priority: 100, Match: flow.On(flow.Eq(flow.ARPOp, flow.U32(1)), flow.ARP, flow.Eq(flow.InPort, flow.U32(3)),
				flow.Eq(flow.ARPSHA, mac), flow.Eq(flow.ARPSPA, addr("10.0.0.1")))},
			"table=3,priority=100,arp,in_port=3,arp_spa=10.0.0.1,arp_op=1,arp_sha=02:00:00:00:00:01 actions=drop",
		},
		{
			flow.Flow{Match: flow.On(flow.TCP, flow.Prefix(flow.IPSrc, netip.MustParsePrefix("10.1.2.3/8")), flow.Masked(flow.TCPDst, flow.U32(80), flow.U32(0xfff0)),
				flow.Prefix(flow.IPDst, netip.MustParsePrefix("0.0.0.0/0"))), Actions: []flow.Action{flow.DecTTL{}, flow.Goto{Table: 4}}},
			"table=0,priority=0,tcp,nw_src=10.0.0.0/8,tp_dst=0x50/0xfff0 actions=dec_ttl,goto_table:4",
		},
		{
			flow.Flow{Match: flow.On(flow.IP, flow.Eq(flow.XReg1, flow.U32(7)), flow.Untagged, flow.Multicast), Actions: []flow.Action{
				flow.UseMeter{ID: 5}, flow.SetField{Field: flow.TunID, Value: flow.U32(100)}, flow.SetField{Field: flow.Reg3, Value: flow.U32(0x50000), Mask: flow.U32(0xffff0000)},
				flow.Move{Src: flow.Reg4, Dst: flow.InPort16, Bits: 16}, flow.OutputReg{Field: flow.Reg5}, flow.Output{Port: flow.PortInPort}, flow.ToGroup{ID: 9},
				flow.Controller{MaxLen: 128, Userdata: []byte{1, 0xab}}, flow.Controller{MaxLen: flow.MaxLenAll, Userdata: []byte{2}}, flow.Resubmit{Table: 7}}},
			"table=0,priority=0,ip,reg2=0,reg3=0x7,vlan_tci=0x0000/0x1fff,dl_dst=01:00:00:00:00:00/01:00:00:00:00:00 " +
				"actions=meter:5,set_field:0x64->tun_id,set_field:0x50000/0xffff0000->reg3,move:NXM_NX_REG4[0..15]->NXM_OF_IN_PORT[]," +
				"output:NXM_NX_REG5[0..15],IN_PORT,group:9,controller(max_len=128,userdata=01.ab),controller(userdata=02),resubmit(,7)",
		},
		{
			flow.Flow{Match: flow.On(flow.TCP, flow.Tracked(flow.CTTrk|flow.CTEst, flow.CTInv)), Actions: []flow.Action{flow.CTClear{}, flow.CT{Commit: true, Zone: 4},
				flow.CT{Commit: true, Table: 12, Zone: 5, NAT: &flow.NAT{Kind: flow.NATSrc, Addr: netip.MustParseAddr("1.2.3.4"), FirstPort: 1024, LastPort: 2047}}}},
			"table=0,priority=0,ct_state=+est-inv+trk,tcp actions=ct_clear,ct(commit,zone=4),ct(commit,table=12,zone=5,nat(src=1.2.3.4:1024-2047))",
		},
		{
			flow.Flow{Actions: []flow.Action{flow.CheckLarger{Len: 1464, Dst: flow.Reg14}, flow.CheckLarger{Len: 65535, Dst: flow.Reg0, Bit: 31}, flow.Goto{Table: 1}}},
			"table=0,priority=0 actions=check_pkt_larger(1464)->NXM_NX_REG14[0],check_pkt_larger(65535)->NXM_NX_REG0[31],goto_table:1",
		},
		{
			flow.Flow{Match: flow.TCP6, Actions: []flow.Action{flow.CT{Commit: true, Table: 1, NAT: &flow.NAT{Kind: flow.NATDst, Addr: netip.MustParseAddr("fd00::1"), FirstPort: 80, LastPort: 80}}}},
			"table=0,priority=0,tcp6 actions=ct(commit,table=1,nat(dst=[fd00::1]:80))",
		},
		{
			flow.Flow{Match: flow.IP6, Actions: []flow.Action{flow.CT{Table: 1, NAT: &flow.NAT{}}}},
			"table=0,priority=0,ipv6 actions=ct(table=1,nat)",
		},
	} {
		if got := c.flow.String(); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
		if err := c.flow.Check(); err != nil {
			t.Errorf("%s: %v", c.want, err)
		}
		flowtest.ParseWithOVS(t, []flow.Flow{c.flow})
	}
}

func TestTableNames(t *testing.T) {
	names := flow.TableNames{0: "admit", 7: "locate"}
	f := flow.Flow{Match: flow.IP, Actions: []flow.Action{flow.Resubmit{Table: 7}, flow.CT{Table: 7}}}
	want := "table=admit,priority=0,ip actions=resubmit(,locate),ct(table=locate)"
	if got := names.Flow(f); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	back, err := names.ParseFlow(want)
	if err != nil || back.Key() != f.Key() || back.Hash() != f.Hash() {
		t.Errorf("ParseFlow: %v, %v", back, err)
	}
}

// A real switch takes the meter as it prints.
func TestMeterText(t *testing.T) {
	meter := flow.Meter{ID: 5, Rate: 10, Burst: 20}
	if err := meter.Check(); err != nil {
		t.Error(err)
	}
	if want := "meter=5,pktps,burst,band=type=drop,rate=10,burst_size=20"; meter.String() != want {
		t.Errorf("got %s, want %s", meter, want)
	}
	ovs := flowtest.StartSwitch(t)
	ovs.Ofctl("add-meter", meter.String())
	got := ovs.Ofctl("dump-meters")
	if want := "meter=5 pktps burst bands=\ntype=drop rate=10 burst_size=20"; !strings.Contains(got, want) {
		t.Errorf("got %s, want %s", got, want)
	}
}

// Whatever passes Check, OVS reads unchanged, and so do we.
func TestEveryFlowThatPassesCheckIsReadUnchanged(t *testing.T) {
	var flows []flow.Flow
	rapid.Check(t, func(t *rapid.T) {
		f := flowtest.AnyFlow().Draw(t, "flow")
		flows = append(flows, f)
		back, err := flow.ParseFlow(f.String())
		if err != nil {
			t.Fatal(err)
		}
		if back.Key() != f.Key() || back.Hash() != f.Hash() || back.String() != f.String() {
			t.Fatalf("read back as\n%s\nwant\n%s", back, f)
		}
	})
	flowtest.ParseWithOVS(t, flows)
}

func TestEveryGroupThatPassesCheckIsReadUnchanged(t *testing.T) {
	var groups []flow.Group
	rapid.Check(t, func(t *rapid.T) {
		g := flowtest.AnyGroup().Draw(t, "group")
		groups = append(groups, g)
		back, err := flow.ParseGroup(g.String())
		if err != nil {
			t.Fatal(err)
		}
		if back.String() != g.String() {
			t.Fatalf("read back as\n%s\nwant\n%s", back, g)
		}
	})
	flowtest.ParseGroupsWithOVS(t, groups[:min(len(groups), 25)])
}
