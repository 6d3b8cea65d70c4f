package ovs

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/overlane/overlane/dataplane/flow"
)

// manyFlows are like those of an overlay: three fields matched, five actions and a goto.
func manyFlows(n int) []flow.Flow {
	flows := make([]flow.Flow, n)
	for i := range flows {
		ip := flow.U32(10<<24 | uint32(i))
		flows[i] = flow.Flow{
			Table: 8, Priority: 100,
			Match: flow.On(flow.IP, flow.Eq(flow.IPDst, ip), flow.Eq(flow.Reg0, flow.U32(100))),
			Actions: []flow.Action{
				flow.SetField{Field: flow.Reg2, Value: flow.U32(uint32(i))},
				flow.SetField{Field: flow.TunID, Value: flow.U32(100)},
				flow.SetField{Field: flow.TunDst, Value: flow.U32(0xc0a80502)},
				flow.SetField{Field: flow.EthDst, Value: flow.U64(0x0a00_0000_0000 + uint64(i))},
				flow.DecTTL{},
				flow.Goto{Table: 9},
			},
		}
	}
	return flows
}

// BenchmarkLoad is a cold load and, for comparison, ovs-ofctl's.
func BenchmarkLoad(b *testing.B) {
	for _, n := range []int{1, 1000, 10_000, 100_000} {
		flows := manyFlows(n)
		b.Run(fmt.Sprintf("flows=%d", n), func(b *testing.B) {
			sw := newBench(b, SwitchConfig{})
			for b.Loop() {
				sw.apply(Change{Add: flows})
				b.StopTimer()
				sw.Ofctl("del-flows", "br0")
				b.StartTimer()
			}
		})
		b.Run(fmt.Sprintf("flows=%d/by=ovs-ofctl", n), func(b *testing.B) {
			sw := newBench(b, SwitchConfig{})
			file := filepath.Join(sw.Dir, "flows")
			writeFlows(b, file, flows)
			for b.Loop() {
				sw.Ofctl("--bundle", "add-flows", "br0", file)
				b.StopTimer()
				sw.Ofctl("del-flows", "br0")
				b.StartTimer()
			}
		})
	}
}

func writeFlows(b *testing.B, file string, flows []flow.Flow) {
	b.Helper()
	var text strings.Builder
	for _, f := range flows {
		fmt.Fprintf(&text, "cookie=%#x,%s\n", f.Cookie(), strings.Replace(f.String(), " actions=", ",actions=", 1))
	}
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkResync reads everything back, checks it and finds that nothing is to be done.
func BenchmarkResync(b *testing.B) {
	for _, n := range []int{1000, 10_000, 100_000} {
		b.Run(fmt.Sprintf("flows=%d", n), func(b *testing.B) {
			sw := newBench(b, SwitchConfig{})
			flows := manyFlows(n)
			sw.apply(Change{Add: flows})
			for b.Loop() {
				c := sw.read()
				if add, remove := flow.Diff(c.Flows, flows); len(c.Flows) != n || len(add)+len(remove)+len(c.Strange) > 0 {
					b.Fatalf("%d flows, %d to add, %d to remove, %d strange", len(c.Flows), len(add), len(remove), len(c.Strange))
				}
			}
		})
	}
}

// BenchmarkSmallChange replaces ten flows among many, from the call to the switch's barrier reply.
func BenchmarkSmallChange(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		b.Run(fmt.Sprintf("flows=%d", n), func(b *testing.B) {
			sw := newBench(b, SwitchConfig{})
			flows := manyFlows(n)
			sw.apply(Change{Add: flows})
			few := flows[:10]
			for i := 0; b.Loop(); i++ {
				for k := range few {
					few[k].Actions = []flow.Action{flow.Output{Port: uint32(1 + i&1)}}
				}
				sw.apply(Change{Add: few})
			}
		})
	}
}
