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

// borderLab is the lab of the internet figures with one border host, for both designs.
const borderLab = `
outside:
  machines: [{name: client}, {name: server}]
  routes: [{to: 1.22.3.0/24, via: [203.0.113.11]}, {to: 1.22.4.0/24, via: [203.0.113.11]}]
server: host1
intent: [internet]
`

const borderSpec = "roles: [compute, gateway, edge], outside: {interface: eth1, address: 203.0.113.11/24, router: 203.0.113.1}"

// borderChoices are the choices of the border host: a host of its own, or the endpoint's host.
var borderChoices = map[string]struct{ hosts, intent string }{
	"gateway1": {"hosts: [{name: host1}, {name: host2}, {name: gateway1, uplink: true}]",
		"{kind: Host, name: host1, spec: {address: 192.168.5.2, natPrefix: 10.200.1.0/24}}\n---\n{kind: Host, name: gateway1, spec: {address: 192.168.5.4, " + borderSpec + "}}"},
	"host1": {"hosts: [{name: host1, uplink: true}, {name: host2}]",
		"{kind: Host, name: host1, spec: {address: 192.168.5.2, natPrefix: 10.200.1.0/24, " + borderSpec + "}}"},
}

// oneBorderHost replaces the drills' lab, whose files are in a folder, with borderLab.
func oneBorderHost(dir, name string) (lab.File, error) {
	p, ok := borderChoices[name]
	if !ok {
		return lab.File{}, fmt.Errorf("no border host is called %q; there are %v", name, slices.Sorted(maps.Keys(borderChoices)))
	}
	file := filepath.Join(dir, "border.lab.yaml")
	if err := errors.Join(os.WriteFile(file, []byte(borderLab+p.hosts), 0o600), os.WriteFile(filepath.Join(dir, "internet", "hosts.yaml"), []byte(p.intent), 0o600)); err != nil {
		return lab.File{}, err
	}
	return lab.ReadFile(file)
}
