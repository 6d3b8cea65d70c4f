package dataplane_test

import (
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/overlane/overlane/dataplane"
	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/view"
)

const pipelineGolden = "testdata/pipeline.txt"

// hostKinds are the wirings in which the pipeline differs. Each has what the first one has, and more.
var hostKinds = []struct {
	name   string
	wiring dataplane.Wiring
}{
	{"every host", dataplane.Wiring{TunnelPort: tunnelPort}},
	{"a host that translates", dataplane.Wiring{TunnelPort: tunnelPort,
		VPCZones:     map[model.VNI]uint16{model.FirstTransitVNI: 100},
		Translations: map[model.VNI]netip.Addr{model.FirstTransitVNI: {}}}},
	{"a host that translates and whose kernel takes packets out", dataplane.Wiring{TunnelPort: tunnelPort,
		SNATPort: outsidePort}},
	{"a gateway", dataplane.Wiring{TunnelPort: tunnelPort, UpstreamPort: externalPort}},
	{"an edge", dataplane.Wiring{TunnelPort: tunnelPort, UpstreamPort: externalPort, UnderlayPort: underlayPort}},
}

// The flows that no object asks for are in a golden of their own, once; scenarios leave them out. A flow is printed for
// the first kind of host that has it.
func TestPipelineFlows(t *testing.T) {
	golden := &txtar.Archive{Comment: []byte("Flows of the pipeline itself, by the first kind of host that has them.\n")}
	printed := map[string]bool{}
	for _, kind := range hostKinds {
		h := &host{view: view.View{Host: "h"}, wiring: kind.wiring}
		h.symbols = dataplane.Symbols(nil)
		h.symbols.Ports = fixedPorts
		var b strings.Builder
		for _, line := range h.pipelineLines() {
			if !printed[line] {
				b.WriteString(line + "\n")
			}
			printed[line] = true
		}
		golden.Files = append(golden.Files, txtar.File{Name: kind.name, Data: []byte(b.String())})
	}
	if *update {
		if err := os.WriteFile(pipelineGolden, txtar.Format(golden), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(pipelineGolden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(txtar.Format(golden)), string(have)); diff != "" {
		t.Errorf("go test ./dataplane -update rewrites it (-now +written down):\n%s", diff)
	}
}

// pipelineLines are the host's flows that no object asks for.
func (h *host) pipelineLines() (lines []string) {
	static := h.wiring
	static.Guarded = nil // flows of other hosts' addresses belong to the scenario
	flows := slices.Clone(dataplane.CompileSubject(&view.View{Host: h.view.Host}, static, dataplane.Subject{}).Flows)
	flow.Sort(flows)
	for _, f := range flows {
		lines = append(lines, h.symbols.Flow(f)+"  # "+f.Owner)
	}
	return lines
}

// pipeline are the lines of the golden file; a host has no other flows that no object asks for.
func (h *host) pipeline(t *testing.T) map[string]bool {
	t.Helper()
	golden, err := os.ReadFile(pipelineGolden)
	if err != nil {
		t.Fatal(err)
	}
	lines := map[string]bool{}
	for line := range strings.Lines(string(golden)) {
		lines[strings.TrimSuffix(line, "\n")] = true
	}
	for _, line := range h.pipelineLines() {
		if !lines[line] {
			t.Errorf("%s has a flow of the pipeline that %s does not have: %s", h.view.Host, pipelineGolden, line)
		}
	}
	return lines
}
