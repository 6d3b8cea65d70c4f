package attach

import "testing"

func TestPlumbed(t *testing.T) {
	t.Parallel()
	const ns, other = "attach-plumbed", "attach-plumbed-other"
	path, elsewhere := newNetns(t, ns), newNetns(t, other)
	r := request(ns, ns, 2)
	want := func(when, netns, ifName string, want bool) {
		t.Helper()
		if got, err := Plumbed(r.HostIf, netns, ifName); err != nil || got != want {
			t.Errorf("%s: %v, %v; want %v", when, got, err, want)
		}
	}
	want("before", path, "eth0", false)
	plumbed(t, r)
	want("plumbed", path, "eth0", true)
	want("another name", path, "eth1", false)
	want("another namespace", elsewhere, "eth0", false)
	ip(t, "-n", other, "link", "add", "eth0", "type", "veth", "peer", "name", "eth1")
	want("another namespace with such an interface", elsewhere, "eth0", false)
	if _, err := Plumbed(r.HostIf, netnsDir+"/attach-nowhere", "eth0"); err == nil {
		t.Error("no error for a namespace that is not there")
	}
}
