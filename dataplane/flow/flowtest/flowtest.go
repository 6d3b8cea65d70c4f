// Package flowtest holds flows against the real Open vSwitch: how ovs-ofctl reads them, and what an ovs-vswitchd of the
// test's own does with packets. It needs no privilege, never touches the machine's own OVS, and fails where OVS is not
// installed.
package flowtest

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/overlane/overlane/dataplane/flow"
)

// ParseWithOVS fails the test unless ovs-ofctl reads each flow and writes it back unchanged, as OpenFlow 1.5.
// ("ovs-ofctl parse-flows" succeeds, and only says "normalization changed", when it drops a term of a match.)
func ParseWithOVS(t testing.TB, flows []flow.Flow) {
	t.Helper()
	var in, want strings.Builder
	for _, f := range flows {
		fmt.Fprintln(&in, f)
		fmt.Fprintln(&want, asFlowMod(f))
	}
	out, problems := ofctl(t.Context(), in.String(), "parse-flows", "-")
	if problems != "" {
		t.Errorf("ovs-ofctl parse-flows: %s", problems)
	}
	compareLines(t, messages(out), strings.TrimSuffix(want.String(), "\n"))
}

// ParseGroupsWithOVS is [ParseWithOVS] for groups. It runs ovs-ofctl once for each.
func ParseGroupsWithOVS(t testing.TB, groups []flow.Group) {
	t.Helper()
	for _, g := range groups {
		out, problems := ofctl(t.Context(), "", "parse-group", g.String())
		if problems != "" {
			t.Errorf("ovs-ofctl parse-group %s: %s", g, problems)
		}
		_, got, _ := strings.Cut(out, "\n ADD ")
		compareLines(t, strings.TrimSpace(got), g.String())
	}
}

// asFlowMod is the flow as ovs-ofctl writes the message that would install it: it leaves out table 0 and priority
// 32768.
func asFlowMod(f flow.Flow) string {
	table := ""
	if f.Table != 0 {
		table = fmt.Sprintf("table:%d ", f.Table)
	}
	_, rest, _ := strings.Cut(f.String(), ",")
	if f.Priority == 32768 {
		rest = strings.TrimLeft(strings.TrimPrefix(rest, "priority=32768"), ", ")
	}
	return "ADD " + table + rest
}

// messages keeps what follows "OFPT_FLOW_MOD (OF1.5) (xid=0x1): " in each line.
func messages(out string) string {
	var keep []string
	for line := range strings.Lines(out) {
		if _, message, ok := strings.Cut(line, "): "); ok && strings.HasPrefix(line, "OFPT_") {
			keep = append(keep, strings.TrimSpace(message))
		}
	}
	return strings.Join(keep, "\n")
}

// ofctl returns what ovs-ofctl wrote, and its complaints.
func ofctl(ctx context.Context, stdin string, args ...string) (out, problems string) {
	cmd := exec.CommandContext(ctx, "ovs-ofctl", append([]string{"-O", "OpenFlow15"}, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(&stderr, err)
	}
	return stdout.String(), stderr.String()
}

// compareLines shows the first few lines that differ.
func compareLines(t testing.TB, got, want string) {
	t.Helper()
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	if len(g) != len(w) {
		t.Errorf("ovs-ofctl read %d of %d lines", len(g), len(w))
	}
	shown := 0
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] && shown < 5 {
			t.Errorf("ovs-ofctl reads\n\t%s\nwe wrote\n\t%s", g[i], w[i])
			shown++
		}
	}
}
