package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestTableIsLegible: a cell moves no cursor, and makes no row of its own.
func TestTableIsLegible(t *testing.T) {
	rows := table{{"HOST", "READY", "REASON"}}
	rows.row("host1", "no", "\x1b[2J\x1b]0;owned\a")
	rows.row("h2\nh3", "yes", "\u202eback\u009b \xff")
	rows.row("höst4", "Unknown", `C:\ "quoted"`)
	var out strings.Builder
	rows.print(&out, false)
	want := strings.Join([]string{
		`HOST    READY    REASON`,
		`host1   no       \x1b[2J\x1b]0;owned\a`,
		`h2\nh3  yes      \u202eback\u009b \xff`,
		`höst4   Unknown  C:\ "quoted"`,
		``}, "\n")
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
