package agent

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/overlane/overlane/agent/local"
	"github.com/overlane/overlane/dataplane"
	"github.com/overlane/overlane/hostnet"
	"github.com/overlane/overlane/model"
)

// The kernel is looked at every ten seconds, at once if something has changed, and after a second if something is
// wrong; by one at a time.
func TestWhenTheKernelIsLookedAt(t *testing.T) {
	h := testHostKernel(local.Config{State: t.TempDir()})
	now := time.Now()
	as, other := hostnet.Config{TunnelPort: 4789}, hostnet.Config{TunnelPort: 4790}
	wrong := hostnet.State{Conditions: []hostnet.Condition{{Affects: hostnet.Direct, Err: errors.New("no interface")}}}
	for _, step := range []struct {
		what  string
		after time.Duration
		c     hostnet.Config
		begin bool
		end   *hostOutcome
	}{
		{"at the start", 0, as, true, nil},
		{"while a call is under way", time.Minute, other, false, &hostOutcome{}},
		{"something has changed meanwhile", 0, other, true, &hostOutcome{}},
		{"nothing has", 9 * time.Second, other, false, nil},
		{"ten seconds later", time.Second, other, true, &hostOutcome{state: wrong}},
		{"at once after trouble", 0, other, false, nil},
		{"a second after trouble", time.Second, other, true, &hostOutcome{unknown: errors.New("no such name")}},
		{"a second after a name that leads nowhere", time.Second, other, true, &hostOutcome{refused: errors.New("no network")}},
		{"a second after a refusal", time.Second, other, true, &hostOutcome{}},
	} {
		now = now.Add(step.after)
		if got := h.begin(now, step.c); got != step.begin {
			t.Errorf("%s: looked at: %t", step.what, got)
		}
		if step.end != nil {
			step.end.set = true
			h.end(*step.end, now)
		}
	}
}

// 0.1.0 has the same file.
func TestOpenedInterfacesOutlastARestart(t *testing.T) {
	c := local.Config{State: t.TempDir()}
	h := testHostKernel(c)
	h.end(hostOutcome{set: true, state: hostnet.State{Opened: []string{"eth0", "eth1"}}}, time.Now())
	got, err := os.ReadFile(filepath.Join(c.State, "forwarding.json"))
	if err != nil || string(got) != `{"opened":["eth0","eth1"]}` {
		t.Errorf("on the disk is %s, %v", got, err)
	}
	next := testHostKernel(c)
	if err := next.load(); err != nil || !slices.Equal(next.Opened, h.Opened) {
		t.Errorf("there are %v, %v", next.Opened, err)
	}
	s, err := next.kernel.Set(t.Context(), hostnet.Config{Peers: make([]netip.Addr, 1)}) // which is refused
	if err == nil || !slices.Equal(s.Opened, h.Opened) {
		t.Errorf("the kernel knows of %v, %v", s.Opened, err)
	}
}

func TestAddressesOfTheServer(t *testing.T) {
	for server, want := range map[string]string{"https://192.168.5.2:7443": "192.168.5.2", "https://localhost:7443": "127.0.0.1", "unix:///run/overlane/server.sock": ""} {
		got, err := addressesOf(t.Context(), server)
		if err != nil || len(got) > 0 != (want != "") || want != "" && !slices.Contains(got, addr(want)) {
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
	began, slept := time.Now(), make(chan time.Duration, 1)
	go func() { // a busy machine is late with this, too
		time.Sleep(resolveTimeout)
		slept <- time.Since(began)
	}()
	if _, err := addressesOf(t.Context(), "https://overlane.example:7443"); err == nil {
		t.Error("nobody has told it")
	}
	if took, slept := time.Since(began), <-slept; took-slept > time.Second {
		t.Errorf("it took %v, and a sleep of %v took %v", took, resolveTimeout, slept)
	}
}

func testHostKernel(c local.Config) *hostKernel {
	log := slog.New(slog.DiscardHandler)
	return newHostKernel(c, log, newQueue(), newConditions(log), &model.Drift{})
}

func TestNoWayWithoutAFirewall(t *testing.T) {
	f := factsOf()
	if err := unguarded(hostView("host1"), f.translations); err == nil || !strings.Contains(err.Error(), "noFirewall") {
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
	h := testHostKernel(local.Config{State: t.TempDir()})
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
	h := testHostKernel(local.Config{State: t.TempDir(), NoFirewall: true, Server: "https://192.0.2.9:7443"})
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
	h := testHostKernel(local.Config{State: t.TempDir()})
	for _, change := range []func(*facts){func(f *facts) { f.connected = false }, func(f *facts) { f.known = false }} {
		f := factsOf(hostnet.SNATPort)
		change(&f)
		h.keep(t.Context(), hostView("host1"), f, time.Now())
		if h.busy {
			t.Errorf("it is set by %+v", f)
		}
	}
}

// A look at the machine that fails leaves what the one before has found.
func TestFailedLookKeepsFacts(t *testing.T) {
	var h hostKernel
	half := hostnet.Facts{Underlay: "eth0"}
	if got := h.seen(half, errors.New("netlink")); got.Underlay != "eth0" {
		t.Errorf("the first look, which fails: %+v", got)
	}
	whole := hostnet.Facts{ForwardsAll: true, Underlay: "eth0", Exits: []string{"eth1"}}
	h.seen(whole, nil)
	if got := h.seen(hostnet.Facts{}, errors.New("netlink")); !got.ForwardsAll || got.Underlay != "eth0" || len(got.Exits) != 1 {
		t.Errorf("the next one fails: %+v", got)
	}
	if got := h.seen(hostnet.Facts{Underlay: "eth2"}, nil); got.ForwardsAll || got.Underlay != "eth2" {
		t.Errorf("and the next one does not: %+v", got)
	}
}

// Every name that the agent counts drops under is explained.
func TestDropsAreExplained(t *testing.T) {
	explained := map[string]bool{}
	for _, d := range slices.Concat(dataplane.Drops, dataplane.OtherDrops) {
		explained[d.Name] = true
	}
	counted := []string{hostnet.Forged, hostnet.GuardedAddress, hostnet.NoExit, hostnet.Untracked, hostnet.Unsolicited, dropBusy, dropUntracked}
	for _, name := range counted {
		if !explained[name] {
			t.Errorf("nothing explains the drop %s", name)
		}
	}
}

// What the agent before has set stays while nothing is known of the machine, but not for ever.
func TestTheKernelStaysWhileTheMachineIsUnknown(t *testing.T) {
	h := testHostKernel(local.Config{State: t.TempDir()})
	failed := errors.New("the dump was interrupted")
	for look := 1; look < blindLooks; look++ {
		if !h.blind(failed) {
			t.Errorf("look %d: the kernel is set by half of the facts", look)
		}
	}
	if h.blind(failed) {
		t.Error("the kernel is never set")
	}
	h.end(hostOutcome{unseen: failed}, time.Now())
	if h.known || h.due.After(time.Now().Add(retryAfter)) {
		t.Errorf("after a look that failed: known %t, due %s", h.known, h.due)
	}
	h = testHostKernel(local.Config{State: t.TempDir()})
	h.seen(hostnet.Facts{}, nil)
	if h.blind(failed) {
		t.Error("a later look that fails keeps the kernel from being set")
	}
}

// A switch that comes back has made its ports anew, so the kernel is set at once.
func TestTheKernelIsSetWithTheSwitch(t *testing.T) {
	h := testHostKernel(local.Config{State: t.TempDir()})
	now := time.Now()
	v := hostView("host1")
	f := factsOf()
	f.known, f.connected = true, true
	c := hostConfig(v, f)
	if !h.begin(now, c) {
		t.Fatal("the kernel is not set at the start")
	}
	h.end(hostOutcome{set: true}, now)
	f.connected = false
	h.keep(t.Context(), v, f, now)
	if !h.begin(now, c) {
		t.Error("the ports of a switch that restarted wait for the next look")
	}
}
