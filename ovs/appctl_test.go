package ovs

import (
	"strings"
	"testing"

	"github.com/overlane/overlane/dataplane/flow"
)

// A zone that is full takes no more connections, and one that is not limited does.
func TestZonesAreLimited(t *testing.T) {
	t.Parallel()
	o := startIn(t, "ovs-limit")
	sw := dialTest(t, SwitchConfig{Socket: o.AddBridge("br0")})
	ctl := Appctl{RunDir: o.Dir}
	if err := ctl.LimitZones(t.Context(), Userspace, []uint16{7}, 2); err != nil {
		t.Fatal(err)
	}
	for _, zone := range []uint16{7, 8} {
		for port := range 5 {
			track := flow.CT{Commit: true, Zone: zone}
			if err := sw.PacketOut(t.Context(), flow.PortLocal, []flow.Action{track}, udpFrame(uint16(1000+port))); err != nil {
				t.Fatal(err)
			}
		}
	}
	count := func(zone string) int {
		return strings.Count(o.Appctl("dpctl/dump-conntrack", "netdev@ovs-netdev"), "zone="+zone)
	}
	eventually(t, "five connections of zone 8", func() bool { return count("8") == 5 })
	if got := count("7"); got != 2 {
		t.Errorf("zone 7 has %d connections, want the limit of 2", got)
	}
	if err := ctl.LimitZones(t.Context(), "nonsense", []uint16{7}, 2); err == nil || !strings.Contains(err.Error(), "zone 7") {
		t.Errorf("an unknown datapath: %v", err)
	}
	if err := (Appctl{RunDir: t.TempDir()}).LimitZones(t.Context(), Userspace, []uint16{7}, 2); err == nil {
		t.Error("no error without ovs-vswitchd")
	}
}

// udpFrame is from a port of 10.0.0.1 to port 9 of 10.0.0.2. Without a checksum it needs none (RFC 768).
func udpFrame(port uint16) []byte {
	f := make([]byte, 60)
	copy(f, []byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0,
		0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0x66, 0xcf, 10, 0, 0, 1, 10, 0, 0, 2,
		byte(port >> 8), byte(port), 0, 9, 0, 8, 0, 0})
	return f
}
