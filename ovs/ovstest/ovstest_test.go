package ovstest

import (
	"encoding/hex"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/overlane/overlane/internal/roottest"
)

// The dummy datapath forwards a frame from one simulated port to another.
func TestDummySwitchForwards(t *testing.T) {
	t.Parallel()
	o := Start(t, Options{})
	o.AddBridge("br0")
	o.AddDummyPort("br0", "p1", 1)
	sent := o.AddDummyPort("br0", "p2", 2)
	o.Ofctl("add-flow", "br0", "in_port=1,actions=output:2")
	frame, _ := hex.DecodeString("ffffffffffff0a000000000108060001080006040001" + strings.Repeat("0a", 20))
	o.Receive("p1", frame)
	o.await("the frame", func() bool {
		pcap, _ := os.ReadFile(sent)
		return strings.Contains(string(pcap), string(frame))
	})
}

// After a crash of ovs-vswitchd the bridge is back, without its flows.
func TestSwitchdRestarts(t *testing.T) {
	t.Parallel()
	o := Start(t, Options{})
	o.AddBridge("br0")
	o.Ofctl("add-flow", "br0", "actions=drop")
	o.StopSwitchd()
	o.StartSwitchd()
	if flows := o.Ofctl("dump-flows", "br0"); strings.Contains(flows, "actions") {
		t.Errorf("flows survived: %s", flows)
	}
}

// In a namespace the switch makes real ports on the userspace datapath.
func TestUserspaceSwitchInANamespace(t *testing.T) {
	roottest.Need(t)
	t.Parallel()
	const ns = "ovstest-ns"
	ip(t, "netns", "add", ns)
	t.Cleanup(func() { ip(t, "netns", "del", ns) })
	o := Start(t, Options{Netns: ns})
	o.AddBridge("br0")
	ip(t, "-n", ns, "link", "show", "br0")
	if show := o.Appctl("dpif/show"); !strings.Contains(show, "netdev@ovs-netdev") {
		t.Errorf("dpif/show: %s", show)
	}
}

func ip(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}
