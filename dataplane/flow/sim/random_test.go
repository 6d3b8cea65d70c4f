package sim_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/dataplane/flow/sim"
	"pgregory.net/rapid"
)

// Flow sets that nobody thought of.
func TestRandomFlowsAgreeWithOVS(t *testing.T) {
	ovs := startSwitch(t)
	frames := allFrames(t)
	for seed := range 12 {
		flows := anyFlows().Example(seed)
		groups := anyGroups().Example(seed)
		if err := flow.Soundness(flows, groups, nil); err != nil {
			t.Fatal(err)
		}
		ovs.Install(flows, groups)
		ours := sim.New(sim.Config{Flows: flows, Groups: groups, Ports: ports})
		for _, kind := range slices.Sorted(maps.Keys(frames)) {
			if kind == "later fragment" && rewritesAddresses(flows) {
				continue
			}
			t.Run(fmt.Sprintf("%d/%s", seed, kind), func(t *testing.T) { compare(t, ovs, ours, frames[kind]) })
		}
	}
}

// anyFlows draws some flows in each of four tables, each leading to later ones.
func anyFlows() *rapid.Generator[[]flow.Flow] {
	return rapid.Custom(func(t *rapid.T) []flow.Flow {
		var flows []flow.Flow
		for table := range uint8(4) {
			for priority := range uint16(rapid.IntRange(2, 7).Draw(t, "flows")) {
				flows = append(flows, anyFlow(t, table, priority+1))
			}
			flows = append(flows, flow.Flow{Table: table, Actions: anyActions(t, table, nil)})
		}
		return flows
	})
}

func anyFlow(t *rapid.T, table uint8, priority uint16) flow.Flow {
	f := flow.Flow{Table: table, Priority: priority, Match: anyMatch(t)}
	f.Actions = anyActions(t, table, f.Match)
	return f
}

var protocols = []flow.Match{
	nil, flow.IP, flow.IP6, flow.ARP, flow.ICMP, flow.TCP, flow.UDP, flow.ICMP6, flow.TCP6, flow.NDSolicit, flow.NDAdvert,
}

// anyMatch is of what the frames have, mostly.
func anyMatch(t *rapid.T) flow.Match {
	m := flow.On(rapid.SampledFrom(protocols).Draw(t, "protocol"))
	for range rapid.IntRange(0, 2).Draw(t, "terms") {
		f := rapid.SampledFrom(flow.Fields).Draw(t, "field")
		mask := f.Exact()
		if f.Maskable && f.Form != flow.IPv6 { // ovs-ofctl cannot read every IPv6 mask
			mask = flow.U32(1).Shl(rapid.IntRange(0, f.Bits-1).Draw(t, "bit"))
		}
		v := flow.Value{}
		if f.Bits > 8 && rapid.Bool().Draw(t, "set") {
			v = mask
		}
		if longer := m.And(flow.Masked(f, v, mask)); longer.Check() == nil {
			m = longer
		}
	}
	return m
}

func anyActions(t *rapid.T, table uint8, m flow.Match) []flow.Action {
	var list []flow.Action
	for range rapid.IntRange(1, 5).Draw(t, "actions") {
		longer := append(list[:len(list):len(list)], anyAction(t, table))
		if (flow.Flow{Table: table, Match: m, Actions: longer}).Check() == nil {
			list = longer
		}
	}
	return list
}

func anyAction(t *rapid.T, table uint8) flow.Action {
	later := uint8(rapid.IntRange(int(table)+1, 4).Draw(t, "table"))
	switch kind := rapid.IntRange(0, 10).Draw(t, "kind"); {
	case kind < 2:
		return flow.Output{Port: rapid.SampledFrom([]uint32{1, 2, 3, flow.PortInPort}).Draw(t, "port")}
	case kind == 2 && later < 4:
		return flow.Goto{Table: later}
	case kind == 3 && later < 4:
		return flow.Resubmit{Table: later}
	case kind == 4:
		return flow.ToGroup{ID: 1}
	case kind == 5:
		return flow.DecTTL{}
	case kind == 6:
		return flow.OutputReg{Field: flow.Reg0}
	case kind == 7:
		return flow.CheckLarger{Len: rapid.SampledFrom([]uint16{50, 60, 70, 100}).Draw(t, "length"), Dst: flow.Reg0, Bit: rapid.IntRange(0, 2).Draw(t, "bit")}
	}
	return anyWrite(t)
}

func anyWrite(t *rapid.T) flow.Action {
	dst := rapid.SampledFrom(writable()).Draw(t, "dst")
	if rapid.Bool().Draw(t, "move") {
		src := rapid.SampledFrom(flow.Fields).Draw(t, "src")
		bits := rapid.IntRange(1, min(src.Bits, dst.Bits)).Draw(t, "bits")
		return flow.Move{Src: src, Dst: dst, Bits: bits, SrcBit: src.Bits - bits, DstBit: dst.Bits - bits}
	}
	mask := dst.Exact()
	if dst.Maskable && dst.Form != flow.IPv6 && rapid.Bool().Draw(t, "masked") {
		mask = flow.Ones(dst.Bits / 2).Shl(dst.Bits / 4)
	}
	v := flow.Value{Hi: rapid.Uint64().Draw(t, "hi"), Lo: rapid.Uint64().Draw(t, "lo")}
	if dst == flow.InPort16 {
		v = flow.U32(rapid.Uint32Range(0, 4).Draw(t, "in_port"))
	}
	return flow.SetField{Field: dst, Value: v.And(mask), Mask: mask}
}

func writable() []*flow.Field {
	return slices.DeleteFunc(slices.Clone(flow.Fields), func(f *flow.Field) bool { return !f.Writable })
}

func anyGroups() *rapid.Generator[[]flow.Group] {
	return rapid.Custom(func(t *rapid.T) []flow.Group {
		g := flow.Group{ID: 1}
		for range rapid.IntRange(1, 3).Draw(t, "buckets") {
			b := flow.Bucket{Actions: []flow.Action{flow.Output{Port: uint32(rapid.IntRange(1, 3).Draw(t, "port"))}}}
			w := anyWrite(t)
			if longer := append([]flow.Action{w}, b.Actions...); (flow.Group{Buckets: []flow.Bucket{{Actions: longer}}}).Check() == nil {
				b.Actions = longer
			}
			g.Buckets = append(g.Buckets, b)
		}
		return []flow.Group{g}
	})
}
