package flow_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/overlane/overlane/dataplane/flow"
	"pgregory.net/rapid"
)

func TestSoundness(t *testing.T) {
	flows := parseAll(t,
		"table=0,priority=100,in_port=1 actions=resubmit(,7),goto_table:2",
		"table=0,priority=0 actions=drop",
		"table=2,priority=10,ip,nw_src=10.0.0.0/8 actions=output:3",
		"table=2,priority=10,ip,nw_dst=10.0.0.0/8 actions=group:9",
		"table=2,priority=10,arp actions=group:5",
		"table=7,priority=5 actions=resubmit(,0)",
		"table=2,priority=20,ip actions=ct(table=9)",
		"table=7,priority=0 actions=drop",
	)
	flows = append(flows, flow.Flow{Table: 7, Priority: 9, Match: flow.On(flow.Eq(flow.TCPDst, flow.U32(80))), Owner: "Endpoint x"})
	groups := []flow.Group{{ID: 5}, {ID: 5}}
	err := flow.Soundness(flows, groups, flow.TableNames{0: "admit", 2: "answer", 7: "locate", 8: "deliver"})
	want := strings.TrimSpace(`
group 5: defined twice
table=answer,priority=10,ip,nw_dst=10.0.0.0/8 actions=group:9: no group 9
table=locate,priority=9,tp_dst=80 actions=drop (Endpoint x): match on tcp_dst: the match does not say tcp
table answer: no miss flow
table 9: no miss flow
table admit: leads back to itself
table locate: leads back to itself
overlap: table=2,priority=10,ip,nw_src=10.0.0.0/8 actions=output:3 <> table=2,priority=10,ip,nw_dst=10.0.0.0/8 actions=group:9`)
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	sound := append(flows[:0:0], flows[1], flows[4], mustParse(t, "table=2,priority=0 actions=drop"))
	if err := flow.Soundness(sound, groups[:1], nil); err != nil {
		t.Error(err)
	}
}

// The same answer as trying all pairs.
func TestOverlapsAgreeWithAllPairs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		flows := rapid.SliceOfN(smallFlow(), 0, 12).Draw(t, "flows")
		want := false
		for i, a := range flows {
			for _, b := range flows[i+1:] {
				want = want || overlap(a, b)
			}
		}
		found := flow.Overlaps(flows)
		if len(found) > 0 != want {
			t.Fatalf("found %v, want %v", found, want)
		}
		for _, o := range found {
			if !overlap(o.A, o.B) {
				t.Fatalf("%s: not so", o)
			}
		}
	})
}

// smallFlow draws from a world so small that overlaps are common.
func smallFlow() *rapid.Generator[flow.Flow] {
	return rapid.Custom(func(t *rapid.T) flow.Flow {
		f := flow.Flow{Priority: uint16(rapid.IntRange(0, 1).Draw(t, "priority"))}
		if rapid.Bool().Draw(t, "port") {
			f.Match = f.Match.And(flow.Eq(flow.InPort, flow.U32(rapid.Uint32Range(1, 9).Draw(t, "in_port"))))
		}
		if rapid.Bool().Draw(t, "ip") {
			addr := netip.AddrFrom4([4]byte{10, byte(rapid.IntRange(0, 255).Draw(t, "addr"))})
			prefix := netip.PrefixFrom(addr, rapid.IntRange(0, 16).Draw(t, "bits"))
			f.Match = f.Match.And(flow.IP, flow.Prefix(flow.IPSrc, prefix))
		}
		return f
	})
}

func overlap(a, b flow.Flow) bool {
	for _, t := range a.Match {
		u, ok := b.Match.Lookup(t.Field)
		mask := t.Mask.And(u.Mask)
		if ok && t.Value.And(mask) != u.Value.And(mask) {
			return false
		}
	}
	return a.Table == b.Table && a.Priority == b.Priority
}
