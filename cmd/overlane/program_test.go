package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestBeside(t *testing.T) {
	folder, inPath := t.TempDir(), t.TempDir()
	t.Setenv("PATH", inPath)
	self := filepath.Join(folder, "overlane")
	for _, name := range []string{"overlane-server", "overlane-agent"} {
		_, err := beside(self, name)
		if want := name + " is neither " + filepath.Join(folder, name) + " nor in PATH (" + inPath + ")"; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("nowhere: %v, not %q", err, want)
		}
		for _, dir := range []string{inPath, folder} { // that beside comes first
			path := filepath.Join(dir, name)
			if err := os.WriteFile(path, nil, 0o755); err != nil {
				t.Fatal(err)
			}
			if found, err := beside(self, name); found != path || err != nil {
				t.Errorf("found %s, %v, not %s", found, err, path)
			}
		}
	}
}

// TestCommandLineIsLight: the libraries of server and agent were two thirds of a start's CPU, by their initialisation and their size.
func TestCommandLineIsLight(t *testing.T) {
	deps, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(deps), "/overlane/client\n") {
		t.Fatalf("these are not the packages of this program:\n%s", deps)
	}
	for _, unwanted := range []string{
		"go.etcd.io/", "google.golang.org/", "github.com/prometheus/", "github.com/moby/", "github.com/docker/", "github.com/ovn-kubernetes/",
		"overlane/overlane/server\n", "overlane/overlane/agent\n", "overlane/overlane/attach\n", "overlane/overlane/hostnet\n", "overlane/overlane/ovs\n",
	} {
		if strings.Contains(string(deps), unwanted) {
			t.Errorf("overlane links %s", strings.TrimSpace(unwanted))
		}
	}
}
