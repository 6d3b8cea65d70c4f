package attach

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A NIC that a switch had is given back as it was, and one that the host uses is not taken.
func TestNIC(t *testing.T) {
	const name, other = "ovlnic0", "ovlnic1"
	ip(t, "link", "add", name, "type", "veth", "peer", "name", other)
	t.Cleanup(func() { ip(t, "link", "del", name) })
	ip(t, "link", "set", other, "up")
	if err := FreeNIC(name); err != nil {
		t.Fatal(err)
	}
	was, err := ReadNIC(name)
	if err != nil || !was.ARP {
		t.Fatalf("%+v, %v", was, err)
	}
	for range 2 {
		if err := ClaimNIC(name, false); err != nil {
			t.Fatal(err)
		}
	}
	if link := ip(t, "link", "show", name); !strings.Contains(link, "NOARP") || !strings.Contains(link, "UP") {
		t.Errorf("the host still takes part: %s", link)
	}
	now, err := ReadNIC(name)
	if err != nil || now.Offloads["tx"] || now.Offloads["gro"] || now.Sysctl["ipv4/conf/"+name+"/forwarding"] != "0" {
		t.Errorf("%+v, %v", now, err)
	}
	for _, link := range []struct {
		up   string
		want bool
	}{{"up", true}, {"down", false}} {
		ip(t, "link", "set", other, link.up)
		if has, err := HasLink(name); has != link.want || err != nil {
			t.Errorf("other end %s: link %v, %v", link.up, has, err)
		}
	}
	if err := ReleaseNIC(name, was); err != nil {
		t.Fatal(err)
	}
	if now, err = ReadNIC(name); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(was, now); diff != "" {
		t.Errorf("was and is: %s", diff)
	}
	ip(t, "address", "add", "192.0.2.77/32", "dev", name)
	if err := FreeNIC(name); !errors.Is(err, ErrConflict) || !strings.Contains(err.Error(), name+" has the address 192.0.2.77/32") {
		t.Errorf("got %v", err)
	}
	if err := FreeNIC("ovlnone"); !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v", err)
	}
	if err := ReleaseNIC("ovlnone", was); err != nil {
		t.Error(err)
	}
}
