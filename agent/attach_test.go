package agent

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/overlane/overlane/attach"
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
	a.eventually(t, "the agent to have tried", func() bool { return a.trouble != "" && a.complete })
	local := Local{filepath.Join(a.config.State, "a.sock")}
	_, err = local.Attach(t.Context(), AttachRequest{Netns: ns, Subnet: "blue/web"})
	wantError(t, err, "attach netns "+ns, "Open vSwitch is not connected", "/nonexistent")
	if got := s.did(&s.puts); got != "" {
		t.Errorf("the server was asked for %s", got)
	}
	_, err = local.Detach(t.Context(), DetachRequest{Netns: ns})
	wantError(t, err, "detach blue/web/old", "Open vSwitch is not connected")
	if _, err := local.Detach(t.Context(), DetachRequest{Endpoint: "blue/web/none"}); err != nil {
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
