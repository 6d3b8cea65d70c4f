package agent

import (
	"encoding/hex"
	"net/netip"
	"testing"

	"github.com/overlane/overlane/agent/local"
	"github.com/overlane/overlane/internal/atomicfile"
	"github.com/overlane/overlane/model"
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
func TestBFDPortsAreNoEndpoints(t *testing.T) {
	one, other := bfdPort("host1"), bfdPort("host2")
	if one == other || len(one) != 14 || one != bfdPort("host1") {
		t.Errorf("%s and %s", one, other)
	}
}

// Who sends to an address learns one MTU for all of its ports.
func TestMTUTowardsAPublicAddress(t *testing.T) {
	whole, shared := netip.MustParseAddr("1.22.3.5"), netip.MustParseAddr("1.22.3.6")
	block := func(first uint16) view.BlockKey { return view.BlockKey{Address: shared, First: first} }
	v := view.View{
		Gateways: map[model.VNI]view.Gateway{1: {MTU: 1450}, 2: {MTU: 1400}, 3: {}},
		Publics:  map[netip.Addr]view.Public{whole: {VPC: 1}},
		Forwards: map[view.ForwardKey]view.Forward{{Address: shared, Port: 80}: {VPC: 2}},
		Blocks:   map[view.BlockKey]view.Block{block(1024): {VPC: 1}, block(2048): {VPC: 3}},
	}
	for address, want := range map[netip.Addr]int{whole: 1450, shared: 1400, netip.MustParseAddr("1.22.3.7"): 0} {
		if got := mtuTowards(&v, address); got != want {
			t.Errorf("towards %s: %d, want %d", address, got, want)
		}
	}
}

// What is kept of the upstream network outlasts an agent; a file that is damaged is no reason to forget a NIC that
// is to be given back.
func TestBorderIsKept(t *testing.T) {
	c := local.Config{State: t.TempDir()}
	p := newBorderHost(c, borderLoop{}, nil)
	if err := p.load(); err != nil {
		t.Fatal(err)
	}
	p.kept = borderKept{Router: netip.MustParseAddr("203.0.113.1"), RouterMAC: [6]byte{2, 3}, NIC: "eth1"}
	if err := p.save(); err != nil {
		t.Fatal(err)
	}
	next := newBorderHost(c, borderLoop{}, nil)
	if err := next.load(); err != nil || next.kept != p.kept {
		t.Errorf("%+v, %v", next.kept, err)
	}
	if err := atomicfile.Write(p.disk.path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := next.load(); err == nil {
		t.Error("a damaged file is read")
	}
}
