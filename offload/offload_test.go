package offload

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/vishvananda/netns"

	"github.com/overlane/overlane/internal/roottest"
)

func run(t *testing.T, command string) string {
	t.Helper()
	args := strings.Fields(command)
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", command, err, out)
	}
	return string(out)
}

// What is set here is what ethtool(8) reads, in another namespace than the process's.
func TestFeatures(t *testing.T) {
	roottest.Need(t)
	const ns = "offload-test"
	run(t, "ip netns add "+ns)
	t.Cleanup(func() { run(t, "ip netns del "+ns) })
	run(t, "ip -n "+ns+" link add v0 type veth peer name v1")
	h, err := netns.GetFromName(ns)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	s, err := OpenAt(h)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for name, f := range map[string]Feature{"tx-checksumming": TxChecksum, "generic-receive-offload": GRO} {
		for _, on := range []bool{false, true, false} {
			if err := s.Set("v0", f, on); err != nil {
				t.Fatal(err)
			}
			want := name + ": " + map[bool]string{true: "on", false: "off"}[on]
			if got := run(t, "nsenter --net=/var/run/netns/"+ns+" ethtool -k v0"); !strings.Contains(got, want) {
				t.Errorf("set %s %t: ethtool says\n%s", f.name, on, got)
			}
			if got, err := s.Get("v0", f); err != nil || got != on {
				t.Errorf("get %s: %t, %v; want %t", f.name, got, err, on)
			}
		}
	}
	if on, err := s.Get("v0", LRO); err != nil || on {
		t.Errorf("a veth has %s: %t, %v", LRO.name, on, err)
	}
	for _, iface := range []string{"none", "sixteenletters00"} {
		if _, err := s.Get(iface, GRO); err == nil || !strings.Contains(err.Error(), iface) {
			t.Errorf("%s: got %v", iface, err)
		}
	}
}
