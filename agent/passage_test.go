package agent

import (
	"encoding/hex"
	"net/netip"
	"testing"

	"github.com/overlane/overlane/view"
)

func TestFramesUpstream(t *testing.T) {
	own := view.NextHop{Host: "g1", Address: netip.MustParsePrefix("203.0.113.11/24"), Router: netip.MustParseAddr("203.0.113.1")}
	for what, tt := range map[string]struct {
		frame []byte
		want  string
	}{
		"announcement": {announcement(own), "ffffffffffff" + "024ecb00710b" + "0806" + "0001080006040001" + "024ecb00710b" + "cb00710b" + "000000000000" + "cb00710b"},
		"question":     {routerQuestion(own), "ffffffffffff" + "024dcb00710b" + "0806" + "0001080006040001" + "024dcb00710b" + "00000000" + "000000000000" + "cb007101"},
	} {
		if got := hex.EncodeToString(tt.frame); got != tt.want {
			t.Errorf("%s: got %s, want %s", what, got, tt.want)
		}
	}
}

// Interfaces have 15 letters at most, and one of 15 would be an endpoint's.
func TestWatchedPortsAreNoEndpoints(t *testing.T) {
	one, other := watchedPort("host1"), watchedPort("host2")
	if one == other || len(one) != 14 || one != watchedPort("host1") {
		t.Errorf("%s and %s", one, other)
	}
}

// What is kept of the upstream network outlasts an agent; a file that is damaged is no reason to forget a NIC that is to be given back.
func TestPassageIsKept(t *testing.T) {
	c := Config{State: t.TempDir()}
	p := newPassage(c)
	if err := p.load(); err != nil {
		t.Fatal(err)
	}
	p.kept = passageKept{Router: netip.MustParseAddr("203.0.113.1"), RouterMAC: [6]byte{2, 3}, NIC: "eth1"}
	if err := p.save(); err != nil {
		t.Fatal(err)
	}
	next := newPassage(c)
	if err := next.load(); err != nil || next.kept != p.kept {
		t.Errorf("%+v, %v", next.kept, err)
	}
	if err := replace(p.path, []byte("{")); err != nil {
		t.Fatal(err)
	}
	if err := next.load(); err == nil {
		t.Error("a damaged file is read")
	}
}
