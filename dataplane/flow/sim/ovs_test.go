package sim_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/dataplane/flow/flowtest"
	"github.com/overlane/overlane/dataplane/flow/sim"
)

// The ports of the switches in these tests.
var ports = map[uint32]string{1: "p1", 2: "p2", 3: "p3"}

func startSwitch(t *testing.T) *flowtest.Switch {
	s := flowtest.StartSwitch(t)
	for p := range ports {
		s.AddPort(p)
	}
	return s
}

// scenario is flows and groups, written as they print.
type scenario struct{ flows, groups []string }

func (c scenario) parse(t testing.TB) (flows []flow.Flow, groups []flow.Group) {
	t.Helper()
	for _, line := range c.flows {
		f, err := flow.ParseFlow(line)
		if err != nil {
			t.Fatal(err)
		}
		flows = append(flows, f)
	}
	for _, line := range c.groups {
		g, err := flow.ParseGroup(line)
		if err != nil {
			t.Fatal(err)
		}
		groups = append(groups, g)
	}
	return flows, groups
}

var scenarios = map[string]scenario{
	"priority": {flows: []string{
		"table=0,priority=0 actions=output:1,output:2",
		"table=0,priority=10,ip actions=output:3",
		"table=0,priority=20,ip,nw_src=10.0.0.0/24 actions=output:2",
		"table=0,priority=20,tcp,tp_dst=80 actions=drop",
		"table=0,priority=30,tcp,tcp_flags=+syn-ack actions=output:2,output:3",
		"table=0,priority=20,arp,arp_op=2 actions=output:3",
	}},
	"goto and registers": {flows: []string{
		"table=0,priority=5,in_port=1 actions=set_field:0x12345->reg0,set_field:0x7/0xff->xreg1,goto_table:3",
		"table=3,priority=5,reg0=0x12345,reg2=0,reg3=0x7 actions=move:OXM_OF_PKT_REG1[0..15]->NXM_OF_IN_PORT[],move:NXM_NX_REG0[4..11]->NXM_NX_REG9[24..31],goto_table:4",
		"table=4,priority=5,in_port=7,reg9=0x34000000/0xff000000 actions=output:1,output:2",
	}},
	"arp answer": {flows: []string{
		"table=0,priority=5,arp,arp_tpa=10.0.0.2,arp_op=1 actions=set_field:2->arp_op,move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],set_field:02:00:00:00:00:09->eth_src," +
			"move:NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[],set_field:02:00:00:00:00:09->arp_sha,move:NXM_OF_ARP_TPA[]->NXM_NX_REG5[],move:NXM_OF_ARP_SPA[]->NXM_OF_ARP_TPA[]," +
			"move:NXM_NX_REG5[]->NXM_OF_ARP_SPA[],IN_PORT",
	}},
	"ping answer": {flows: []string{
		"table=0,priority=5,icmp,icmp_type=8,icmp_code=0 actions=move:NXM_OF_ETH_SRC[]->NXM_NX_XXREG0[0..47],move:NXM_OF_ETH_DST[]->NXM_OF_ETH_SRC[],move:NXM_NX_XXREG0[0..47]->NXM_OF_ETH_DST[]," +
			"move:NXM_OF_IP_SRC[]->NXM_NX_REG5[],move:NXM_OF_IP_DST[]->NXM_OF_IP_SRC[],move:NXM_NX_REG5[]->NXM_OF_IP_DST[],set_field:0->icmp_type,set_field:255->nw_ttl,IN_PORT",
	}},
	"addresses and ports rewritten": {flows: []string{
		"table=0,priority=9,tcp actions=set_field:192.168.77.1->ip_src,set_field:4321->tcp_src,output:2,set_field:192.168.77.2->ip_dst,set_field:8080->tcp_dst,set_field:10->ip_dscp,output:3",
		"table=0,priority=9,udp actions=set_field:192.168.77.1->ip_src,set_field:1->udp_src,output:2,set_field:2->udp_dst,set_field:1->nw_ecn,set_field:3->nw_ttl,output:3",
		"table=0,priority=9,tcp6 actions=set_field:fd00::99->ipv6_src,output:2,set_field:fd01::->ipv6_dst,set_field:0x54321->ipv6_label,set_field:5->ip_dscp,set_field:2->nw_ecn,output:3",
		"table=0,priority=9,icmp6,icmp_type=135,icmp_code=0 actions=set_field:fd00::99->nd_target,set_field:02:11:00:00:00:01->nd_sll,output:3",
		"table=0,priority=9,icmp6,icmp_type=136,icmp_code=0 actions=move:NXM_NX_IPV6_DST[]->NXM_NX_ND_TARGET[],set_field:02:11:00:00:00:01->nd_tll,output:3",
		"table=0,priority=9,icmp actions=set_field:192.168.77.1->ip_src,set_field:3->icmp_type,set_field:1->icmp_code,output:3",
	}},
	"masked set": {flows: []string{
		"table=0,priority=9,ip actions=set_field:192.168.0.0/16->ip_dst,set_field:00:00:00:00:77:00/00:00:00:00:ff:00->eth_src,output:2,output:3",
	}},
	"ttl ends the list, not its caller": {flows: []string{
		"table=0,priority=9 actions=resubmit(,5),output:2",
		"table=5,priority=9,ip actions=set_field:02:00:00:00:00:77->eth_src,dec_ttl,set_field:02:00:00:00:00:78->eth_src,output:3",
		"table=5,priority=9,ipv6 actions=dec_ttl,output:3",
	}},
	"resubmit comes back, goto does not": {flows: []string{
		"table=0,priority=9 actions=resubmit(,5),resubmit(,6),output:NXM_NX_REG1[0..15],goto_table:7",
		"table=5,priority=9,ip actions=set_field:2->reg1,goto_table:8",
		"table=6,priority=9,reg1=0 actions=set_field:1->reg2",
		"table=7,priority=9,reg2=0x1 actions=output:3",
		"table=8,priority=9,ip actions=set_field:02:00:00:00:00:66->eth_dst",
	}},
	"never back to in_port": {flows: []string{
		"table=0,priority=9,ip actions=output:1,output:2,output:3",
		"table=0,priority=9,arp actions=output:1,IN_PORT,output:2",
	}},
	"in_port rewritten": {flows: []string{
		"table=0,priority=9,ip actions=set_field:0->in_port,output:1,output:2,IN_PORT",
		"table=0,priority=9,arp actions=set_field:2->in_port,output:1,output:2,IN_PORT",
		"table=0,priority=9,ipv6 actions=set_field:3->reg1,move:NXM_NX_REG1[0..15]->NXM_OF_IN_PORT[],output:1,output:2,output:3,resubmit(,4)",
		"table=4,priority=9,in_port=3 actions=set_field:02:00:00:00:00:33->eth_src,IN_PORT",
		"table=4,priority=9,in_port=1 actions=output:2",
	}},
	"group all copies": {
		flows: []string{
			"table=0,priority=9,arp actions=set_field:0x5->reg1,group:7,output:2",
			"table=0,priority=9,ip actions=group:7,dec_ttl,output:3",
			"table=0,priority=9,ipv6 actions=group:8,output:1",
			"table=5,priority=9,reg1=0x5 actions=output:3",
			"table=5,priority=8 actions=output:2,output:1",
		},
		groups: []string{
			"group_id=7,type=all,bucket=bucket_id:0,actions=set_field:02:00:00:00:00:44->eth_src,set_field:0x9->reg1,output:2," +
				"bucket=bucket_id:1,actions=resubmit(,5),bucket=bucket_id:2,actions=output:1",
			"group_id=8,type=all",
		},
	},
	"dec_ttl comes first in a bucket": {
		flows:  []string{"table=0,priority=9,ip actions=group:7,output:3"},
		groups: []string{"group_id=7,type=all,bucket=bucket_id:0,actions=dec_ttl,set_field:02:00:00:00:00:44->eth_src,output:2,bucket=bucket_id:1,actions=output:3"},
	},
	"fragments": {flows: []string{
		"table=0,priority=9,ip,nw_frag=later actions=output:2",
		"table=0,priority=9,ip,nw_frag=first actions=output:3",
		"table=0,priority=8,udp,tp_dst=53 actions=set_field:99->udp_dst,set_field:192.168.1.1->ip_src,output:2",
		"table=0,priority=7,udp,tp_dst=0 actions=output:3",
	}},
	"later fragment has no ports to rewrite": {flows: []string{
		"table=0,priority=9,udp actions=set_field:99->udp_dst,output:2",
	}},
	"tags": {flows: []string{
		"table=0,priority=9,dl_vlan=100,dl_vlan_pcp=5 actions=output:2,set_field:0->vlan_tci,output:3",
		"table=0,priority=9,vlan_tci=0x0000/0x1fff,dl_type=0x88cc actions=set_field:0x1007->vlan_tci,output:2",
		"table=0,priority=8,icmp,vlan_tci=0x1000/0x1000 actions=output:2",
		"table=0,priority=7,vlan_tci=0x0000/0x1fff actions=output:3",
	}},
	"dscp and ecn matched": {flows: []string{
		"table=0,priority=9,ip,nw_tos=40,nw_ecn=1,nw_ttl=64 actions=output:2",
		"table=0,priority=9,ipv6,ipv6_label=0x12345,nw_tos=40,nw_ecn=2 actions=output:3",
	}},
	"nobody there": {flows: []string{
		"table=0,priority=9 actions=output:77,output:2",
	}},
	"in circles": {flows: []string{
		"table=0,priority=9 actions=output:2,resubmit(,5)",
		"table=5,priority=9 actions=output:3,resubmit(,4)",
		"table=4,priority=9 actions=resubmit(,5)",
	}},
}

// Packets go through the simulator as through a real ovs-vswitchd: the same bytes out of the same ports.
func TestScenariosAgreeWithOVS(t *testing.T) {
	ovs := startSwitch(t)
	frames := allFrames(t)
	for _, name := range slices.Sorted(maps.Keys(scenarios)) {
		flows, groups := scenarios[name].parse(t)
		ovs.Install(flows, groups)
		ours := sim.New(sim.Config{Flows: flows, Groups: groups, Ports: ports})
		for _, kind := range slices.Sorted(maps.Keys(frames)) {
			if kind == "later fragment" && rewritesAddresses(flows) {
				continue
			}
			t.Run(name+"/"+kind, func(t *testing.T) { compare(t, ovs, ours, frames[kind]) })
		}
	}
}

// rewritesAddresses: of later fragments, the userspace datapath of OVS 3.1 then also "corrects" what would be the
// checksum of their transport header, in the midst of their payload. The simulator does not.
func rewritesAddresses(flows []flow.Flow) bool {
	return slices.ContainsFunc(flows, func(f flow.Flow) bool {
		return slices.ContainsFunc(f.Actions, func(a flow.Action) bool {
			text := a.String()
			return strings.HasSuffix(text, "->ip_src") || strings.HasSuffix(text, "->ip_dst") || strings.Contains(text, "->NXM_OF_IP_")
		})
	})
}

// compare sends a frame to port 1 of both.
func compare(t interface{ Errorf(string, ...any) }, ovs *flowtest.Switch, ours *sim.Switch, frame []byte) {
	compareFrom(t, ovs, ours, 1, frame)
}

func compareFrom(t interface{ Errorf(string, ...any) }, ovs *flowtest.Switch, ours *sim.Switch, port uint32, frame []byte) {
	theirs := ovs.Send(port, frame)
	result := ours.Send(sim.Packet{InPort: port, Frame: frame})
	mine := map[uint32][][]byte{}
	for _, o := range result.Outputs {
		if o.Port != flow.PortController {
			mine[o.Port] = append(mine[o.Port], o.Frame)
		}
	}
	if got, want := dump(mine), dump(theirs); got != want {
		t.Errorf("simulated\n%sin OVS\n%sframe %x\n%s", got, want, frame, result)
	}
}

func dump(out map[uint32][][]byte) string {
	var b strings.Builder
	for _, port := range slices.Sorted(maps.Keys(out)) {
		slices.SortFunc(out[port], bytes.Compare)
		for _, frame := range out[port] {
			fmt.Fprintf(&b, "%d: %s\n", port, hex.EncodeToString(frame))
		}
	}
	return b.String()
}
