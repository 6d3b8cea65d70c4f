package agent

import (
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/overlane/overlane/dataplane"
	"github.com/overlane/overlane/firewall"
)

// The switch guards servers and this host as well, whether the host is a way outside or not.
func TestTheSwitchGuards(t *testing.T) {
	a := guarding(t)
	a.log = slog.New(slog.DiscardHandler)
	a.addresses = []netip.Addr{netip.MustParseAddr("172.17.0.1")}
	a.noteGuard(hostLook{servers: []netip.Addr{netip.MustParseAddr("192.0.2.9")}, set: firewall.Guard{Port: 4789}, noWay: errors.New("Tailscale")})
	var got []string
	for _, r := range a.wiring.Reserved {
		got = append(got, r.String())
	}
	want := []string{"10.1.1.3", "168.63.129.16", "172.17.0.1", "192.0.2.9", "192.168.5.2", "192.168.5.3"}
	if !slices.Equal(got, want) || !a.touched[dataplane.Subject{}] {
		t.Errorf("reserved are %v, want %v; touched: %v", got, want, a.touched)
	}
	a.noteGuard(hostLook{unknown: errors.New("no such name"), set: firewall.Guard{Port: 4789}})
	if len(a.wiring.Reserved) != len(want) {
		t.Errorf("without its name the server is forgotten: %v", a.wiring.Reserved)
	}
}

// Without a table, too.
func TestTheSwitchGuardsAlone(t *testing.T) {
	a := guarding(t)
	a.log = slog.New(slog.DiscardHandler)
	a.config.NoFirewall, a.config.Server = true, "https://192.0.2.9:7443"
	a.guard(t.Context(), time.Now())
	if a.guarded.looked {
		t.Error("flows may go in before the server is known")
	}
	select {
	case f := <-a.calls:
		f()
	case <-time.After(10 * time.Second):
		t.Fatal("nobody looks for the server")
	}
	if !a.guarded.looked || !slices.Contains(a.wiring.Reserved, netip.MustParseAddr("192.0.2.9")) {
		t.Errorf("looked: %v; reserved are %v", a.guarded.looked, a.wiring.Reserved)
	}
}
