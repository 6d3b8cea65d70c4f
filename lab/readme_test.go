package lab_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/overlane/overlane/lab"
	"github.com/overlane/overlane/lab/labtest"
)

// The README's commands, on two bare machines with Open vSwitch and Docker, and the table that it shows. Only what
// depends on the machine is added: the NIC, which a kernel without the module needs, and the second machine's token.
func TestReadme(t *testing.T) {
	l := labtest.Up(t, `
hosts:
- {name: machine1, address: 192.168.5.2, docker: true}
- {name: machine2, address: 192.168.5.3, docker: true}
outside: {internet: 9.9.9.0/24, machines: [{name: quad9, address: 9.9.9.9}]}
`, func(o *lab.Options) { o.Binary = labtest.Binary(t) })
	ctx := t.Context()
	must := func(h *lab.Host, line string) string {
		t.Helper()
		out, err := h.Exec(ctx, "sh", "-ec", line)
		if err != nil {
			t.Fatalf("%s# %s\n%s\n%v", h.Name, line, out, err)
		}
		return out
	}
	machine1 := l.Host("machine1")
	token := ""
	for _, block := range readmeBlocks(t) {
		h := l.Host(block.machine)
		for line := range strings.Lines(strings.TrimSpace(block.commands)) {
			line = strings.TrimSpace(line)
			if strings.Contains(line, "overlane join") {
				line += " --uplink eth0"
			}
			if strings.Contains(line, "$TOKEN") {
				token = strings.TrimSpace(must(machine1, "overlane token create"))
				line = "TOKEN=" + token + "; " + line
			}
			if strings.HasSuffix(line, "&") {
				line = strings.TrimSuffix(line, "&") + ">/run/server.log 2>&1 &"
			}
			must(h, line)
		}
	}
	if token == "" {
		t.Fatal("the README does not join a second machine")
	}
	must(machine1, "docker exec web1 ping -c 3 -W 3 172.17.42.3")
	awaitOutput(t, machine1, "overlane get endpoints", readmeOutput(t))
	again := "overlane join 192.168.5.2:7443 " + token + " --name another --config-dir /run/another --no-start"
	if _, err := machine1.Exec(ctx, "sh", "-ec", again); err == nil || !strings.Contains(err.Error(), "used") {
		t.Errorf("a used token was not refused as used: %v", err)
	}
}

// awaitOutput waits until a command prints a text: what is measured takes its time.
func awaitOutput(t *testing.T, h *lab.Host, command, want string) {
	t.Helper()
	var got string
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		if got = labtest.Exec(t, h, "sh", "-ec", command); got == want {
			return
		}
	}
	t.Errorf("%s never printed what the README shows (-want +got):\n%s", command, cmp.Diff(want, got))
}

// readmeOutput is the table that the README shows.
func readmeOutput(t *testing.T) string {
	t.Helper()
	found := regexp.MustCompile(`(?m)(?:^    (?:NAME|blue/).*\n)+`).FindString(readme(t))
	if found == "" {
		t.Fatal("the README shows no table")
	}
	return regexp.MustCompile("(?m)^    ").ReplaceAllString(found, "")
}

func readme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

type readmeBlock struct{ machine, commands string }

func readmeBlocks(t *testing.T) []readmeBlock {
	t.Helper()
	text := readme(t)
	found := regexp.MustCompile("<!-- (machine[12]) -->\n```sh\n((?s:.*?))```").FindAllStringSubmatch(text, -1)
	if want := strings.Count(text, "```sh"); len(found) != want || want == 0 {
		t.Fatalf("%d of the README's %d blocks of commands say on which machine they run", len(found), want)
	}
	var blocks []readmeBlock
	for _, m := range found {
		blocks = append(blocks, readmeBlock{m[1], strings.ReplaceAll(m[2], "examples/", fmt.Sprintf("%s/../examples/", mustGetwd(t)))})
	}
	return blocks
}

func mustGetwd(t *testing.T) string {
	t.Helper()
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	return wd
}
