package drill_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/overlane/overlane/examples"
	"github.com/overlane/overlane/lab"
	"github.com/overlane/overlane/lab/drill"
	"github.com/overlane/overlane/lab/labtest"
)

func up(t *testing.T) *lab.Lab {
	t.Helper()
	f, err := drill.File(examples.Files, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return labtest.UpFile(t, f)
}

// overlaneDrill runs the command on a lab, and fails the test if it does not exit as it should.
func overlaneDrill(t *testing.T, l *lab.Lab, works bool, args ...string) (results []drill.Result) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, labtest.Binary(t), append([]string{"drill", "--lab", l.File.Name, "--json", "--for", "3s"}, args...)...)
	var out, problems strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); (err == nil) != works || err != nil && !errors.As(err, new(*exec.ExitError)) {
		t.Fatalf("drill %v: %v\n%s%s", args, err, &out, &problems)
	}
	if err := json.Unmarshal([]byte(out.String()), &results); err != nil {
		t.Fatalf("drill %v --json: %v\n%s", args, err, &out)
	}
	return results
}

// lossless wants a drill to lose no probe that the machine does not lose without it, and no connection. Its phases are
// as long as the one before it.
func lossless(t *testing.T, l *lab.Lab, args ...string) {
	t.Helper()
	labtest.Lossless(t, labtest.Tries, func() (all []labtest.Comparison) {
		before := overflows(t, l)
		results := overlaneDrill(t, l, true, append(args, "--for", "2s")...)
		overflow := overflows(t, l).Since(before)
		if len(results) != 1 || len(results[0].Phases) != 3 {
			t.Fatalf("results are %+v", results)
		}
		phases := results[0].Phases
		for _, p := range phases {
			if both := p.Both(); both.Duplicates > 0 || both.Kept < both.Connections {
				t.Errorf("%s: %+v", p.What, both)
			}
		}
		for _, p := range phases[1:] {
			all = append(all, labtest.Comparison{What: p.What, With: window(p, overflow), Without: []labtest.Window{window(phases[0], overflow)}})
		}
		return all
	})
}

func window(p drill.Phase, overflow int) labtest.Window {
	both := p.Both()
	return labtest.Window{Took: 2 * time.Second, Losses: []string{fmt.Sprintf("%+v", both)}, Lost: both.Lost, Overflow: overflow}
}

func overflows(t *testing.T, l *lab.Lab) lab.Overflows {
	t.Helper()
	all, err := l.Overflows(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Without agent or server the network goes on as it is: no packet and no connection is lost, neither when they end nor
// when they come back. With a gateway less, connections stay.
func TestDrills(t *testing.T) {
	t.Parallel()
	l := up(t)
	for _, kind := range []string{"agent", "server"} {
		t.Run(kind, func(t *testing.T) {
			lossless(t, l, kind, "--design", "snat")
		})
	}
	t.Run("a loss is seen", func(t *testing.T) {
		phases := overlaneDrill(t, l, true, "ovs", "--design", "snat")[0].Phases
		before, both := phases[0].Both(), phases[1].Both()
		if both.Lost <= before.Lost || both.GapMS <= before.GapMS || both.StallMS < both.GapMS {
			t.Errorf("Open vSwitch restarted, and what was lost is %+v, after %+v", both, before)
		}
	})
	t.Run("gateway", func(t *testing.T) {
		r := overlaneDrill(t, l, true, "gateway", "--for", "5s")[0]
		for _, p := range r.Phases {
			t.Logf("%s: %+v", p.What, p.Both())
			if both := p.Both(); both.Kept < both.Connections {
				t.Errorf("%s: connections were lost", p.What)
			}
		}
		before, both := r.Phases[0].Both(), r.Phases[1].Both()
		if both.Lost <= before.Lost || both.GapMS-before.GapMS > 2500 {
			t.Errorf("a gateway died, and what was lost is %+v, after %+v", both, before)
		}
	})
	t.Run("load", func(t *testing.T) {
		for _, r := range overlaneDrill(t, l, true, "load") {
			full, after := r.Phases[1].Both(), r.Phases[2].Both()
			if r.Alarms == nil || r.Alarms.Ends != 24 || after.Kept < after.Connections { // under load, TCP may wait for seconds
				t.Errorf("%s: %+v, %+v, then %+v", r.Design, r.Alarms, full, after)
			}
		}
	})
	t.Run("a way that does not work is told of", func(t *testing.T) {
		if err := l.SetLink("server", false); err != nil {
			t.Fatal(err)
		}
		r := overlaneDrill(t, l, false, "agent", "--design", "snat")
		if len(r) != 1 || len(r[0].Phases) > 0 || !strings.Contains(r[0].NotWorking, "nothing comes back from 198.51.100.20") {
			t.Errorf("results are %+v", r)
		}
	})
}
