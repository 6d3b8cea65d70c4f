//go:build qemu

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Open vSwitch alone, to tell its troubles from ours.
func TestOpenVSwitch(t *testing.T) {
	inGuest(t, ".", "-test.v")
}

// The overlay's scenarios, on the kernel datapath: tunnel packets of strangers, an agent that is killed, routing, DHCP.
func TestScenarios(t *testing.T) {
	inGuest(t, "../e2e", "-test.v", "-test.parallel=1", "-test.run=^(TestTunnelPacketsFromStrangers|TestAgentKilled|TestRouting|TestDHCP)$")
}

// The ways outside, on the kernel datapath: SNAT by the host; public addresses in both designs, and shared ones.
func TestOutside(t *testing.T) {
	inGuest(t, "../e2e", "-test.v", "-test.parallel=1", "-test.run=^(TestSNATGoesOn|TestCentral|TestShared|TestForwards|TestDistributedByNATIP)$")
}

// Gateways and edges die while connections run over them.
func TestFailOver(t *testing.T) {
	inGuest(t, "../e2e", "-test.v", "-test.parallel=1", "-test.run=^(TestSharedFailsOver|TestDistributedFailsOver)$")
}

// inGuest runs a package's tests, those with the build tag kernel too, in a guest.
func inGuest(t *testing.T, pkg string, flags ...string) {
	t.Helper()
	t.Parallel() // a guest has the time that it needs, whatever else runs
	dir := t.TempDir()
	build(t, filepath.Join(dir, "kernel"), ".")
	build(t, dir+"/", "../cmd/...")
	tests := filepath.Join(dir, "tests")
	if out, err := exec.Command("go", "test", "-c", "-tags", "kernel", "-o", tests, pkg).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	cmd := exec.Command(filepath.Join(dir, "kernel"), append([]string{"-timeout", "8m", "-memory", "3G", tests}, flags...)...)
	cmd.Dir = pkg
	cmd.Env = append(os.Environ(), "OVERLANE_BINARY="+filepath.Join(dir, "overlane"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}
