package agent

import (
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/overlane/overlane/dataplane"
	"github.com/overlane/overlane/hostnet"
	"github.com/overlane/overlane/view"
)

// guarding is an agent of host1, whose switch has the port for SNAT.
func guarding(t *testing.T) *Agent {
	t.Helper()
	a := New(Config{Host: "host1", State: t.TempDir(), UDPPort: 4789}, nil, slog.New(slog.DiscardHandler))
	a.view = *hostView("host1")
	a.complete = true
	f := factsOf(hostnet.SNATPort)
	a.wiring.Translations, a.layout.Ports, a.layout.Datapath = f.Translations, f.Ports, f.Datapath
	return a
}

func TestTheSwitchSendsOnlyToAGuardedHost(t *testing.T) {
	a := guarding(t)
	for _, step := range []struct {
		what    string
		state   hostnet.State
		port    uint32
		changes bool
	}{
		{"nothing is set", hostnet.State{}, 0, false},
		{"the table is", hostnet.State{SNATPort: true}, 5, true},
		{"still", hostnet.State{SNATPort: true}, 5, false},
		{"no VPC wants it any more", hostnet.State{}, 0, true},
	} {
		a.resync = ""
		a.noteHost(hostOutcome{state: step.state})
		if a.wiring.Outside != step.port || (a.resync != "") != step.changes {
			t.Errorf("%s: the port is %d, read back: %q", step.what, a.wiring.Outside, a.resync)
		}
	}
}

func TestNoWayWithoutAFirewall(t *testing.T) {
	a := guarding(t)
	if err := a.unguarded(); err == nil || !strings.Contains(err.Error(), "noFirewall") {
		t.Error(err)
	}
	a.wiring.Translations = nil
	if err := a.unguarded(); err != nil {
		t.Errorf("nobody wants one: %v", err)
	}
	a.view = *hostView("edge1")
	if err := a.unguarded(); err == nil {
		t.Error("an edge needs one")
	}
}

// The switch guards servers and this host as well, whether the host is a way outside or not.
func TestTheSwitchGuards(t *testing.T) {
	a := guarding(t)
	a.addresses = []netip.Addr{addr("172.17.0.1")}
	conflict := hostnet.Condition{Affects: hostnet.Exit, Err: errors.New("Tailscale")}
	a.noteHost(hostOutcome{servers: []netip.Addr{addr("192.0.2.9")}, state: hostnet.State{Conditions: []hostnet.Condition{conflict}}})
	want := []netip.Addr{addr("10.1.1.3"), addr("168.63.129.16"), addr("172.17.0.1"), addr("192.0.2.9"), addr("192.168.5.2"), addr("192.168.5.3")}
	if !slices.Equal(a.wiring.Reserved, want) || !a.touched[dataplane.Subject{}] {
		t.Errorf("reserved are %v, want %v; touched: %v", a.wiring.Reserved, want, a.touched)
	}
	if a.troubles[inOutside] != "Tailscale" || a.troubles[inNative] != "" || a.troubles[inFirewall] != "" {
		t.Errorf("wrong is %v", a.troubles)
	}
	a.noteHost(hostOutcome{unknown: errors.New("no such name")})
	if len(a.wiring.Reserved) != len(want) {
		t.Errorf("without its name the server is forgotten: %v", a.wiring.Reserved)
	}
}

// Without a table, too.
func TestTheSwitchGuardsAlone(t *testing.T) {
	a := guarding(t)
	a.config.NoFirewall, a.host.server = true, "https://192.0.2.9:7443"
	a.keepHost(t.Context(), time.Now())
	if a.host.known {
		t.Error("flows may go in before the server is known")
	}
	select {
	case f := <-a.calls:
		f()
	case <-time.After(10 * time.Second):
		t.Fatal("nobody looks for the server")
	}
	if !a.host.known || !slices.Contains(a.wiring.Reserved, addr("192.0.2.9")) {
		t.Errorf("known: %v; reserved are %v", a.host.known, a.wiring.Reserved)
	}
}

func TestThePortStaysWhileTheServerIsAway(t *testing.T) {
	a := guarding(t)
	a.view.Apply(view.Delta{Complete: true})
	a.zones.Number[1000] = 1
	if ports := a.ownPorts(); ports != nil {
		t.Errorf("without a gateway they are %+v", ports)
	}
	a.complete = false
	if ports := a.ownPorts(); len(ports) != 1 || ports[0].Name != hostnet.SNATPort {
		t.Errorf("while the server is away they are %+v", ports)
	}
}
