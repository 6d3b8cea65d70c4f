// Package article is the demonstration: what the article "Building an overlay network with Open vSwitch" builds by
// hand, as a list of checks on a lab. It prints nothing and judges only what commands on the lab's hosts say.
package article

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/overlane/overlane/internal/pattern"
	"github.com/overlane/overlane/lab"
)

// Check is something that must hold.
type Check struct {
	Name string
	Run  func(context.Context, *Evidence) error // nil: it holds
}

// Checks are all, in the order of the article.
func Checks(l *lab.Lab) []Check {
	a := article{l}
	return []Check{
		{"containers of one tenant reach each other across hosts", a.pings},
		{"both ARP tables fill, as on one segment", a.arpTables},
		{"the gateway answers on every host", a.gateways},
		{"on the wire it is VXLAN with the VNI that was chosen for the tenant", a.packets},
		{"tenants with identical addresses each reach their own servers", a.servers},
		{"an address that only blue has is out of red's reach", a.onlyBlue},
		{"both tenants reach the outside, each by its host (double NAT)", a.outside},
		{"the outside does not reach in unasked, and tenants do not reach the host", a.closed},
		{"every endpoint was measured to be ready", a.ready},
	}
}

// File is the lab, with its intent copied out of the examples into a folder.
func File(examples fs.FS, into string) (lab.File, error) {
	if err := os.CopyFS(into, examples); err != nil {
		return lab.File{}, fmt.Errorf("copy examples: %w", err)
	}
	return lab.ReadFile(filepath.Join(into, "article.lab.yaml"))
}

// Evidence is what a check has seen: commands and what they printed.
type Evidence struct{ Lines []Line }

// Line is one of them.
type Line struct {
	Host    string    // or machine, of a command
	Command string    // empty: Text is what the command before printed
	Ended   time.Time // when the command had
	Text    string
}

func (e *Evidence) note(format string, args ...any) {
	e.Lines = append(e.Lines, Line{Text: fmt.Sprintf(format, args...)})
}

// ornament is what ping prints around what it has to say.
var ornament = pattern.Of(`^(PING |--- |round-trip |rtt )`)

// run runs a command on a machine and keeps what it prints.
func (e *Evidence) run(ctx context.Context, m *lab.Machine, argv ...string) (string, error) {
	out, err := m.Exec(ctx, argv...)
	e.Lines = append(e.Lines, Line{Host: m.Name, Command: strings.Join(argv, " "), Ended: time.Now()})
	for line := range strings.Lines(out) {
		if text := strings.TrimRight(line, "\n"); text != "" && !ornament().MatchString(text) {
			e.Lines = append(e.Lines, Line{Text: text})
		}
	}
	return out, err
}

// String is the evidence as plain text.
func (e *Evidence) String() string {
	var b strings.Builder
	for _, l := range e.Lines {
		if l.Command != "" {
			fmt.Fprintf(&b, "%s# %s\n", l.Host, l.Command)
		} else {
			fmt.Fprintf(&b, "%s\n", l.Text)
		}
	}
	return b.String()
}
