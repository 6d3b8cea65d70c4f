package agent

import (
	"bytes"
	"log/slog"
	"net/netip"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/overlane/overlane/agent/local"
	"github.com/overlane/overlane/view"
)

func testAgent(t *testing.T, dir, host string) *Agent {
	t.Helper()
	return New(local.Config{Host: host, State: dir, Address: netip.MustParseAddr("192.168.5.2")}, nil, slog.New(slog.DiscardHandler))
}

var plain = cmp.Options{
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
}

func addressDelta(revision int64, last byte) view.Delta {
	key := view.AddressKey{VNI: 100, IP: netip.AddrFrom4([4]byte{10, 0, 0, last})}
	return view.Delta{Revision: revision, Addresses: []view.Address{{AddressKey: key, Endpoint: "blue/web/x", Host: "h1"}}}
}

// What a host has learned is there when its agent starts again; a line that a crash has cut costs that line only.
func TestViewSurvivesARestart(t *testing.T) {
	dir := t.TempDir()
	a := testAgent(t, dir, "h1")
	first := view.Delta{Revision: 1, Complete: true, Segments: []view.Segment{{VNI: 100, Subnet: "blue/web", CIDR: netip.MustParsePrefix("10.0.0.0/24"), Gateway: netip.MustParseAddr("10.0.0.1")}}}
	for _, d := range []view.Delta{first, addressDelta(2, 2), addressDelta(3, 3)} {
		a.apply(d)
		if err := a.intent.saveView(); err != nil {
			t.Fatal(err)
		}
	}
	again := testAgent(t, dir, "h1")
	if err := again.intent.loadView(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(a.intent.view, again.intent.view, plain); diff != "" || again.intent.revision != 3 || len(again.intent.mine) != 2 || again.intent.complete {
		t.Errorf("revision %d, %d own addresses, complete %v (-was +is):\n%s", again.intent.revision, len(again.intent.mine), again.intent.complete, diff)
	}

	whole, err := os.ReadFile(a.intent.journal.path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := range len(whole) {
		if err := os.WriteFile(a.intent.journal.path, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		torn := testAgent(t, dir, "h1")
		if err := torn.intent.loadView(); err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		if lines := bytes.Count(whole[:cut], []byte{'\n'}); torn.intent.revision > int64(lines) {
			t.Fatalf("cut at %d: revision %d of %d lines", cut, torn.intent.revision, lines)
		}
	}
}

func TestViewOfAnotherHostIsNotTaken(t *testing.T) {
	dir := t.TempDir()
	a := testAgent(t, dir, "h1")
	a.apply(view.Delta{Revision: 7, Complete: true})
	if err := a.intent.saveView(); err != nil {
		t.Fatal(err)
	}
	other := testAgent(t, dir, "h2")
	if err := other.intent.loadView(); err != nil || other.intent.revision != 0 {
		t.Errorf("revision %d, %v", other.intent.revision, err)
	}
}

// A change must not cost what there is: the file grows by the change, and is written anew only when it has doubled.
func TestJournalGrowsByWhatChanges(t *testing.T) {
	a := testAgent(t, t.TempDir(), "h1")
	whole := view.Delta{Revision: 1, Complete: true}
	for i := range 250 {
		whole.Addresses = append(whole.Addresses, addressDelta(1, byte(i+1)).Addresses...)
	}
	a.apply(whole)
	if err := a.intent.saveView(); err != nil {
		t.Fatal(err)
	}
	before := a.intent.journal.size
	a.apply(addressDelta(2, 252))
	if err := a.intent.saveView(); err != nil {
		t.Fatal(err)
	}
	if grown := a.intent.journal.size - before; grown <= 0 || grown > 400 || a.intent.journal.base != before {
		t.Errorf("one address more cost %d bytes beside %d", grown, before)
	}
}
