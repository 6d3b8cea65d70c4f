package dataplane_test

import (
	"testing"

	"github.com/overlane/overlane/dataplane"
	"github.com/overlane/overlane/dataplane/flow"
)

// What comes from outside is counted apart from what endpoints send: a flood of one is not to keep the agent from
// hearing the other.
func TestMetersAreNotSharedWithTheOutside(t *testing.T) {
	n := newNetwork(t, []byte(handedOn+"{kind: PublicIP, name: blue/p, spec: {address: 1.22.3.5, endpoint: blue/web/a}}"))
	outside := map[byte]bool{dataplane.ForAgentRouterARP: true, dataplane.ForAgentICMPError: true,
		dataplane.ForAgentBorderTTLExpired: true}
	of, known := map[uint32]byte{}, map[uint32]bool{}
	for _, m := range dataplane.Meters() {
		known[m.ID] = true
	}
	for _, f := range n.hosts["g1"].entries.Flows {
		var meter uint32
		for _, action := range f.Actions {
			switch a := action.(type) {
			case flow.UseMeter:
				meter = a.ID
			case flow.Controller:
				what := a.Userdata[0]
				if !known[meter] {
					t.Errorf("there is no meter of %s", f)
				}
				if other, used := of[meter]; used && other != what && (outside[what] || outside[other]) {
					t.Errorf("a meter is shared by %d and %d: %s", other, what, f)
				}
				of[meter] = what
			}
		}
	}
	for what := range outside {
		found := false
		for _, other := range of {
			found = found || other == what
		}
		if !found {
			t.Errorf("nothing is for %d", what)
		}
	}
}
