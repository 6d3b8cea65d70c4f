package dataplane_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/dataplane/flow/flowtest"
)

// On a real switch, packets that leave a VPC are balanced over the border hosts that are alive. If none is alive, all
// of them take one path.
func TestBorderHostsFoundDead(t *testing.T) {
	intent, err := txtar.ParseFile("testdata/distributed.txtar")
	if err != nil {
		t.Fatal(err)
	}
	n := newNetwork(t, section(intent, "intent.yaml"))
	groups := n.hosts["h1"].entries.Groups
	leave := groups[slices.IndexFunc(groups, func(g flow.Group) bool { return g.Type == flow.GroupFastFailover })]
	const endpoint, toE1, toE2, watchE1, watchE2 = 10, firstEdgePort, firstEdgePort + 1, firstWatchedPort,
		firstWatchedPort + 1
	ovs := flowtest.StartSwitch(t)
	for _, port := range []uint32{endpoint, toE1, toE2, watchE1, watchE2} {
		ovs.AddPort(port)
	}
	ovs.Install([]flow.Flow{{Match: flow.On(flow.IP), Actions: []flow.Action{flow.ToGroup{ID: leave.ID}}}}, groups)
	const connections = 32
	took := func() (packets map[uint32]int) {
		packets = map[uint32]int{}
		for i := range connections {
			_, p := n.packet(t, strings.Fields(fmt.Sprintf("green/web/a tcp 198.51.100.10 ports %d-80", 4000+i)))
			for port, frames := range ovs.Send(endpoint, p.Frame) {
				packets[port] += len(frames)
			}
		}
		return packets
	}
	for _, step := range []struct{ dead, ways []uint32 }{
		{nil, []uint32{toE1, toE2}},
		{[]uint32{watchE1}, []uint32{toE2}},
		{[]uint32{watchE2}, []uint32{toE1}},
		{[]uint32{watchE1, watchE2}, []uint32{toE1}},
		{[]uint32{watchE1, watchE2, toE1}, []uint32{toE2}},
		{nil, []uint32{toE1, toE2}},
	} {
		ovs.Appctl("netdev-dummy/set-admin-state", "up")
		for _, port := range step.dead {
			ovs.Appctl("netdev-dummy/set-admin-state", fmt.Sprintf("p%d", port), "down")
		}
		all := func(packets map[uint32]int) bool {
			sum := 0
			for _, port := range step.ways {
				if sum += packets[port]; packets[port] == 0 {
					return false
				}
			}
			return sum == connections
		}
		deadline := time.Now().Add(20 * time.Second)
		for packets := took(); !all(packets); packets = took() {
			if time.Now().After(deadline) {
				t.Fatalf("with %d dead, %d connections took %v, want %d", step.dead, connections, packets, step.ways)
			}
		}
	}
}
