package agent

import (
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/overlane/overlane/hostnet"
	"github.com/overlane/overlane/model"
)

func testHostKernel(c Config) *hostKernel {
	log := slog.New(slog.DiscardHandler)
	return newHostKernel(c, log, newQueue(), newConditions(log), &model.Drift{})
}

func TestNoWayWithoutAFirewall(t *testing.T) {
	f := factsOf()
	if err := unguarded(hostView("host1"), f.zones); err == nil || !strings.Contains(err.Error(), "noFirewall") {
		t.Error(err)
	}
	if err := unguarded(hostView("host1"), nil); err != nil {
		t.Errorf("nobody wants one: %v", err)
	}
	if err := unguarded(hostView("edge1"), nil); err == nil {
		t.Error("an edge needs one")
	}
}

// What is wrong with the kernel is kept by what it affects, and a server's name that leads nowhere makes nobody forget
// the server.
func TestOutcomeOfTheKernelIsTaken(t *testing.T) {
	h := testHostKernel(Config{State: t.TempDir()})
	conflict := hostnet.Condition{Affects: hostnet.Exit, Err: errors.New("Tailscale")}
	h.take(hostOutcome{servers: []netip.Addr{addr("192.0.2.9")}, state: hostnet.State{Conditions: []hostnet.Condition{conflict}}}, time.Now())
	if c := h.conditions.causes; c[condExit] != "Tailscale" || c[condDirect] != "" || c[condFirewall] != "" {
		t.Errorf("wrong is %v", c)
	}
	h.take(hostOutcome{unknown: errors.New("no such name")}, time.Now())
	if want := []netip.Addr{addr("192.0.2.9")}; !slices.Equal(h.servers, want) || h.conditions.causes[condExit] != "no such name" {
		t.Errorf("servers are %v, wrong is %v", h.servers, h.conditions.causes)
	}
}

// A host without a table looks for servers all the same, for its switch guards them.
func TestTheSwitchGuardsAlone(t *testing.T) {
	h := testHostKernel(Config{State: t.TempDir(), NoFirewall: true, Server: "https://192.0.2.9:7443"})
	h.keep(t.Context(), hostView("host1"), factsOf(), time.Now())
	if h.known {
		t.Error("flows may go in before the server is known")
	}
	select {
	case call := <-h.queue.calls:
		h.queue.run(call)
	case <-time.After(10 * time.Second):
		t.Fatal("nobody looks for the server")
	}
	if !h.known || !slices.Contains(h.servers, addr("192.0.2.9")) {
		t.Errorf("known: %v; servers are %v", h.known, h.servers)
	}
}

// While nothing is known, or there is no switch, the kernel stays as another run has left it.
func TestTheKernelStaysWhileNothingIsKnown(t *testing.T) {
	h := testHostKernel(Config{State: t.TempDir()})
	for _, change := range []func(*facts){func(f *facts) { f.connected = false }, func(f *facts) { f.known = false }} {
		f := factsOf(hostnet.SNATPort)
		change(&f)
		h.keep(t.Context(), hostView("host1"), f, time.Now())
		if h.busy {
			t.Errorf("it is set by %+v", f)
		}
	}
}
