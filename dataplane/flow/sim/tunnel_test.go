package sim_test

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/overlane/overlane/dataplane/flow/flowtest"
	"github.com/overlane/overlane/dataplane/flow/sim"
)

const vxlan = 9

var (
	vtep  = netip.MustParseAddr("192.168.5.2")
	peer3 = netip.MustParseAddr("192.168.5.3")
	peer4 = netip.MustParseAddr("192.168.5.4")
)

var tunnels = scenario{
	flows: []string{
		"table=0,priority=9,in_port=1,dl_type=0x88cc actions=group:7",
		"table=0,priority=9,ip,in_port=1 actions=set_field:0x64->tun_id,set_field:192.168.5.3->tun_dst,output:9,set_field:192.168.5.4->tun_dst,output:9,output:2",
		"table=0,priority=9,ipv6,in_port=1 actions=output:9,output:2",
		"table=0,priority=9,arp,in_port=1 actions=set_field:0xffffff->tun_id,set_field:192.168.5.4->tun_dst,output:9",
		"table=0,priority=9,tun_id=0x64,tun_src=192.168.5.3,in_port=9 actions=output:2,output:9,move:NXM_NX_TUN_IPV4_SRC[]->NXM_NX_TUN_IPV4_DST[],IN_PORT",
		"table=0,priority=9,tun_id=0xc8,tun_dst=192.168.5.2,in_port=9 actions=set_field:0->in_port,set_field:0x12c->tun_id,set_field:192.168.5.3->tun_dst,output:9",
	},
	groups: []string{
		"group_id=7,type=all,bucket=bucket_id:0,actions=set_field:0x1->tun_id,set_field:192.168.5.3->tun_dst,output:9," +
			"bucket=bucket_id:1,actions=set_field:192.168.5.4->tun_dst,output:9,bucket=bucket_id:2,actions=output:2",
	},
}

// What the simulator says of tunnels is what OVS really writes into the outer headers, and reads from them.
func TestTunnelsAgreeWithOVS(t *testing.T) {
	ovs := startSwitch(t)
	ovs.AddVXLAN(vxlan, vtep, peer3, peer4)
	flows, groups := tunnels.parse(t)
	ovs.Install(flows, groups)
	withVXLAN := maps.Clone(ports)
	withVXLAN[vxlan] = "vx"
	ours := sim.New(sim.Config{Flows: flows, Groups: groups, Ports: withVXLAN, Tunnels: map[uint32]bool{vxlan: true}})
	for _, kind := range []string{"ping", "arp request", "other", "tcp6"} {
		frame := allFrames(t)[kind]
		theirs := ovs.Send(1, frame)
		compareTunnels(t, ovs, theirs, ours.Send(sim.Packet{InPort: 1, Frame: frame}))
	}
	for _, p := range []struct {
		from netip.Addr
		vni  uint32
	}{{peer3, 0x64}, {peer4, 0x64}, {peer4, 0xc8}, {peer3, 5}} {
		frame := pingFrame(t, 64)
		theirs := ovs.SendVXLAN(p.from, p.vni, frame)
		compareTunnels(t, ovs, theirs, ours.Send(sim.Packet{InPort: vxlan, Frame: frame, Tunnel: sim.Tunnel{ID: uint64(p.vni), Src: p.from, Dst: vtep}}))
	}
}

func compareTunnels(t *testing.T, ovs *flowtest.Switch, theirs map[uint32][][]byte, result sim.Result) {
	t.Helper()
	var got, want []string
	for port, frames := range theirs {
		for _, frame := range frames {
			want = append(want, fmt.Sprintf("%d: %x", port, frame))
		}
	}
	for _, e := range ovs.Encapsulated() {
		want = append(want, fmt.Sprintf("%d: vni %d to %s: %x", vxlan, e.VNI, e.Dst, e.Frame))
	}
	for _, o := range result.Outputs {
		by := ""
		if o.Port == vxlan {
			by = fmt.Sprintf(" vni %d to %s:", o.Tunnel.ID, o.Tunnel.Dst)
		}
		got = append(got, fmt.Sprintf("%d:%s %x", o.Port, by, o.Frame))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("simulated\n%s\nin OVS\n%s\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"), result)
	}
}
