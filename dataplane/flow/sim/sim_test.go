package sim_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/dataplane/flow/sim"
)

// A small overlay, to read stories from.
func overlay(t testing.TB) sim.Config {
	names := flow.TableNames{0: "admit", 1: "forward", 2: "locate"}
	var flows []flow.Flow
	for _, f := range []struct{ owner, text string }{
		{"Endpoint blue/web/db1", "table=admit,priority=100,in_port=1,dl_src=02:00:00:00:00:01 actions=set_field:0x64->tun_id,goto_table:forward"},
		{"Endpoint blue/web/db2", "table=admit,priority=100,in_port=2,dl_src=02:00:00:00:00:02 actions=goto_table:forward"},
		{"", "table=admit,priority=0 actions=drop"},
		{"", "table=forward,priority=20,arp actions=group:7"},
		{"", "table=forward,priority=10,ip actions=dec_ttl,move:NXM_OF_IP_DST[]->NXM_NX_REG1[],resubmit(,locate),output:NXM_NX_REG0[0..15]"},
		{"", "table=forward,priority=5,dl_type=0x88cc actions=meter:3,controller(userdata=01)"},
		{"", "table=forward,priority=0 actions=drop"},
		{"Endpoint blue/web/db2", "table=locate,priority=10,reg1=0xa000002 actions=set_field:0x9->reg0,set_field:192.168.5.3->tun_dst"},
		{"", "table=locate,priority=0 actions=drop"},
	} {
		parsed, err := names.ParseFlow(f.text)
		if err != nil {
			t.Fatal(err)
		}
		parsed.Owner = f.owner
		flows = append(flows, parsed)
	}
	flood, err := flow.ParseGroup("group_id=7,type=all,bucket=bucket_id:0,actions=output:1,bucket=bucket_id:1,actions=output:2")
	if err != nil {
		t.Fatal(err)
	}
	return sim.Config{
		Flows: flows, Groups: []flow.Group{flood}, Symbols: flow.Symbols{Tables: names},
		Ports: map[uint32]string{1: "db1", 2: "db2", 9: "ovl-vxlan"}, Tunnels: map[uint32]bool{9: true},
	}
}

func TestStories(t *testing.T) {
	spoofed := pingFrame(t, 64)
	spoofed[11] = 9
	exceeded := overlay(t)
	exceeded.Exceeded = map[uint32]bool{3: true}
	for name, c := range map[string]struct {
		config sim.Config
		frame  []byte
		want   string
	}{
		"sent through the tunnel": {overlay(t), pingFrame(t, 64), `
arrives at port 1 (db1): icmp 10.0.0.1 > 10.0.0.2 ttl 64 type 8 code 0, 02:00:00:00:00:01 > 02:00:00:00:00:02
admit: priority=100,in_port=1,dl_src=02:00:00:00:00:01 (Endpoint blue/web/db1): set_field:0x64->tun_id,goto_table:forward
forward: priority=10,ip: dec_ttl,move:ip_dst->reg1,resubmit(,locate),output:reg0[0..15]
  locate: priority=10,reg1=0xa000002 (Endpoint blue/web/db2): set_field:0x9->reg0,set_field:192.168.5.3->tun_dst
reg0 says port 9 (ovl-vxlan)
sent to port 9 (ovl-vxlan): icmp 10.0.0.1 > 10.0.0.2 ttl 63 type 8 code 0, 02:00:00:00:00:01 > 02:00:00:00:00:02, tunnel vni 100 to 192.168.5.3
`},
		"from a stranger's tunnel": {overlay(t), nil, `
arrives at port 9 (ovl-vxlan): icmp 10.0.0.1 > 10.0.0.2 ttl 64 type 8 code 0, 02:00:00:00:00:01 > 02:00:00:00:00:02, tunnel vni 100 from 192.168.5.4 to 192.168.5.2
admit: priority=0: drop
lost: admit: nothing else takes it
`},
		"not from this address": {overlay(t), spoofed, `
arrives at port 1 (db1): icmp 10.0.0.1 > 10.0.0.2 ttl 64 type 8 code 0, 02:00:00:00:00:09 > 02:00:00:00:00:02
admit: priority=0: drop
lost: admit: nothing else takes it
`},
		"dies of age": {overlay(t), pingFrame(t, 1), `
arrives at port 1 (db1): icmp 10.0.0.1 > 10.0.0.2 ttl 1 type 8 code 0, 02:00:00:00:00:01 > 02:00:00:00:00:02
admit: priority=100,in_port=1,dl_src=02:00:00:00:00:01 (Endpoint blue/web/db1): set_field:0x64->tun_id,goto_table:forward
forward: priority=10,ip: dec_ttl,move:ip_dst->reg1,resubmit(,locate),output:reg0[0..15]
TTL is 1: ends here
lost: forward: TTL is 1
`},
		"flooded, not back": {overlay(t), arpFrame(t, 1), `
arrives at port 1 (db1): arp who-has 10.0.0.2 tell 10.0.0.1, 02:00:00:00:00:01 > 02:00:00:00:00:02
admit: priority=100,in_port=1,dl_src=02:00:00:00:00:01 (Endpoint blue/web/db1): set_field:0x64->tun_id,goto_table:forward
forward: priority=20,arp: group:7
  group 7, bucket 0: output:1
  not sent: port 1 (db1) is where it came in
  group 7, bucket 1: output:2
  sent to port 2 (db2): arp who-has 10.0.0.2 tell 10.0.0.1, 02:00:00:00:00:01 > 02:00:00:00:00:02
`},
		"to the controller": {overlay(t), otherFrame(t), `
arrives at port 1 (db1): ethertype 0x88cc, 02:00:00:00:00:01 > 02:00:00:00:00:02
admit: priority=100,in_port=1,dl_src=02:00:00:00:00:01 (Endpoint blue/web/db1): set_field:0x64->tun_id,goto_table:forward
forward: priority=5,dl_type=0x88cc: meter:3,controller(userdata=01)
sent to the controller: ethertype 0x88cc, 02:00:00:00:00:01 > 02:00:00:00:00:02
`},
		"over the meter": {exceeded, otherFrame(t), `
arrives at port 1 (db1): ethertype 0x88cc, 02:00:00:00:00:01 > 02:00:00:00:00:02
admit: priority=100,in_port=1,dl_src=02:00:00:00:00:01 (Endpoint blue/web/db1): set_field:0x64->tun_id,goto_table:forward
forward: priority=5,dl_type=0x88cc: meter:3,controller(userdata=01)
meter 3 is exceeded
lost: forward: meter 3 is exceeded
`},
		"no miss flow": {sim.Config{}, solicitFrame(t), `
arrives at port 1: icmp6 fd00::1 > fd00::2 ttl 64 type 135 code 0 target fd00::2, 02:00:00:00:00:01 > 02:00:00:00:00:02
table 0: no flow takes it
lost: table 0: no flow takes it
`},
	} {
		t.Run(name, func(t *testing.T) {
			packet := sim.Packet{InPort: 1, Frame: c.frame}
			if c.frame == nil {
				packet = sim.Packet{InPort: vxlan, Frame: pingFrame(t, 64), Tunnel: sim.Tunnel{ID: 100, Src: peer4, Dst: vtep}}
			}
			result := sim.New(c.config).Send(packet)
			if diff := cmp.Diff(c.want, "\n"+result.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A packet may be anything; the one that was sent is not touched.
func FuzzSend(f *testing.F) {
	known := udpOf(f, "10.0.0.1:1234", "10.0.0.2:53")
	f.Add(known)
	f.Add(errorOf(f, "10.0.0.9", "10.0.0.1", known, 28))
	for _, frame := range allFrames(f) {
		f.Add(frame)
	}
	config := overlay(f)
	config.Flows = append(config.Flows, flow.Flow{Priority: 1, Actions: append(everyWrite(), flow.Output{Port: 2})},
		flow.Flow{Table: 1, Priority: 30, Match: flow.IP, Actions: []flow.Action{flow.CT{Commit: true, Table: 2, NAT: &flow.NAT{Kind: flow.NATSrc, Addr: ip1}}}},
		flow.Flow{Priority: 200, Match: flow.On(flow.IP, flow.Eq(flow.InPort, flow.U32(1))), Actions: []flow.Action{flow.CT{Table: 1, NAT: &flow.NAT{}}}},
		flow.Flow{Table: 2, Priority: 30, Actions: []flow.Action{flow.Output{Port: 2}}})
	s := sim.New(config)
	f.Fuzz(func(t *testing.T, frame []byte) {
		before := bytes.Clone(frame)
		result := s.Send(sim.Packet{InPort: 1, Frame: frame})
		if !bytes.Equal(frame, before) {
			t.Errorf("frame changed to %x", frame)
		}
		if (result.Lost == "") != (len(result.Outputs) > 0) {
			t.Errorf("%d outputs, lost: %q", len(result.Outputs), result.Lost)
		}
	})
}

// everyWrite reads and writes every field, twice in case that a header comes or goes.
func everyWrite() []flow.Action {
	var list []flow.Action
	for range 2 {
		for _, f := range flow.Fields {
			bits := min(f.Bits, 32)
			list = append(list, flow.Move{Src: f, Dst: flow.Reg9, Bits: bits}, flow.Move{Src: flow.Reg9, Dst: f, Bits: bits})
			if f.Writable {
				list = append(list, flow.SetField{Field: f, Value: flow.U32(1)})
			}
		}
	}
	return list
}

// Groups that lead to themselves end, as resubmits do.
func TestGroupsInCircles(t *testing.T) {
	self := []flow.Bucket{{Actions: []flow.Action{flow.ToGroup{ID: 1}}}, {Actions: []flow.Action{flow.ToGroup{ID: 1}}}}
	c := sim.Config{
		Flows:  []flow.Flow{{Actions: []flow.Action{flow.Output{Port: 2}, flow.ToGroup{ID: 1}}}},
		Groups: []flow.Group{{ID: 1, Buckets: self}},
	}
	result := sim.New(c).Send(sim.Packet{InPort: 1, Frame: pingFrame(t, 64)})
	if result.Lost != "table 0: goes in circles" || len(result.Outputs) > 0 {
		t.Errorf("lost: %q, outputs: %v", result.Lost, result.Outputs)
	}
	if err := flow.Soundness(c.Flows, c.Groups, nil); err == nil || err.Error() != "group 1: leads back to itself" {
		t.Error(err)
	}
}

func BenchmarkSend(b *testing.B) {
	s := sim.New(overlay(b))
	frame := pingFrame(b, 64)
	for b.Loop() {
		s.Send(sim.Packet{InPort: 1, Frame: frame})
	}
}
