package agent

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/overlane/overlane/agent/local"
	"github.com/overlane/overlane/attach"
	"github.com/overlane/overlane/internal/ifname"
	"github.com/overlane/overlane/model"
)

// Before Open vSwitch is reached, attach and detach say so, and nobody was asked for anything.
func TestAttachWithoutASwitch(t *testing.T) {
	t.Parallel()
	s := newPretendServer()
	ns := netns(t, "early")
	path, err := attach.NetnsPath(ns)
	if err != nil {
		t.Fatal(err)
	}
	s.place("blue/web/old", model.Attachment{Netns: path, Interface: "eth0"})
	a, _ := start(t, s, "/nonexistent", t.TempDir())
	a.eventually(t, "the agent to have tried", func() bool { return a.conditions.causes[condSwitch] != "" && a.intent.complete })
	caller := local.Client{Socket: filepath.Join(a.config.State, "a.sock")}
	_, err = caller.Attach(t.Context(), local.AttachRequest{Netns: ns, Subnet: "blue/web"})
	wantError(t, err, "attach netns "+ns, "Open vSwitch is not connected", "/nonexistent")
	if got := s.did(&s.puts); got != "" {
		t.Errorf("the server was asked for %s", got)
	}
	_, err = caller.Detach(t.Context(), local.DetachRequest{Netns: ns})
	wantError(t, err, "detach blue/web/old", "Open vSwitch is not connected")
	if _, err := caller.Detach(t.Context(), local.DetachRequest{Endpoint: "blue/web/none"}); err != nil {
		t.Errorf("detach of what is not attached: %v", err)
	}
}

func wantError(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want one with %q", words)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error does not say %q: %v", w, err)
		}
	}
}

// plugged attaches a namespace and returns what it got.
func (a *Agent) plugged(t *testing.T, ns string) local.AttachReply {
	t.Helper()
	a.eventually(t, "the agent to be ready", func() bool { return a.flows.sw != nil && a.intent.complete && a.flows.resync == "" })
	r, err := a.attachments.attach(t.Context(), local.AttachRequest{Netns: ns, Subnet: "blue/web"})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A namespace that is deleted while no agent runs is released by the next one.
func TestVanishedWhileAway(t *testing.T) {
	t.Parallel()
	s, o, state, ns := newPretendServer(), dummySwitch(t), t.TempDir(), netns(t, "away")
	a, stop := start(t, s, o.Dir, state)
	r := a.plugged(t, ns)
	stop()
	ip(t, "netns", "del", ns)
	poll(t, "the interface is gone", func() bool { return !attach.Exists(r.Port) })
	a, _ = start(t, s, o.Dir, state)
	poll(t, "the server has been told", func() bool { return s.did(&s.deletes) == r.Endpoint })
	a.eventually(t, "the port to be gone", func() bool {
		return a.bridge.db != nil && len(a.bridge.db.Ports()) == 0 && len(a.flows.wiring.Ports) == 0
	})
}

// The loop misses that an interface goes while a call is busy with its endpoint, and finds out later.
func TestVanishedWhileBusy(t *testing.T) {
	t.Parallel()
	s, o, ns := newPretendServer(), dummySwitch(t), netns(t, "busy")
	a, _ := start(t, s, o.Dir, t.TempDir())
	r := a.plugged(t, ns)
	if err := a.attachments.begin(t.Context(), r.Endpoint); err != nil {
		t.Fatal(err)
	}
	ip(t, "netns", "del", ns)
	poll(t, "the interface is gone", func() bool { return !attach.Exists(r.Port) })
	a.eventually(t, "the loop to have taken a tick", func() bool { return true })
	a.attachments.end(r.Endpoint)
	poll(t, "the server has been told", func() bool { return s.did(&s.deletes) == r.Endpoint })
}

// Another namespace by the same name is another one, although the old one lives on with whoever is in it.
func TestSameNameAnotherNamespace(t *testing.T) {
	t.Parallel()
	s, o, ns := newPretendServer(), dummySwitch(t), netns(t, "same")
	a, _ := start(t, s, o.Dir, t.TempDir())
	request := local.AttachRequest{Netns: ns, Subnet: "blue/web"}
	first := a.plugged(t, ns)
	if again, err := a.attachments.attach(t.Context(), request); err != nil || !again.Unchanged {
		t.Errorf("attaching again: %+v, %v", again, err)
	}
	inside := exec.Command("ip", "netns", "exec", ns, "sleep", "1000")
	if err := inside.Start(); err != nil {
		t.Fatal(err)
	}
	end := sync.OnceFunc(func() { _ = inside.Process.Kill(); _ = inside.Wait() })
	t.Cleanup(end)
	poll(t, "somebody is inside", func() bool { return strings.Contains(ip(t, "netns", "pids", ns), fmt.Sprint(inside.Process.Pid)) })
	ip(t, "netns", "del", ns)
	ip(t, "netns", "add", ns)
	_, err := a.attachments.attach(t.Context(), request)
	wantError(t, err, "leads elsewhere", "detach it first")
	if got := s.did(&s.deletes); got != "" {
		t.Errorf("the failure has deleted %s", got)
	}

	end()
	poll(t, "the server has been told", func() bool { return s.did(&s.deletes) == first.Endpoint })
	poll(t, "attach goes through", func() bool {
		_, err := a.attachments.attach(t.Context(), request)
		return err == nil
	})
	ip(t, "-n", ns, "link", "show", "eth0")
}

// An agent that was killed may have left an interface that does not work: attaching again makes it work, and says that
// it did something.
func TestAttachMendsWhatIsMissing(t *testing.T) {
	t.Parallel()
	s, o, ns := newPretendServer(), dummySwitch(t), netns(t, "mended")
	a, _ := start(t, s, o.Dir, t.TempDir())
	a.plugged(t, ns)
	ip(t, "-n", ns, "addr", "flush", "dev", "eth0")
	ip(t, "-n", ns, "link", "set", "eth0", "down")
	for _, unchanged := range []bool{false, true} {
		r, err := a.attachments.attach(t.Context(), local.AttachRequest{Netns: ns, Subnet: "blue/web"})
		if err != nil || r.Unchanged != unchanged {
			t.Errorf("%+v, %v; want unchanged %t", r, err, unchanged)
		}
	}
	if eth0 := ip(t, "-n", ns, "-br", "addr", "show", "eth0"); !strings.Contains(eth0, "UP") || !strings.Contains(eth0, "172.17.42.") || !strings.Contains(eth0, "/24") {
		t.Errorf("eth0: %s", eth0)
	}
	if routes := ip(t, "-n", ns, "route"); !strings.Contains(routes, "default via 172.17.42.1") {
		t.Errorf("routes: %s", routes)
	}
}

// An attach that was killed has made the interface and no more: it gets its port only once the host's own stack is kept
// out of it.
func TestReplugKeepsTheHostOut(t *testing.T) {
	t.Parallel()
	replugs(t, "replug", false)
}

// So it is of an interface that 0.1.0 has named.
func TestReplugTakesAnOlderName(t *testing.T) {
	t.Parallel()
	replugs(t, "replug010", true)
}

// placed has intent plug an endpoint into a new namespace.
func placed(t *testing.T, s *pretendServer, what string) (ns, name string) {
	t.Helper()
	ns = netns(t, what)
	path, err := attach.NetnsPath(ns)
	if err != nil {
		t.Fatal(err)
	}
	name = "blue/web/" + ns
	s.place(name, model.Attachment{Netns: path, Interface: "eth0"})
	return ns, name
}

// left makes an interface that has no port. Without an owner it does not say whose it is.
func left(t *testing.T, port, ns, owner string) {
	t.Helper()
	ip(t, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", ns)
	if owner != "" {
		ip(t, "link", "set", port, "alias", owner)
	}
}

func replugs(t *testing.T, what string, by010 bool) {
	s, o := newPretendServer(), dummySwitch(t)
	ns, name := placed(t, s, what)
	port, owner := newPortName(s.places[name]), name
	if by010 {
		port, owner = ifname.EndpointOf010(name), ""
	}
	left(t, port, ns, owner)
	a, _ := start(t, s, o.Dir, t.TempDir())
	a.eventually(t, "the port to be there", func() bool { return len(a.flows.wiring.Ports) == 1 })
	if link := ip(t, "-o", "link", "show", port); !strings.Contains(link, "NOARP") || !strings.Contains(link, ",UP") {
		t.Errorf("end on the host: %s", link)
	}
	if forwards, err := os.ReadFile("/proc/sys/net/ipv4/conf/" + port + "/forwarding"); err != nil || string(forwards) != "0\n" {
		t.Errorf("forwarding: %s, %v", forwards, err)
	}
}

// An interface that was made for another endpoint, or for nobody knows whom, is not taken for that of the next one with
// its address.
func TestReplugLeavesTheInterfaceOfAnother(t *testing.T) {
	t.Parallel()
	for what, owner := range map[string]string{"stranger": "blue/web/stranger", "nobody": ""} {
		s, o := newPretendServer(), dummySwitch(t)
		ns, name := placed(t, s, what)
		port := newPortName(s.places[name])
		left(t, port, ns, owner)
		a, _ := start(t, s, o.Dir, t.TempDir())
		poll(t, "the endpoint to be given back", func() bool { return s.did(&s.deletes) == name })
		a.eventually(t, "no port", func() bool { return len(a.bridge.db.Ports()) == 0 })
		if there := attach.Exists(port); there != (owner != "") { // nobody's would be in the way of the next attach
			t.Errorf("the interface of %q is there: %t", owner, there)
		}
		if err := attach.Unplumb(t.Context(), port); err != nil {
			t.Error(err)
		}
	}
}

// An attach of what is there already that fails leaves there what there was.
func TestFailedAttachKeepsWhatWasThere(t *testing.T) {
	t.Parallel()
	s, o, ns := newPretendServer(), dummySwitch(t), netns(t, "kept")
	a, _ := start(t, s, o.Dir, t.TempDir())
	r := a.plugged(t, ns)
	o.StopSwitchd()
	a.eventually(t, "the switch to be away", func() bool { return a.flows.sw == nil })
	o.Vsctl("--no-wait", "clear", "interface", r.Port, "ofport", "ofport_request")
	a.eventually(t, "the port's number to be unknown", func() bool { return len(a.flows.wiring.Ports) == 0 })
	wantError(t, a.attachWithin(t, time.Second, ns), "attach netns "+ns, "wait for ovs-vswitchd")
	if got := s.did(&s.deletes); got != "" {
		t.Errorf("the server was told to delete %s", got)
	}
	if !attach.Exists(r.Port) {
		t.Error("the interface is gone")
	}
	if got := o.Vsctl("list-ports", "br-overlane"); !strings.Contains(got, r.Port) {
		t.Errorf("the port is gone; there are %s", got)
	}
}

func (a *Agent) attachWithin(t *testing.T, timeout time.Duration, ns string) error {
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	_, err := a.attachments.attach(ctx, local.AttachRequest{Netns: ns, Subnet: "blue/web"})
	return err
}

// Who looks at the status right after attach finds the endpoint there; it need not wait for the next look.
func TestAttachIsReportedAtOnce(t *testing.T) {
	t.Parallel()
	s, o, ns := newPretendServer(), dummySwitch(t), netns(t, "soon")
	s.tick = time.Hour
	a, _ := start(t, s, o.Dir, t.TempDir())
	r := a.plugged(t, ns)
	poll(t, "the server has been told", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		e, ok := s.reported[model.Key{Kind: "Endpoint", Name: r.Endpoint}].(*model.EndpointStatus)
		return ok && e.State == model.Attached
	})
}

// A call waits for another one for the same endpoint, but not for ever.
func TestCallsTakeTurns(t *testing.T) {
	t.Parallel()
	s, o, ns := newPretendServer(), dummySwitch(t), netns(t, "turns")
	a, _ := start(t, s, o.Dir, t.TempDir())
	r := a.plugged(t, ns)
	if err := a.attachments.begin(t.Context(), r.Endpoint); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	wantError(t, a.attachments.begin(ctx, r.Endpoint), "being attached or detached right now")
	next := make(chan error)
	go func() { next <- a.attachments.begin(t.Context(), r.Endpoint) }()
	a.eventually(t, "the next call to wait", func() bool { return len(a.queue.waiters) == 2 }) // and this one
	a.attachments.end(r.Endpoint)
	if err := <-next; err != nil {
		t.Error(err)
	}
}
