package overlane_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/overlane/overlane"

// layers is the journey, and what each package may import of this module. Nothing else may.
var layers = map[string][]string{
	"model":                   {},
	"view":                    {"model"},
	"dataplane/flow":          {},
	"dataplane/flow/sim":      {"dataplane/flow"},
	"dataplane/flow/flowtest": {"dataplane/flow", "ovs/ovstest"},
	"dataplane":               {"dataplane/flow", "model", "view"},
	"openflow":                {"dataplane/flow"},
	"ovs":                     {"dataplane/flow", "offload", "openflow", "ovs/vswitch"},
	"ovs/vswitch":             {},
	"attach":                  {"model", "offload"},
	"offload":                 {},
	"store":                   {},
	"server/wire":             {"model"},
	"server":                  {"dataplane", "dataplane/flow", "model", "server/wire", "store", "view"},
	"client":                  {"model", "server/wire", "view"},
	"agent":                   {"attach", "dataplane", "dataplane/flow", "model", "ovs", "server/wire", "view"},
	"capture":                 {"model", "view"},
}

// effects are packages that a pure package has no business with.
var effects = []string{"net/http", "os", "os/exec", "log", "log/slog", "syscall", "time"}

var pure = []string{"model", "view", "dataplane/flow", "dataplane/flow/sim", "dataplane"}

func TestImportsRunOneWay(t *testing.T) {
	for _, p := range packages(t) {
		name := strings.TrimPrefix(p.ImportPath, module+"/")
		allowed, listed := layers[name]
		if !listed {
			continue // the binary, test support
		}
		for _, i := range p.Imports {
			if own, ok := strings.CutPrefix(i, module+"/"); ok && !slices.Contains(allowed, own) {
				t.Errorf("%s imports %s; it may import %v", name, own, allowed)
			}
			if slices.Contains(pure, name) && slices.Contains(effects, i) && !(name == "model" && i == "time") {
				t.Errorf("%s is pure and imports %s", name, i)
			}
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

func packages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Doc,Imports", "./...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
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
