package flow_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/dataplane/flow/flowtest"
	"pgregory.net/rapid"
)

// Written to switches, so it may change only with the reason at hand: every agent rewrites all of its flows after such
// an update.
func TestHashIsStable(t *testing.T) {
	f := mustParse(t, "table=3,priority=100,arp,in_port=3,arp_spa=10.0.0.0/24 actions=set_field:0x64->tun_id,output:4")
	if got, want := fmt.Sprintf("%#x", f.Cookie()), "0xf1a580466658cc3"; got != want {
		t.Errorf("cookie is %s, was %s", got, want)
	}
	if f.Cookie()&flow.CookieMask != flow.CookieOwner {
		t.Errorf("cookie %#x is not marked as ours", f.Cookie())
	}
}

// Flows that read the same hash the same, whoever owns them; flows that differ anywhere do not.
func TestHashTellsFlowsApart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := flowtest.AnyFlow().Draw(t, "a"), flowtest.AnyFlow().Draw(t, "b")
		a.Owner = "Endpoint blue/web/db1"
		if (a.Hash() == b.Hash()) != (a.String() == b.String()) {
			t.Fatalf("%s\n%s\nhash to %#x and %#x", a, b, a.Hash(), b.Hash())
		}
		b.Owner = "Endpoint blue/web/db2"
		if back := mustParse(t, a.String()); back.Hash() != a.Hash() {
			t.Fatalf("%s: another hash without its owner", a)
		}
	})
}

func TestDiff(t *testing.T) {
	same := mustParse(t, "table=0,priority=1,ip actions=output:1")
	changed := mustParse(t, "table=0,priority=2,ip actions=output:1")
	changedTo := mustParse(t, "table=0,priority=2,ip actions=output:2")
	gone := mustParse(t, "table=0,priority=3,ip actions=output:1")
	fresh := mustParse(t, "table=0,priority=4,ip actions=output:1")
	var installed []flow.Installed
	for _, f := range []flow.Flow{same, changed, gone} {
		installed = append(installed, flow.Installed{Key: f.Key(), Cookie: f.Cookie()})
	}
	add, remove := flow.Diff(installed, []flow.Flow{fresh, changedTo, same})
	got := fmt.Sprint("add ", add, " remove ", remove[0].Key, len(remove))
	want := fmt.Sprint("add ", []flow.Flow{fresh, changedTo}, " remove ", gone.Key(), 1)
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestSort(t *testing.T) {
	want := []string{
		"table=0,priority=100 actions=drop",
		"table=0,priority=100,in_port=1 actions=drop",
		"table=0,priority=100,in_port=2 actions=drop",
		"table=0,priority=0 actions=drop",
		"table=1,priority=65535 actions=drop",
	}
	flows := parseAll(t, want[3], want[4], want[2], want[0], want[1])
	flow.Sort(flows)
	var got []string
	for _, f := range flows {
		got = append(got, f.String())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func mustParse(t interface {
	Helper()
	Fatal(...any)
}, s string) flow.Flow {
	t.Helper()
	f, err := flow.ParseFlow(s)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func parseAll(t testing.TB, lines ...string) []flow.Flow {
	t.Helper()
	var flows []flow.Flow
	for _, l := range lines {
		flows = append(flows, mustParse(t, l))
	}
	return flows
}

// locateFlows are like those that a compiler makes: n addresses of a segment, one flow each.
func locateFlows(n int) []flow.Flow {
	flows := make([]flow.Flow, 0, n)
	for i := range uint32(n) {
		addr := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		flows = append(flows, flow.Flow{
			Table: 8, Priority: 100,
			Match: flow.On(flow.Eq(flow.Reg0, flow.U32(i%50)), flow.Eq(flow.Reg1, flow.Addr(addr))),
			Actions: []flow.Action{
				flow.SetField{Field: flow.Reg2, Value: flow.U32(i)},
				flow.SetField{Field: flow.XXReg1, Value: flow.MAC([6]byte{2, 0, 0, 0, byte(i >> 8), byte(i)})},
				flow.SetField{Field: flow.TunDst, Value: flow.Addr(addr)},
			},
			Owner: "Endpoint blue/web/db1",
		})
	}
	return flows
}

func BenchmarkMake10k(b *testing.B) {
	for b.Loop() {
		locateFlows(10_000)
	}
}

func BenchmarkHash10k(b *testing.B) {
	flows := locateFlows(10_000)
	for b.Loop() {
		for _, f := range flows {
			f.Hash()
		}
	}
}

func BenchmarkKey10k(b *testing.B) {
	flows := locateFlows(10_000)
	for b.Loop() {
		for _, f := range flows {
			f.Key()
		}
	}
}

func BenchmarkDiff10k(b *testing.B) {
	flows := locateFlows(10_000)
	var installed []flow.Installed
	for _, f := range flows {
		installed = append(installed, flow.Installed{Key: f.Key(), Cookie: f.Cookie()})
	}
	for b.Loop() {
		flow.Diff(installed, flows)
	}
}

func BenchmarkSoundness10k(b *testing.B) {
	flows := append(locateFlows(10_000), flow.Flow{}, flow.Flow{Table: 8})
	for b.Loop() {
		if err := flow.Soundness(flows, nil, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkText10k(b *testing.B) {
	flows := locateFlows(10_000)
	for b.Loop() {
		for _, f := range flows {
			_ = f.String()
		}
	}
}
