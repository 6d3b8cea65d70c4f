package agent

import (
	"net"
	"path/filepath"
	"testing"

	"github.com/overlane/overlane/agent/local"
	"github.com/overlane/overlane/attach"
)

// attachAside has the local API attach a namespace, and returns when the server has been asked for a place.
func (a *Agent) attachAside(t *testing.T, s *pretendServer, ns string) (ended <-chan error) {
	t.Helper()
	a.eventually(t, "the agent to be ready", func() bool { return a.flows.sw != nil && a.intent.complete && a.flows.resync == "" })
	attached := make(chan error, 1)
	go func() {
		_, err := local.Client{Socket: filepath.Join(a.config.State, "a.sock")}.Attach(t.Context(), local.AttachRequest{Netns: ns, Subnet: "blue/web"})
		attached <- err
	}()
	poll(t, "the server has been asked", func() bool { return s.did(&s.puts) != "" })
	return attached
}

// An agent that is stopped lets the calls under way end first.
func TestStopWaitsForCalls(t *testing.T) {
	t.Parallel()
	s, o, ns := newPretendServer(), dummySwitch(t), netns(t, "stopped")
	s.held = make(chan struct{})
	a, stop := start(t, s, o.Dir, t.TempDir())
	attached := a.attachAside(t, s, ns)
	go stop()
	poll(t, "no more calls are taken", func() bool {
		c, err := net.Dial("unix", a.config.Socket)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	close(s.held)
	if err := <-attached; err != nil {
		t.Fatal(err)
	}
	stop()
	port := newPortName(s.places["blue/web/"+ns])
	if got := o.Vsctl("--columns=external_ids", "list", "interface", port); !attach.Exists(port) || got == "" {
		t.Errorf("after an attach that went through: interface %t, port %q", attach.Exists(port), got)
	}
}

// A call that does not end is called off, and takes back what it has made before the agent ends.
func TestStopCallsOff(t *testing.T) {
	t.Parallel()
	s, o, ns := newPretendServer(), dummySwitch(t), netns(t, "calledoff")
	s.mute = true
	a, stop := start(t, s, o.Dir, t.TempDir())
	attached := a.attachAside(t, s, ns)
	stop()
	if got := s.did(&s.deletes); got != "blue/web/"+ns {
		t.Errorf("given back: %q", got)
	}
	wantError(t, <-attached, "the server to tell this host of its endpoint")
}
