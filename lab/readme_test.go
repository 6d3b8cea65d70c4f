package lab_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/overlane/overlane/lab"
	"github.com/overlane/overlane/lab/labtest"
)

// The README's commands, on two bare machines with Open vSwitch. The only things added are what the README says depends on the machine: the
// NIC, which a kernel without the module needs, and the second machine's token.
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
	machine1, machine2 := l.Host("machine1"), l.Host("machine2")
	if err := machine1.RunContainer(ctx, "web1"); err != nil {
		t.Fatal(err)
	}
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
	if err := machine2.RunContainer(ctx, "web2"); err != nil {
		t.Fatal(err)
	}
	must(machine2, "overlane attach web2 --subnet blue/web")
	must(machine1, "docker exec web1 ping -c 3 -W 3 172.17.42.3")
	again := "overlane join 192.168.5.2:7443 " + token + " --name another --config-dir /run/another --no-start"
	if _, err := machine1.Exec(ctx, "sh", "-ec", again); err == nil || !strings.Contains(err.Error(), "used") {
		t.Errorf("a used token was not refused as used: %v", err)
	}
}

type readmeBlock struct{ machine, commands string }

func readmeBlocks(t *testing.T) []readmeBlock {
	t.Helper()
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile("<!-- (machine[12]) -->\n```sh\n((?s:.*?))```").FindAllStringSubmatch(string(text), -1)
	if want := strings.Count(string(text), "```sh"); len(found) != want || want == 0 {
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
