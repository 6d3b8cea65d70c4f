package agent

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/overlane/overlane/dataplane"
	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/ovs"
	"github.com/overlane/overlane/ovs/ovstest"
)

// alter makes the switch as if another version of Overlane had filled it.
func alter(t *testing.T, o *ovstest.OVS, change func(pipeline []flow.Flow) ovs.Change) {
	t.Helper()
	sw, err := ovs.Dial(t.Context(), ovs.SwitchConfig{Socket: o.Mgmt("br-overlane")})
	if err != nil {
		t.Fatal(err)
	}
	defer sw.Close()
	pipeline := dataplane.CompileSubject(nil, dataplane.Wiring{TunnelPort: 1}, dataplane.Subject{}).Flows
	if err := sw.Apply(t.Context(), change(pipeline)); err != nil {
		t.Fatal(err)
	}
}

// contents are the flows and groups, in an order of their own.
func contents(o *ovstest.OVS) string {
	lines := strings.Split(o.Ofctl("-O", "OpenFlow15", "--no-stats", "dump-flows", "br-overlane")+
		o.Ofctl("-O", "OpenFlow15", "dump-groups", "br-overlane"), "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// An agent of a new version that starts while the server is away does not mix its pipeline with the old one, and
// replaces it when it has the whole view. One of the same version puts back what is missing.
func TestStartAfterAnUpgradeWithoutServer(t *testing.T) {
	t.Parallel()
	s, o, state, ns := newPretendServer(), dummySwitch(t), t.TempDir(), netns(t, "upgraded")
	a, stop := start(t, s, o.Dir, state)
	a.plugged(t, ns)
	want := contents(o)
	stop()
	for _, tt := range []struct {
		name   string
		change func(pipeline []flow.Flow) ovs.Change
	}{
		{"a flow has other actions", func(pipeline []flow.Flow) ovs.Change {
			f := pipeline[len(pipeline)/2]
			f.Actions = []flow.Action{flow.Output{Port: 9}}
			return ovs.Change{Add: []flow.Flow{f}}
		}},
		{"a flow is not there", func(pipeline []flow.Flow) ovs.Change {
			f := pipeline[len(pipeline)/2]
			return ovs.Change{Del: []flow.Installed{{Key: f.Key(), Cookie: f.Cookie()}}}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			alter(t, o, tt.change)
			old := contents(o)
			if old == want {
				t.Fatal("nothing was altered")
			}
			away := newPretendServer()
			away.silent = true
			headless, stop := start(t, away, o.Dir, state)
			headless.eventually(t, "the agent to have looked", func() bool {
				return headless.flows.foreignPipeline || headless.flows.sw != nil && headless.flows.resync == ""
			})
			headless.eventually(t, "another look", func() bool { return headless.flows.sw != nil })
			if diff := cmp.Diff(old, contents(o)); diff != "" {
				t.Errorf("the switch has changed (-before +after):\n%s", diff)
			}
			stop()
			a, stop := start(t, s, o.Dir, state)
			a.eventually(t, "the agent to be ready", func() bool { return a.flows.sw != nil && a.intent.complete && a.flows.resync == "" })
			stop()
			if diff := cmp.Diff(want, contents(o)); diff != "" {
				t.Errorf("not replaced (-want +has):\n%s", diff)
			}
		})
	}
	t.Run("all flows are gone", func(t *testing.T) {
		o.Ofctl("-O", "OpenFlow15", "del-flows", "br-overlane")
		away := newPretendServer()
		away.silent = true
		headless, _ := start(t, away, o.Dir, state)
		headless.eventually(t, "the agent to be done", func() bool { return headless.flows.sw != nil && headless.flows.resync == "" })
		if diff := cmp.Diff(want, contents(o)); diff != "" {
			t.Errorf("not put back (-want +has):\n%s", diff)
		}
	})
}
