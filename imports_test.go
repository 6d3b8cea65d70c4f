package overlane_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/overlane/overlane"

// layers is the journey, and what each package may import of this module. Nothing else may. Helpers below internal/ import
// nothing of this module; any package may import them that is not pure. A pure one says which.
var layers = map[string][]string{
	"model":                   {"internal/pattern"},
	"view":                    {"model"},
	"dataplane/flow":          {},
	"dataplane/flow/sim":      {"dataplane/flow"},
	"dataplane/flow/flowtest": {"dataplane/flow"},
	"dataplane":               {"dataplane/flow", "internal/same", "model", "view"},
	"answer":                  {"model"},
	"border":                  {},
	"openflow":                {"dataplane/flow"},
	"ovs":                     {"dataplane/flow", "netdump", "offload", "openflow", "ovs/vswitch"},
	"ovs/vswitch":             {},
	"attach":                  {"model", "netdump", "offload"},
	"netdump":                 {},
	"internal/atomicfile":     {},
	"internal/backoff":        {},
	"internal/ifname":         {},
	"internal/nlerr":          {},
	"internal/pattern":        {},
	"internal/printable":      {},
	"internal/same":           {},
	"internal/unixsocket":     {},
	"internal/yamljson":       {},
	"offload":                 {},
	"store":                   {},
	"server/api":              {"model"},
	"server/replica":          {"model", "server/api", "store", "view"},
	"server/identity":         {"server/api", "store"},
	"server/plan":             {"dataplane", "model", "server/api", "view"},
	"server":                  {"model", "server/api", "server/identity", "server/plan", "server/replica", "store", "view"},
	"client":                  {"model", "server/api", "view"},
	"hostnet":                 {"internal/nlerr", "netdump"},
	"agent":                   {"agent/local", "answer", "attach", "border", "dataplane", "dataplane/flow", "hostnet", "model", "ovs", "server/api", "view"},
	"agent/local":             {"model", "server/api", "view"},
	"capture":                 {"model", "view"},
	"store/storetest":         {"store"},
	"ovs/ovstest":             {},
	"examples":                {},
	"lab":                     {}, // it knows the product as a binary
	"lab/article":             {"lab", "model"},
	"lab/drill":               {"lab", "model"},
	"lab/labtest":             {"internal/roottest", "lab"},
	"internal/roottest":       {},
	"cmd/internal/program":    {"agent/local", "client", "server/api"},
	"e2e":                     {},
	"kernel":                  {},
}

// wiring are the programs that put the parts together, and may import any.
var wiring = []string{"bench", "cmd/overlane", "cmd/internal/agentd", "cmd/internal/serverd", "cmd/overlane-agent", "cmd/overlane-server"}

// effects are packages that a pure package has no business with.
var effects = []string{"net/http", "os", "os/exec", "log", "log/slog", "syscall", "time"}

var pure = []string{"answer", "border", "model", "view", "dataplane/flow", "dataplane/flow/sim", "dataplane", "server/plan"}

// tellsTime are pure packages that have points of time as values: model in statuses, border as an argument.
var tellsTime = []string{"border", "model"}

func TestImportsRunOneWay(t *testing.T) {
	for _, problem := range misplaced(packages(t)) {
		t.Error(problem)
	}
}

// misplaced says what is wrong with each package. One that nobody has put into the table is wrong, too.
func misplaced(all []pkg) (problems []string) {
	for _, p := range all {
		name := strings.TrimPrefix(p.ImportPath, module+"/")
		if slices.Contains(wiring, name) {
			continue
		}
		allowed, listed := layers[name]
		if !listed {
			problems = append(problems, name+" is not in the table of layers")
			continue
		}
		for _, i := range p.Imports {
			helper := strings.HasPrefix(i, module+"/internal/") && !slices.Contains(pure, name)
			if own, ok := strings.CutPrefix(i, module+"/"); ok && !slices.Contains(allowed, own) && !helper {
				problems = append(problems, fmt.Sprintf("%s imports %s; it may import %v", name, own, allowed))
			}
			valuesOfTime := i == "time" && slices.Contains(tellsTime, name)
			if slices.Contains(pure, name) && slices.Contains(effects, i) && !valuesOfTime {
				problems = append(problems, name+" is pure and imports "+i)
			}
		}
	}
	return problems
}

// The test above can fail: it sees a package that is new, an import that runs the other way, and an effect.
func TestMisplacedIsSeen(t *testing.T) {
	got := misplaced([]pkg{
		{ImportPath: module + "/new"},
		{ImportPath: module + "/model", Imports: []string{"time", module + "/agent"}},
		{ImportPath: module + "/view", Imports: []string{"os", module + "/model"}},
		{ImportPath: module + "/border", Imports: []string{"time", "os"}},
		{ImportPath: module + "/answer", Imports: []string{"time"}},
		{ImportPath: module + "/bench", Imports: []string{"os", module + "/agent"}},
		{ImportPath: module + "/attach", Imports: []string{module + "/internal/ifname"}},
		{ImportPath: module + "/answer", Imports: []string{module + "/internal/ifname"}},
	})
	want := []string{"new is not in the table of layers", "model imports agent; it may import [internal/pattern]", "view is pure and imports os",
		"border is pure and imports os", "answer is pure and imports time",
		"answer imports internal/ifname; it may import [model]"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

// A name that no package has any more would hide one that takes it later.
func TestLayersAreAllThere(t *testing.T) {
	there := map[string]bool{}
	for _, p := range packages(t) {
		there[strings.TrimPrefix(p.ImportPath, module+"/")] = true
	}
	for name := range layers {
		if !there[name] {
			t.Errorf("there is no package %s", name)
		}
	}
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	for _, p := range packages(t) {
		if p.Doc == "" {
			t.Errorf("%s has no package comment", p.ImportPath)
		}
	}
}

type pkg struct {
	ImportPath, Doc string
	Imports         []string
}

// packages asks the toolchain that runs this test: "go test" puts it in front of PATH.
func packages(t *testing.T) []pkg {
	t.Helper()
	if version := goOutput(t, "env", "GOVERSION"); strings.TrimSpace(version) != runtime.Version() {
		t.Fatalf("the go command in PATH is %s, not %s", strings.TrimSpace(version), runtime.Version())
	}
	var all []pkg
	for d := json.NewDecoder(strings.NewReader(goOutput(t, "list", "-json=ImportPath,Doc,Imports", "./..."))); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		if p.ImportPath != module {
			all = append(all, p)
		}
	}
}

func goOutput(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("go", args...).Output()
	if err != nil {
		t.Fatalf("go %s: %v", strings.Join(args, " "), err)
	}
	return string(out)
}
