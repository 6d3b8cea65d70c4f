package ovs

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestBridgePortsComeAndGo(t *testing.T) {
	t.Parallel()
	o := startIn(t, "ovsdb-own")
	db := open(t, o)
	ensure(t, db, testLayout)
	l := testLayout
	l.Ports = []BridgePort{
		{Name: "ovl-out", Type: "internal", MAC: "02:4f:56:00:00:04", MTU: 1400},
		{Name: "ovl-bfd", Type: "vxlan", Options: map[string]string{"key": "flow", "remote_ip": "192.168.5.3"}, BFD: map[string]string{"enable": "true"}},
	}
	s := ensure(t, db, l)
	if s.Ports["ovl-out"] == 0 || s.Ports["ovl-bfd"] == 0 || s.PortError != nil {
		t.Errorf("numbers %v, %v", s.Ports, s.PortError)
	}
	link := ip(t, "-n", "ovsdb-own", "link", "show", "ovl-out")
	for _, want := range []string{"02:4f:56:00:00:04", "mtu 1400"} {
		if !strings.Contains(link, want) {
			t.Errorf("no %s in %s", want, link)
		}
	}
	for _, tt := range []struct{ by, want string }{
		{"set interface ovl-out mtu_request=1500", "port ovl-out: differed in mtu_request"},
		{"set interface ovl-bfd bfd:enable=false options:remote_ip=192.168.5.4", "port ovl-bfd: differed in options, bfd"},
		{"set interface ovl-bfd bfd:cpath_down=true", ""}, // not named, so it is left alone
		{"del-port ovl-out", "port ovl-out was missing"},
	} {
		o.Vsctl(append([]string{"--no-wait"}, strings.Fields(tt.by)...)...)
		var repaired []string
		if tt.want != "" {
			eventually(t, tt.by, func() bool { return len(db.rows().compare(l)) > 0 })
			repaired = []string{tt.want}
		}
		if diff := cmp.Diff(repaired, ensure(t, db, l).Repaired); diff != "" {
			t.Errorf("%s: %s", tt.by, diff)
		}
	}
	if told, _ := db.BFD("ovl-bfd"); told["cpath_down"] != "true" || told["enable"] != "true" {
		t.Errorf("the port was told %v", told)
	}
	if told, says := db.BFD("ovl-vxlan"); told != nil || says != nil {
		t.Errorf("a port of another kind was told %v, says %v", told, says)
	}
	keep := testLayout
	keep.Keep = true
	if s := ensure(t, db, keep); s.Repaired != nil {
		t.Errorf("asked to keep what is there, it did %v", s.Repaired)
	}
	ensure(t, db, testLayout)
	if left := o.Vsctl("list-ports", "br-overlane"); strings.TrimSpace(left) != "ovl-vxlan" {
		t.Errorf("left over: %s", left)
	}
	o.Vsctl("--no-wait", "add-port", "br-overlane", "ovl-out", "--", "set", "interface", "ovl-out", "type=internal")
	eventually(t, "their port in the copy", func() bool { return db.rows().port("ovl-out") != nil })
	if _, err := db.Ensure(t.Context(), l); err == nil || !strings.Contains(err.Error(), "a port ovl-out exists that Overlane has not made") {
		t.Errorf("got %v", err)
	}
}
