package serverd

import (
	"net"
	"strings"
	"testing"

	"github.com/overlane/overlane/cmd/internal/program"
	"github.com/overlane/overlane/server"
	"github.com/overlane/overlane/server/identity"
	"github.com/overlane/overlane/store"
)

// TestAnnounce: as long as no machine has joined and none could, the server says how, restarted or not.
func TestAnnounce(t *testing.T) {
	kept := store.NewMemory(0)
	s, err := server.New(t.Context(), server.Config{Store: kept})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	secrets := identity.NewSecretStore(kept)
	ca, err := identity.OpenCA(t.Context(), secrets)
	if err != nil {
		t.Fatal(err)
	}
	tokens := identity.NewTokens(secrets, ca)
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	announced := func() string {
		var out strings.Builder
		if err := (options{ServerFlags: program.ServerFlags{Socket: "s.sock"}, out: &out}).announce(t.Context(), s, tokens, []server.Listener{{}, {Listener: tcp}}); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	const how = "overlane join 127.0.0.1"
	if first := announced(); !strings.Contains(first, how) {
		t.Errorf("the first time:\n%s", first)
	}
	if again := announced(); strings.Contains(again, how) || !strings.Contains(again, "overlane token create") {
		t.Errorf("with a token that is valid:\n%s", again)
	}
	all, err := tokens.List(t.Context())
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	if err := tokens.Revoke(t.Context(), all[0].ID); err != nil {
		t.Fatal(err)
	}
	if last := announced(); !strings.Contains(last, how) {
		t.Errorf("with no token that is valid:\n%s", last)
	}
}
