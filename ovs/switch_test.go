package ovs

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/ovs/ovstest"
)

// bench is a bridge on a real ovs-vswitchd with the dummy datapath, and our connection to it.
type bench struct {
	*ovstest.OVS
	t  testing.TB
	sw *Switch
}

func newBench(t testing.TB, config SwitchConfig) *bench {
	t.Helper()
	o := ovstest.Start(t, ovstest.Options{})
	config.Socket = o.AddBridge("br0")
	return &bench{o, t, dialTest(t, config)}
}

func dialTest(t testing.TB, config SwitchConfig) *Switch {
	t.Helper()
	sw, err := Dial(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sw.Close)
	return sw
}

func (b *bench) apply(c Change) {
	b.t.Helper()
	if err := b.sw.Apply(b.t.Context(), c); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) read() Contents {
	b.t.Helper()
	c, err := b.sw.Read(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	return c
}

// flows is what the switch has, as ovs-ofctl prints it in the form of [flow.Flow.String], in the order of the text.
func (b *bench) flows() string {
	b.t.Helper()
	var lines []string
	for line := range strings.Lines(b.Ofctl("--no-stats", "--no-names", "dump-flows", "br0")) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "cookie=") {
			_, line, _ = strings.Cut(line, ", ")
		}
		if !strings.HasPrefix(line, "table=") {
			line = "table=0, " + line
		}
		lines = append(lines, strings.Replace(line, ", ", ",", 1))
	}
	return sortedLines(lines)
}

func (b *bench) wantFlows(want ...string) {
	b.t.Helper()
	if got := b.flows(); got != sortedLines(want) {
		b.t.Errorf("the switch has\n%s\nwant\n%s", got, sortedLines(want))
	}
}

func sortedLines(lines []string) string {
	return strings.Join(slices.Sorted(slices.Values(lines)), "\n")
}

func parse(t testing.TB, lines ...string) []flow.Flow {
	t.Helper()
	flows := make([]flow.Flow, len(lines))
	for i, line := range lines {
		f, err := flow.ParseFlow(line)
		if err != nil {
			t.Fatal(err)
		}
		flows[i] = f
	}
	return flows
}

func installed(flows ...flow.Flow) []flow.Installed {
	list := make([]flow.Installed, len(flows))
	for i, f := range flows {
		list[i] = flow.Installed{Key: f.Key(), Cookie: f.Cookie()}
	}
	return list
}

func TestApplyAndReadBack(t *testing.T) {
	t.Parallel()
	b := newBench(t, SwitchConfig{})
	group := flow.Group{ID: 0x4f000064, Buckets: []flow.Bucket{
		{Actions: []flow.Action{flow.SetField{Field: flow.TunID, Value: flow.U32(100)}, flow.Output{Port: 1}}},
		{Actions: []flow.Action{flow.Output{Port: 2}}},
	}}
	meter := flow.Meter{ID: 0x4f00, Rate: 500, Burst: 100}
	flows := parse(t, everyAction...)
	b.apply(Change{AddMeters: []flow.Meter{meter}, AddGroups: []flow.Group{group}, Add: flows})
	b.wantFlows(everyAction...)

	c := b.read()
	if add, remove := flow.Diff(c.Flows, flows); len(add)+len(remove)+len(c.Strange) > 0 {
		t.Errorf("read back:\nto add %v\nto remove %v\nstrange %v", add, remove, c.Strange)
	}
	if len(c.Groups) != 1 || c.Groups[0].String() != group.String() {
		t.Errorf("groups %v, want %v", c.Groups, group)
	}
	if len(c.Meters) != 1 || c.Meters[0] != meter {
		t.Errorf("meters %v, want %v", c.Meters, meter)
	}

	b.apply(Change{Del: c.Flows, DelGroups: []uint32{group.ID}, DelMeters: []uint32{meter.ID}})
	if c := b.read(); len(c.Flows)+len(c.Groups)+len(c.Meters) > 0 {
		t.Errorf("left over: %+v", c)
	}
}

// everyAction has every kind of action and of match, as the switch prints them.
var everyAction = []string{
	"table=0,priority=100,tcp,reg0=0x1/0xff,in_port=1,dl_vlan=7,nw_src=10.0.0.0/8,tp_dst=80 actions=goto_table:1",
	"table=0,priority=90,in_port=1,vlan_tci=0x0000/0x1fff actions=goto_table:1",
	"table=0,priority=0 actions=drop",
	"table=1,priority=100,arp,arp_spa=10.0.0.1,arp_op=1 actions=" +
		"move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],set_field:0a:00:00:00:00:01->eth_src,set_field:2->arp_op," +
		"move:NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[],move:NXM_OF_ARP_SPA[]->NXM_OF_ARP_TPA[],IN_PORT",
	"table=1,priority=90,ip,tun_id=0x64,tun_src=192.168.5.2 actions=dec_ttl,set_field:0x7/0xff->reg3,group:1325400164",
	"table=1,priority=80,ipv6,ipv6_dst=fd00::/8 actions=resubmit(,2),output:NXM_NX_REG3[0..15]",
	"table=1,priority=70,udp,reg2=0x5,reg3=0,tp_src=0x1000/0xf000 actions=meter:20224,controller(userdata=01.02)",
	"table=1,priority=60,ip,nw_frag=later actions=controller(userdata=00)",
	"table=1,priority=50,ct_state=+est+trk,ip,nw_tos=8 actions=set_field:0x10002->xreg2,controller(max_len=64,userdata=03)",
	"table=1,priority=40,tcp,tcp_flags=+syn-ack actions=move:NXM_OF_IN_PORT[]->NXM_NX_REG8[0..15],output:2",
	"table=1,priority=39,ct_state=-new+est-inv+trk,ct_zone=7,ip actions=ct_clear,ct(table=2,zone=7,nat)",
	"table=1,priority=38,tcp actions=ct(commit),ct(commit,table=2,zone=7,nat(src=192.168.5.2:1024-2047))",
	"table=1,priority=37,tcp6 actions=ct(commit,table=2,nat(dst=[fd00::1]:80))",
	"table=1,priority=30,icmp6,icmp_type=135,icmp_code=0,nd_target=fe80::1 actions=LOCAL",
}

// One bad flow, found when it is added or only at the commit, and nothing of the bundle is there.
func TestABundleIsAtomic(t *testing.T) {
	t.Parallel()
	b := newBench(t, SwitchConfig{})
	good := parse(t, "table=0,priority=1,ip actions=drop", "table=0,priority=2,ip actions=drop")
	noGroup := parse(t, "table=0,priority=3,ip actions=group:1325400099")[0]
	noGroup.Owner = "Endpoint blue/web/db1"
	noPrerequisite := flow.Flow{Match: flow.Match{flow.Eq(flow.TCPDst, flow.U32(80))}}

	for reason, bad := range map[string]flow.Flow{"OFPBAC_BAD_OUT_GROUP": noGroup, "OFPBMC_BAD_PREREQ": noPrerequisite} {
		err := b.sw.Apply(t.Context(), Change{
			AddGroups: []flow.Group{{ID: 0x4f000001}}, Add: []flow.Flow{good[0], bad, good[1]},
		})
		var refused *ChangeError
		if !errors.As(err, &refused) || len(refused.Refused) != 1 || refused.Refused[0].What != bad.String() {
			t.Fatalf("%s: %v", reason, err)
		}
		if got := refused.Refused[0].Reason.Error(); got != reason {
			t.Errorf("reason %s, want %s", got, reason)
		}
		if c := b.read(); len(c.Flows)+len(c.Groups) > 0 {
			t.Errorf("%s: half applied: %+v", reason, c)
		}
	}
	b.apply(Change{Add: good}) // the connection is as good as before
	b.wantFlows("table=0,priority=2,ip actions=drop", "table=0,priority=1,ip actions=drop")
}

// A flow that changes keeps its counters, and the removal of its old self does not remove the new one.
func TestReplacementKeepsCounters(t *testing.T) {
	t.Parallel()
	b := newBench(t, SwitchConfig{})
	b.AddDummyPort("br0", "p1", 1)
	old := parse(t, "table=0,priority=1,in_port=1 actions=drop")[0]
	now := parse(t, "table=0,priority=1,in_port=1 actions=goto_table:1")[0]
	b.apply(Change{Add: []flow.Flow{old}})
	b.Receive("p1", make([]byte, 60))
	b.awaitCount(old.Cookie(), 1)

	b.apply(Change{Add: []flow.Flow{now}, Del: installed(old)})
	b.awaitCount(now.Cookie(), 1)
	b.apply(Change{Del: installed(old)}) // too late: it is another flow now
	b.wantFlows("table=0,priority=1,in_port=1 actions=goto_table:1")
}

func (b *bench) awaitCount(cookie, want uint64) {
	b.t.Helper()
	var got map[uint64]uint64
	await(b.t, "count", func() bool {
		b.Appctl("revalidator/wait")
		var err error
		if got, err = b.sw.FlowCounts(b.t.Context(), 1, cookie); err != nil {
			b.t.Fatal(err)
		}
		return got[cookie] == want
	})
}

func await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// A group that goes takes the flows along that still name it; a flow that is being replaced in the same change does not
// name it any more.
func TestGroupGoesAfterItsFlows(t *testing.T) {
	t.Parallel()
	b := newBench(t, SwitchConfig{})
	group := flow.Group{ID: 0x4f000001}
	old := parse(t, "table=0,priority=1,ip actions=group:1325400065")[0]
	now := parse(t, "table=0,priority=1,ip actions=output:1")[0]
	b.apply(Change{AddGroups: []flow.Group{group}, Add: []flow.Flow{old}})
	group.Buckets = []flow.Bucket{{Actions: []flow.Action{flow.Output{Port: 3}}}}
	b.apply(Change{ModGroups: []flow.Group{group}})
	if got := b.read(); len(got.Flows) != 1 || got.Groups[0].String() != group.String() {
		t.Errorf("after a modification: %+v", got)
	}
	b.apply(Change{Add: []flow.Flow{now}, DelGroups: []uint32{group.ID}})
	b.wantFlows("table=0,priority=1,ip actions=output:1")
}

// A group may name one that comes after it, becomes of another type in place, and outlives the one it names.
func TestGroupsThatNameGroups(t *testing.T) {
	t.Parallel()
	b := newBench(t, SwitchConfig{})
	spread := flow.Group{ID: 0x4d000001, Type: flow.GroupSelect, Buckets: []flow.Bucket{{Weight: 100, WatchPort: 1, Actions: []flow.Action{flow.Output{Port: 1}}}}}
	was := spread
	was.ID = 0x4f000001
	leave := flow.Group{ID: was.ID, Type: flow.GroupFastFailover, Buckets: []flow.Bucket{
		{WatchPort: 1, Actions: []flow.Action{flow.ToGroup{ID: spread.ID}}}, {WatchPort: 2, Actions: []flow.Action{flow.Output{Port: 1}}},
	}}
	const named = "table=0,priority=1,ip actions=group:1325400065"
	has := func(want ...flow.Group) {
		t.Helper()
		b.wantFlows(named)
		got := b.read().Groups
		slices.SortFunc(got, func(x, y flow.Group) int { return cmp.Compare(x.ID, y.ID) })
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("groups %v, want %v", got, want)
		}
	}
	b.apply(Change{AddGroups: []flow.Group{leave, spread}, Add: parse(t, named)})
	has(spread, leave)
	b.apply(Change{ModGroups: []flow.Group{was}, DelGroups: []uint32{spread.ID}})
	has(was)
	b.apply(Change{AddGroups: []flow.Group{spread}, ModGroups: []flow.Group{leave}})
	has(spread, leave)
	b.apply(Change{DelGroups: []uint32{spread.ID}})
	has(leave)
	b.apply(Change{Del: installed(parse(t, named)...), DelGroups: []uint32{leave.ID}})
	if c := b.read(); len(c.Flows)+len(c.Groups) > 0 {
		t.Errorf("left over: %+v", c)
	}
}

// What does not carry our cookie or an ID of our range is neither read nor removed.
func TestForeignersAreLeftAlone(t *testing.T) {
	t.Parallel()
	b := newBench(t, SwitchConfig{})
	b.Ofctl("add-flow", "br0", "table=3,cookie=0x7,priority=9,ip,actions=drop")
	b.Ofctl("add-group", "br0", "group_id=7,type=select,bucket=actions=drop")
	b.Ofctl("add-meter", "br0", "meter=7,kbps,band=type=drop,rate=1")
	if c := b.read(); len(c.Flows)+len(c.Strange)+len(c.Groups)+len(c.Meters) > 0 {
		t.Errorf("read %+v", c)
	}
	same := parse(t, "table=3,priority=9,ip actions=output:1")[0]
	b.apply(Change{Del: installed(same)})
	b.wantFlows("table=3,priority=9,ip actions=drop")
}

// Flows that have our cookie but another content are found although the cookie is right, and a change puts all of it in
// order.
func TestTamperedFlowsAreFound(t *testing.T) {
	t.Parallel()
	b := newBench(t, SwitchConfig{})
	want := parse(t, "table=0,priority=2,ip actions=output:1", "table=0,priority=1,ip actions=output:2", "table=0,priority=0 actions=drop")
	b.apply(Change{Add: want})
	b.Ofctl("--strict", "mod-flows", "br0", "priority=2,ip,actions=output:9")
	b.Ofctl("--strict", "mod-flows", "br0", "priority=1,ip,actions=ct(commit,force)")
	b.Ofctl("add-flow", "br0", fmt.Sprintf("cookie=%#x,table=5,priority=9,mpls,mpls_label=5,actions=drop", flow.CookieOwner))
	c := b.read()
	if len(c.Strange) != 3 || len(c.Flows) != 1 {
		t.Errorf("found %v, and %d flows as they should be", c.Strange, len(c.Flows))
	}
	add, remove := flow.Diff(c.Flows, want)
	b.apply(Change{Add: add, Del: remove, Strange: c.Strange})
	b.wantFlows("table=0,priority=2,ip actions=output:1", "table=0,priority=1,ip actions=output:2", "table=0,priority=0 actions=drop")
}

// Drift is told as it happens; what we do ourselves is not drift.
func TestDriftIsNoticed(t *testing.T) {
	t.Parallel()
	b := newBench(t, SwitchConfig{})
	ours := parse(t, "table=0,priority=2,ip actions=group:1325400065", "table=0,priority=1,arp actions=drop")
	meter := flow.Meter{ID: 0x4f01, Rate: 5, Burst: 5}
	group := flow.Group{ID: 0x4f000001}
	b.apply(Change{AddMeters: []flow.Meter{meter}, AddGroups: []flow.Group{group}, Add: ours})
	meter.Rate = 6
	b.apply(Change{ModMeters: []flow.Meter{meter}, ModGroups: []flow.Group{group}, Del: installed(ours[1])})
	b.apply(Change{Add: ours})

	b.Ofctl("add-flow", "br0", "table=9,cookie=0x7,actions=drop") // not our business
	b.Ofctl("del-flows", "br0", "table=9")
	b.read()
	select {
	case e := <-b.sw.Drift():
		t.Fatalf("our own doing, or none of our business: %s", e.What)
	default:
	}

	for _, step := range []struct {
		args []string
		want string
	}{
		{[]string{"del-flows", "br0", "arp"}, "flow removed: table=0,priority=1,arp"},
		{[]string{"mod-flows", "br0", "ip,actions=drop"}, "flow modified: table=0,priority=2,ip"},
		{[]string{"add-flow", "br0", "priority=2,ip,actions=output:5"}, "flow added: table=0,priority=2,ip"},
		{[]string{"add-flow", "br0", fmt.Sprintf("table=4,cookie=%#x,priority=5,actions=drop", flow.CookieOwner|1)}, "flow added: table=4,priority=5"},
		{[]string{"mod-group", "br0", "group_id=1325400065,type=all,bucket=actions=drop"}, "group 0x4f000001 modified"},
		{[]string{"del-groups", "br0", "group_id=1325400065"}, "group 0x4f000001 removed"},
		{[]string{"add-group", "br0", "group_id=1325400066,type=all"}, "group 0x4f000002 added"},
		{[]string{"del-groups", "br0"}, "group 0xfffffffc removed"},
		{[]string{"mod-meter", "br0", "meter=20225,pktps,burst,band=type=drop,rate=1,burst_size=1"}, "meter 0x4f01 modified"},
		{[]string{"del-meters", "br0"}, "meter 0xffffffff removed"},
	} {
		b.Ofctl(step.args...)
		if got := b.awaitDrift(step.args...); got != step.want {
			t.Errorf("%v: %s, want %s", step.args, got, step.want)
		}
	}
}

func (b *bench) awaitDrift(what ...string) string {
	b.t.Helper()
	select {
	case e := <-b.sw.Drift():
		return e.What
	case <-time.After(20 * time.Second):
		b.t.Fatalf("%v was not noticed", what)
	}
	return ""
}

// A packet goes out by PacketOut, comes back by a flow, and carries what the flow says about it.
func TestPacketsOutAndIn(t *testing.T) {
	t.Parallel()
	got := make(chan PacketIn, 10)
	b := newBench(t, SwitchConfig{PacketIn: func(p PacketIn) { got <- p }})
	b.AddDummyPort("br0", "p1", 1)
	f := parse(t, "table=4,priority=1,in_port=1 actions=set_field:0x64->reg1,controller(userdata=07.08)")[0]
	b.apply(Change{Add: []flow.Flow{f}})
	frame := []byte("\x0a\x00\x00\x00\x00\x01\x0a\x00\x00\x00\x00\x02\x88\xb5 here I am, an Ethernet frame of 60 bytes or so")
	sent := b.AddDummyPort("br0", "p2", 2)
	err := b.sw.PacketOut(t.Context(), 1, []flow.Action{flow.Output{Port: 2}, flow.Resubmit{Table: 4}}, frame)
	if err != nil {
		t.Fatal(err)
	}
	p := receive(t, got)
	register, _ := p.Metadata.Exactly(flow.Reg1)
	if string(p.Frame) != string(frame) || p.InPort != 1 || string(p.Userdata) != "\x07\x08" || p.Cookie != f.Cookie() ||
		p.Table != 4 || register.Lo != 0x64 {
		t.Errorf("packet in: %+v", p)
	}
	await(t, "the frame on the other port", func() bool {
		pcap, err := os.ReadFile(sent)
		return err == nil && bytes.Contains(pcap, frame)
	})
}

func receive[T any](t *testing.T, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(20 * time.Second):
		t.Fatalf("no %T came", v)
	}
	return v
}

// The connections of one zone are forgotten, those of others are not.
func TestFlushZone(t *testing.T) {
	t.Parallel()
	b := newBench(t, SwitchConfig{})
	b.AddDummyPort("br0", "p1", 1)
	b.apply(Change{Add: parse(t, "table=0,priority=1,icmp actions=ct(commit,zone=5),ct(commit,zone=6)")})
	ping := append(append(bytes.Repeat([]byte{2}, 12), 8, 0, 0x45, 0, 0, 28, 0, 0, 0, 0, 64, 1, 0x66, 0xdf, 10, 0, 0, 1, 10, 0, 0, 2), 8, 0, 0xf7, 0xf8, 0, 7, 0, 0)
	b.Receive("p1", append(ping, make([]byte, 18)...))
	await(t, "two connections", func() bool { return strings.Count(b.Appctl("dpctl/dump-conntrack"), "zone=") == 2 })
	if err := b.sw.FlushZone(t.Context(), 5); err != nil {
		t.Fatal(err)
	}
	if got := b.Appctl("dpctl/dump-conntrack"); strings.Contains(got, "zone=5") || !strings.Contains(got, "zone=6") {
		t.Errorf("after the flush of zone 5:\n%s", got)
	}
}

// Of a zone, those connections are forgotten that are known by an address.
func TestFlushTranslated(t *testing.T) {
	t.Parallel()
	b := newBench(t, SwitchConfig{})
	b.AddDummyPort("br0", "p1", 1)
	b.apply(Change{Add: parse(t, "table=0,priority=1,udp,nw_src=10.0.0.1 actions=ct(commit,table=1,zone=5,nat(src=1.22.3.5))",
		"table=0,priority=1,udp,nw_src=10.0.0.3 actions=ct(commit,table=2,zone=5,nat(src=1.22.3.6))", "table=1,priority=1,udp actions=ct(commit,table=2,zone=6,nat(src=1.22.3.5))")})
	for _, last := range []byte{1, 3} {
		datagram := append(append(bytes.Repeat([]byte{2}, 12), 8, 0, 0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0x66, 0xd0-last, 10, 0, 0, last, 10, 0, 0, 2), 0, 7, 0, 9, 0, 8, 0, 0)
		b.Receive("p1", append(datagram, make([]byte, 18)...))
	}
	await(t, "three connections", func() bool { return strings.Count(b.Appctl("dpctl/dump-conntrack"), "zone=") == 3 })
	if err := b.sw.FlushTranslated(t.Context(), 5, netip.MustParseAddr("1.22.3.5")); err != nil {
		t.Fatal(err)
	}
	got := b.Appctl("dpctl/dump-conntrack")
	if strings.Count(got, "zone=") != 2 || !strings.Contains(got, "zone=6") || !strings.Contains(got, "dst=1.22.3.6") {
		t.Errorf("after the flush of zone 5 and 1.22.3.5:\n%s", got)
	}
}

// Of a zone, those connections are forgotten that an endpoint has opened, and those that were opened to it.
func TestFlushEndpoint(t *testing.T) {
	t.Parallel()
	b := newBench(t, SwitchConfig{})
	b.AddDummyPort("br0", "p1", 1)
	b.apply(Change{Add: parse(t, "table=0,priority=1,udp,nw_src=10.0.0.1 actions=ct(commit,table=1,zone=5,nat(src=1.22.3.5))", // opened by it
		"table=0,priority=1,udp,nw_src=10.0.0.3 actions=ct(commit,table=1,zone=5,nat(src=1.22.3.6))",
		"table=0,priority=1,udp,nw_src=10.0.0.4 actions=ct(commit,table=2,zone=5,nat(dst=10.0.0.1))", // to it
		"table=1,priority=1,udp actions=ct(commit,table=2,zone=6)")})
	for _, last := range []byte{1, 3, 4} {
		datagram := append(append(bytes.Repeat([]byte{2}, 12), 8, 0, 0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0x66, 0xd0-last, 10, 0, 0, last, 10, 0, 0, 2), 0, 7, 0, 9, 0, 8, 0, 0)
		b.Receive("p1", append(datagram, make([]byte, 18)...))
	}
	await(t, "five connections", func() bool { return strings.Count(b.Appctl("dpctl/dump-conntrack"), "zone=") == 5 })
	if err := b.sw.FlushEndpoint(t.Context(), 5, netip.MustParseAddr("10.0.0.1")); err != nil {
		t.Fatal(err)
	}
	got := b.Appctl("dpctl/dump-conntrack")
	if strings.Count(got, "zone=5") != 1 || !strings.Contains(got, "src=10.0.0.3") || strings.Count(got, "zone=6") != 2 {
		t.Errorf("after the flush of zone 5 and 10.0.0.1:\n%s", got)
	}
}

// More than fits into one bundle or one reply goes in, is found complete, and goes out, and none of it looks like
// drift.
func TestLargeChange(t *testing.T) {
	t.Parallel()
	b := newBench(t, SwitchConfig{})
	const n = 2*maxBundle + 17
	flows := manyFlows(n)
	b.apply(Change{Add: flows})
	c := b.read()
	if add, remove := flow.Diff(c.Flows, flows); len(c.Flows) != n || len(add)+len(remove)+len(c.Strange) > 0 {
		t.Errorf("%d flows, %d to add, %d to remove, %d strange", len(c.Flows), len(add), len(remove), len(c.Strange))
	}
	b.apply(Change{Add: flows[:1], Del: c.Flows})
	if c := b.read(); len(c.Flows) != 1 {
		t.Errorf("%d flows are left, want 1", len(c.Flows))
	}
	select {
	case e := <-b.sw.Drift():
		t.Errorf("our own doing: %s", e.What)
	default:
	}
}

// Changes, packets and questions from many goroutines do not disturb each other.
func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	b := newBench(t, SwitchConfig{PacketIn: func(PacketIn) {}})
	var wg sync.WaitGroup
	for i := range 8 {
		f := parse(t, fmt.Sprintf("table=%d,priority=1,ip actions=drop", i))[0]
		bad := flow.Flow{Table: uint8(i), Match: flow.Match{flow.Eq(flow.TCPDst, flow.U32(80))}}
		wg.Go(func() { b.useAsOne(f, bad) })
	}
	wg.Wait()
	if c := b.read(); len(c.Flows) != 8 || len(c.Strange) > 0 {
		t.Errorf("%+v", c)
	}
}

func (b *bench) useAsOne(f, bad flow.Flow) {
	ctx := b.t.Context()
	for range 20 {
		if err := b.sw.Apply(ctx, Change{Add: []flow.Flow{f}}); err != nil {
			b.t.Errorf("a good change: %v", err)
		}
		var refused *ChangeError
		err := b.sw.Apply(ctx, Change{Add: []flow.Flow{bad}})
		if !errors.As(err, &refused) || refused.Refused[0].What != bad.String() {
			b.t.Errorf("a bad change, %s: %v", bad, err)
		}
		if err := b.sw.PacketOut(ctx, flow.PortLocal, []flow.Action{flow.Controller{Userdata: []byte{1}}}, make([]byte, 60)); err != nil {
			b.t.Error(err)
		}
		if _, err := b.sw.FlowCounts(ctx, f.Cookie()); err != nil {
			b.t.Error(err)
		}
	}
}

// What cannot even be sent is refused like what the switch refuses.
func TestTooLargeAGroup(t *testing.T) {
	t.Parallel()
	b := newBench(t, SwitchConfig{})
	big := flow.Group{ID: 0x4f000001, Owner: "Subnet blue/web"}
	for range 5000 {
		big.Buckets = append(big.Buckets, flow.Bucket{Actions: []flow.Action{flow.Output{Port: 1}}})
	}
	err := b.sw.Apply(t.Context(), Change{AddGroups: []flow.Group{{ID: 0x4f000002}, big}})
	var refused *ChangeError
	if !errors.As(err, &refused) || refused.Refused[0].Owner != "Subnet blue/web" {
		t.Errorf("%.200v", err)
	}
	if c := b.read(); len(c.Groups) > 0 {
		t.Errorf("half applied: %v", c.Groups)
	}
}

// A callback that hangs costs packets, which are counted, and nothing else.
func TestSlowReaderLosesPacketsOnly(t *testing.T) {
	t.Parallel()
	hang := make(chan struct{})
	b := newBench(t, SwitchConfig{PacketIn: func(PacketIn) { <-hang }})
	defer close(hang)
	for range queueLen + 10 {
		if err := b.sw.PacketOut(t.Context(), flow.PortLocal, []flow.Action{flow.Controller{Userdata: []byte{1}}}, make([]byte, 60)); err != nil {
			t.Fatal(err)
		}
	}
	b.apply(Change{Add: parse(t, "table=0,priority=1 actions=drop")})
	await(t, "drops", func() bool { return b.sw.Dropped() > 0 })
}

// A switch that hangs and one that dies are noticed, and calls under way end.
func TestDeadSwitchIsNoticed(t *testing.T) {
	t.Parallel()
	b := newBench(t, SwitchConfig{Patience: 2 * time.Second}) // of a machine that is busy, too
	b.signal(syscall.SIGSTOP)
	if _, err := b.sw.Read(t.Context()); !errors.Is(err, errSilent) {
		t.Errorf("read from a switch that hangs: %v", err)
	}
	<-b.sw.Done()
	b.signal(syscall.SIGCONT)

	sw := dialTest(t, SwitchConfig{Socket: b.Mgmt("br0")})
	b.StopSwitchd()
	<-sw.Done()
	if sw.Err() == nil {
		t.Error("no reason given")
	}
	if err := sw.Apply(t.Context(), Change{Add: parse(t, "table=0,priority=1 actions=drop")}); err == nil {
		t.Error("a dead switch took a change")
	}
}

func (b *bench) signal(s syscall.Signal) {
	b.t.Helper()
	if err := b.Switchd().Signal(s); err != nil {
		b.t.Fatal(err)
	}
}

func TestDialSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t, ovstest.Options{})
	socket := o.AddBridge("br0")
	o.Vsctl("set", "bridge", "br0", "protocols=OpenFlow13")
	if _, err := Dial(t.Context(), SwitchConfig{Socket: socket}); !errors.Is(err, errVersion) {
		t.Errorf("a bridge without OpenFlow 1.5: %v", err)
	}
	if err := o.Switchd().Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := Dial(ctx, SwitchConfig{Socket: socket}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a switch that hangs: %v", err)
	}
}

func TestForeignFlowsAreCountedAndLeftAlone(t *testing.T) {
	b := newBench(t, SwitchConfig{})
	if n, err := b.sw.ForeignFlows(t.Context()); err != nil || n != 0 {
		t.Fatalf("%d foreign flows of an empty bridge, %v", n, err)
	}
	b.apply(Change{Add: []flow.Flow{{Priority: 7, Actions: []flow.Action{flow.Output{Port: 1}}}}})
	b.Ofctl("add-flow", "br0", "priority=60000,actions=normal")
	if n, err := b.sw.ForeignFlows(t.Context()); err != nil || n != 1 {
		t.Errorf("%d foreign flows, %v; want 1", n, err)
	}
}
