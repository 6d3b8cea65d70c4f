package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/overlane/overlane/cmd/internal/program"
)

func TestServerBeside(t *testing.T) {
	beside, inPath := t.TempDir(), t.TempDir()
	t.Setenv("PATH", inPath)
	self := filepath.Join(beside, "overlane")
	_, err := serverBeside(self)
	if want := "overlane-server is neither " + self + "-server nor in PATH (" + inPath + ")"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("nowhere: %v, not %q", err, want)
	}
	for _, dir := range []string{inPath, beside} { // that beside comes first
		path := filepath.Join(dir, program.ServerProgram)
		if err := os.WriteFile(path, nil, 0o755); err != nil {
			t.Fatal(err)
		}
		if found, err := serverBeside(self); found != path || err != nil {
			t.Errorf("found %s, %v, not %s", found, err, path)
		}
	}
}

// TestCommandLineIsWithoutEtcd: etcd's server costs every start 7 ms of CPU.
func TestCommandLineIsWithoutEtcd(t *testing.T) {
	deps, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(deps), "/overlane/client\n") {
		t.Fatalf("these are not the packages of this program:\n%s", deps)
	}
	for _, unwanted := range []string{"go.etcd.io/", "google.golang.org/grpc"} {
		if strings.Contains(string(deps), unwanted) {
			t.Errorf("overlane links %s", unwanted)
		}
	}
}
