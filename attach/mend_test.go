package attach

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Whatever is missing is made good and told of; where nothing is, nothing is told.
func TestMend(t *testing.T) {
	t.Parallel()
	const ns = "attach-mend"
	newNetns(t, ns)
	r := request(ns, ns, 2)
	plumbed(t, r)
	for _, lost := range []string{
		"", "ip -n NS addr flush dev eth0", "ip -n NS link set eth0 down", "ip -n NS route del default", "ip -n NS link set lo down",
		"ip link set HOST down", "ip link set HOST arp on", "sysctl -qw net.ipv4.conf.HOST.rp_filter=0", "tc qdisc del dev HOST clsact",
		"ip netns exec NS ethtool -K eth0 tx on",
	} {
		args := strings.Fields(strings.NewReplacer("NS", ns, "HOST", r.HostIf).Replace(lost))
		if lost != "" {
			if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
				t.Fatalf("%s: %v: %s", lost, err, out)
			}
		}
		for _, want := range []bool{lost != "", false} {
			if mended, err := Mend(t.Context(), r); err != nil || mended != want {
				t.Errorf("%q: mended %t, %v; want %t", lost, mended, err, want)
			}
		}
		if diff := cmp.Diff(wantState, state(t, ns, "eth0")); diff != "" {
			t.Errorf("%q: %s", lost, diff)
		}
	}
	if offloads(t, ns, "eth0") {
		t.Error("checksum offload is on")
	}
	mustBeDeafTo(t, ns, r.MAC)
}

// Mend makes nothing, and touches nothing that leads elsewhere.
func TestMendRefuses(t *testing.T) {
	t.Parallel()
	const ns, other = "attach-unmended", "attach-unmended-other"
	newNetns(t, ns)
	elsewhere := newNetns(t, other)
	r := request(ns, ns, 2)
	want := func(when string, r Request, kind error) {
		t.Helper()
		if mended, err := Mend(t.Context(), r); !errors.Is(err, kind) || mended {
			t.Errorf("%s: mended %t, %v; want %v", when, mended, err, kind)
		}
	}
	want("before", r, ErrNotFound)
	plumbed(t, r)
	away := r
	away.Netns = elsewhere
	want("another namespace", away, ErrConflict)
	ip(t, "-n", other, "link", "add", "eth0", "type", "veth", "peer", "name", "eth1")
	want("another namespace with such an interface", away, ErrConflict)
	if eth0 := ip(t, "-n", other, "-br", "addr", "show", "eth0"); strings.Contains(eth0, "172.17.42.2") {
		t.Errorf("touched %s", eth0)
	}
	renamed := r
	renamed.IfName = "eth1"
	want("another name", renamed, ErrConflict)
	nowhere := r
	nowhere.Netns = netnsDir + "/attach-nowhere"
	want("no such namespace", nowhere, ErrNotFound)
}

// The host's half is all that can be done without the namespace.
func TestMendHost(t *testing.T) {
	t.Parallel()
	const ns = "attach-mendhost"
	newNetns(t, ns)
	r := request(ns, ns, 2)
	if err := MendHost(r.HostIf, false); err == nil {
		t.Error("no error for an interface that is not there")
	}
	ip(t, "link", "add", r.HostIf, "type", "veth", "peer", "name", "eth0", "netns", ns)
	t.Cleanup(func() { unplumb(t, r.HostIf) })
	ip(t, "-n", ns, "link", "set", "eth0", "up")
	for range 2 {
		if err := MendHost(r.HostIf, false); err != nil {
			t.Fatal(err)
		}
	}
	if outer := ip(t, "-o", "link", "show", r.HostIf); !strings.Contains(outer, "UP,LOWER_UP") || !strings.Contains(outer, "NOARP") {
		t.Errorf("end on the host: %s", outer)
	}
	if forwards, err := os.ReadFile("/proc/sys/net/ipv4/conf/" + r.HostIf + "/forwarding"); err != nil || string(forwards) != "0\n" {
		t.Errorf("forwarding: %s, %v", forwards, err)
	}
	mustBeDeafTo(t, ns, r.MAC)
	if err := MendHost("eth0", false); !errors.Is(err, ErrInvalid) {
		t.Errorf("an interface of others: %v", err)
	}
}
