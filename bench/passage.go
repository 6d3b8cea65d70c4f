package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/overlane/overlane/lab"
)

// passageLab is the lab of the internet figures with one border host, for both designs.
const passageLab = `
outside:
  machines: [{name: client}, {name: server}]
  routes: [{to: 1.22.3.0/24, via: [203.0.113.11]}, {to: 1.22.4.0/24, via: [203.0.113.11]}]
server: host1
intent: [internet]
`

const passageSpec = "roles: [compute, gateway, edge], outside: {interface: eth1, address: 203.0.113.11/24, router: 203.0.113.1}"

// passages are the choices of the border host: a host of its own, or the endpoint's host.
var passages = map[string]struct{ hosts, intent string }{
	"gateway1": {"hosts: [{name: host1}, {name: host2}, {name: gateway1, uplink: true}]",
		"{kind: Host, name: host1, spec: {address: 192.168.5.2, natPrefix: 10.200.1.0/24}}\n---\n{kind: Host, name: gateway1, spec: {address: 192.168.5.4, " + passageSpec + "}}"},
	"host1": {"hosts: [{name: host1, uplink: true}, {name: host2}]",
		"{kind: Host, name: host1, spec: {address: 192.168.5.2, natPrefix: 10.200.1.0/24, " + passageSpec + "}}"},
}

// onePassage replaces the drills' lab, whose files are in a folder, with passageLab.
func onePassage(dir, name string) (lab.File, error) {
	p, ok := passages[name]
	if !ok {
		return lab.File{}, fmt.Errorf("no passage is called %q; there are %v", name, slices.Sorted(maps.Keys(passages)))
	}
	file := filepath.Join(dir, "passage.lab.yaml")
	if err := errors.Join(os.WriteFile(file, []byte(passageLab+p.hosts), 0o600), os.WriteFile(filepath.Join(dir, "internet", "hosts.yaml"), []byte(p.intent), 0o600)); err != nil {
		return lab.File{}, err
	}
	return lab.ReadFile(file)
}
