package dataplane_test

import (
	"strings"
	"testing"

	"github.com/overlane/overlane/dataplane"
	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/dataplane/flow/flowtest"
)

func TestABigSwitchIsSound(t *testing.T) {
	v, w := big()
	e := dataplane.Compile(v, w)
	if err := flow.Soundness(e.Flows, e.Groups, dataplane.Names()); err != nil {
		t.Error(err)
	}
	cookies := map[uint64]string{}
	for _, f := range e.Flows {
		if other, taken := cookies[f.Cookie()]; taken {
			t.Errorf("one cookie for two flows:\n%s\n%s", other, f)
		}
		cookies[f.Cookie()] = f.String()
	}
}

func TestOVSReadsEveryFlowAsWeMeanIt(t *testing.T) {
	v, w := big()
	e := dataplane.Compile(v, w)
	flowtest.ParseWithOVS(t, e.Flows)
	flowtest.ParseGroupsWithOVS(t, e.Groups)
}

func TestEveryDropIsCounted(t *testing.T) {
	v, w := big()
	w.SNATPort, w.UpstreamPort = 2, 3
	names := map[string]bool{}
	for _, name := range dataplane.DropCounters(v, w) {
		names[name] = true
	}
	for _, d := range dataplane.Drops {
		if !names[d.Name] {
			t.Errorf("no flow counts %q", d.Name)
		}
	}
	tables := dataplane.Names()
	for _, f := range dataplane.Compile(v, w).Flows {
		subroutine := tables[f.Table] == "verify" // there a hit does nothing and comes back
		if len(f.Actions) == 0 && !subroutine && !strings.HasPrefix(f.Owner, "drop ") {
			t.Errorf("a flow drops without a name: %s", f)
		}
	}
}
