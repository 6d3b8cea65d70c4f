package agent

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/overlane/overlane/agent/local"
	"github.com/overlane/overlane/model"
)

// What could not be written is written once it can be, and the host says so until then.
func TestKeepOnDisk(t *testing.T) {
	c := local.Config{Host: "host1", State: filepath.Join(t.TempDir(), "state"), NATRange: netip.MustParsePrefix("100.64.0.0/10")}
	a := New(c, nil, nil)
	if _, err := a.zones.give([]zoneOwner{vpcOwner(900)}, []model.VNI{900}, true); err != nil {
		t.Fatal(err)
	}
	_ = a.zones.save()
	a.host.Opened = []string{"eth0"}
	_ = a.host.save()
	_ = a.border.save()
	a.keepOnDisk()
	if a.conditions.causes[condDisk] == "" {
		t.Error("nothing tells that the state is not on disk")
	}
	if err := os.Mkdir(c.State, 0o700); err != nil {
		t.Fatal(err)
	}
	a.keepOnDisk()
	if why := a.conditions.causes[condDisk]; why != "" {
		t.Error(why)
	}
	next := New(c, nil, nil)
	if err := next.zones.load(); err != nil {
		t.Fatal(err)
	}
	was, _ := a.zones.vpcZone(900)
	if zone, ok := next.zones.vpcZone(900); !ok || zone != was {
		t.Errorf("after a restart the VPC has the zone %d (%t), and before %d", zone, ok, was)
	}
	for _, name := range []string{"forwarding.json", "passage.json"} {
		if _, err := os.Stat(filepath.Join(c.State, name)); err != nil {
			t.Error(err)
		}
	}
}
