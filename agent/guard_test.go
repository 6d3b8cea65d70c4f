package agent

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/overlane/overlane/dataplane"
	"github.com/overlane/overlane/firewall"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/ovs"
	"github.com/overlane/overlane/view"
)

// guarding is an agent of a host that translates for blue, and whose switch has the port for it.
func guarding(t *testing.T) *Agent {
	t.Helper()
	a := New(Config{Host: "h1", State: t.TempDir(), UDPPort: 4789, Uplink: "eth0", NATRange: netip.MustParsePrefix("100.64.0.0/10")}, nil, nil)
	a.view.Apply(view.Delta{Complete: true,
		Segments: []view.Segment{{VNI: 100, VPC: 1000, MTU: 1450}, {VNI: 101, VPC: 1000, MTU: 1400}, {VNI: 200, VPC: 2000, MTU: 1300}},
		Gateways: []view.Gateway{{Name: "blue", VPC: 1000, SNAT: true, Allow: []netip.Prefix{netip.MustParsePrefix("192.168.5.9/32"), netip.MustParsePrefix("10.0.0.0/8")}}},
		Hosts:    []view.Machine{{Host: "h2", VTEP: netip.MustParseAddr("192.168.5.3"), Others: []netip.Addr{netip.MustParseAddr("10.1.1.3")}}, {Host: "h1", VTEP: netip.MustParseAddr("192.168.5.2")}},
	})
	a.complete = true
	a.wiring.Translations = map[model.VNI]dataplane.Translation{1000: {Zone: 7, Address: netip.MustParseAddr("100.64.0.16")}}
	a.layout.Datapath, a.layout.Ports = ovs.Userspace, map[string]uint32{outsidePort: 5}
	return a
}

func TestTheWayIsGuarded(t *testing.T) {
	a := guarding(t)
	way := a.way()
	if way == nil || way.Port != outsidePort || way.Copied != "eth0" {
		t.Fatalf("the way is %+v", way)
	}
	if want := []netip.Addr{netip.MustParseAddr("10.1.1.3"), netip.MustParseAddr("192.168.5.2"), netip.MustParseAddr("192.168.5.3")}; !slices.Equal(way.Reserved, want) {
		t.Errorf("reserved are %v, want %v", way.Reserved, want)
	}
	source := netip.MustParseAddr("100.64.0.16")
	if want := []firewall.Allowance{{Source: source, To: netip.MustParsePrefix("10.0.0.0/8")}, {Source: source, To: netip.MustParsePrefix("192.168.5.9/32")}}; !slices.Equal(way.Allow, want) {
		t.Errorf("allowed are %v, want %v", way.Allow, want)
	}
	a.layout.Datapath = ovs.Kernel
	if way := a.way(); way.Copied != "" {
		t.Errorf("on the kernel datapath there are copies of %s", way.Copied)
	}
	a.layout.Ports = nil
	if way := a.way(); way != nil {
		t.Errorf("without a port the way is %+v", way)
	}
}

func TestThePortHasTheLeastMTU(t *testing.T) {
	a := guarding(t)
	if ports := a.outsidePorts(); len(ports) != 1 || ports[0].MTU != 1400 {
		t.Errorf("the ports are %+v", ports)
	}
	a.view.Apply(view.Delta{GoneGateways: []model.VNI{1000}})
	a.zones.Number[1000] = 1
	if ports := a.outsidePorts(); ports != nil {
		t.Errorf("without a gateway they are %+v", ports)
	}
	a.complete = false
	if ports := a.outsidePorts(); len(ports) != 1 || ports[0].MTU != 0 {
		t.Errorf("while the server is away the port of before becomes %+v", ports)
	}
}

func TestTheSwitchSendsOnlyToAGuardedHost(t *testing.T) {
	a := guarding(t)
	a.resync = ""
	for _, step := range []struct {
		what    string
		outside *firewall.Outside
		port    uint32
		changes bool
	}{
		{"nothing is set", nil, 0, false},
		{"the table is", &firewall.Outside{}, 5, true},
		{"still", &firewall.Outside{}, 5, false},
		{"no VPC wants it any more", nil, 0, true},
	} {
		a.guarded.set.Outside, a.resync = step.outside, ""
		a.openWay()
		if a.wiring.Outside != step.port || (a.resync != "") != step.changes {
			t.Errorf("%s: the port is %d, read back: %q", step.what, a.wiring.Outside, a.resync)
		}
	}
}

func TestNoWayWithoutAFirewall(t *testing.T) {
	a := guarding(t)
	if err := a.unguardedWay(); err == nil || !strings.Contains(err.Error(), "noFirewall") {
		t.Error(err)
	}
	a.wiring.Translations = nil
	if err := a.unguardedWay(); err != nil {
		t.Errorf("nobody wants one: %v", err)
	}
}

func TestAddressesOfTheServer(t *testing.T) {
	for server, want := range map[string]string{"https://192.168.5.2:7443": "192.168.5.2", "https://localhost:7443": "127.0.0.1", "unix:///run/overlane/server.sock": ""} {
		got, err := addressesOf(t.Context(), server)
		if err != nil || len(got) > 0 != (want != "") || want != "" && !slices.Contains(got, netip.MustParseAddr(want)) {
			t.Errorf("%s: %v, %v", server, got, err)
		}
	}
	if _, err := addressesOf(t.Context(), "https://nobody.invalid:7443"); err == nil || !strings.Contains(err.Error(), "find the server") {
		t.Error(err)
	}
}

// A look that waits for a name holds up the table, and after a start the switch's flows as well.
func TestNobodyWaitsLongForTheServersName(t *testing.T) {
	silent, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	was := net.DefaultResolver
	defer func() { net.DefaultResolver = was }()
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp4", silent.LocalAddr().String())
	}}
	began := time.Now()
	if _, err := addressesOf(t.Context(), "https://overlane.example:7443"); err == nil {
		t.Error("nobody has told it")
	}
	if took := time.Since(began); took > resolveTimeout+time.Second {
		t.Errorf("it took %v", took)
	}
}
