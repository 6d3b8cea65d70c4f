package agent

import (
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/overlane/overlane/agent/local"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/view"
)

func vpcs(all ...model.VNI) map[model.VNI]bool {
	m := map[model.VNI]bool{}
	for _, vpc := range all {
		m[vpc] = true
	}
	return m
}

func testZones(state string) *zones {
	log := slog.New(slog.DiscardHandler)
	return newZones(local.Config{State: state}, log, newQueue(), newConditions(log))
}

// give gives numbers, writes them down and reads them as another run does.
func give(t *testing.T, z *zones, wanted map[model.VNI]bool, take bool) *zones {
	t.Helper()
	_, err := z.give(wanted, take)
	if err == nil {
		err = z.save()
	}
	next := testZones(filepath.Dir(z.path))
	if err == nil {
		err = next.load()
	}
	if err != nil {
		t.Fatal(err)
	}
	return next
}

func TestZonesKeepTheirNumbers(t *testing.T) {
	z := give(t, testZones(t.TempDir()), vpcs(1000, 1001), true)
	before := z.Number
	if len(before) != 2 || before[1000] == before[1001] {
		t.Fatalf("the numbers are %v", before)
	}
	z = give(t, z, vpcs(1001, 1002), false)
	if z.Number[1000] != before[1000] || z.Number[1001] != before[1001] || len(z.Number) != 3 {
		t.Errorf("while not all VPCs are known, %v have become %v", before, z.Number)
	}
	if changed, err := z.give(vpcs(1000, 1001, 1002), true); changed || err != nil {
		t.Errorf("there was nothing to give: %t, %v", changed, err)
	}
}

func TestZonesAreNotGivenAgainBeforeTheyAreFlushed(t *testing.T) {
	z := give(t, testZones(t.TempDir()), vpcs(1000), true)
	old := z.Number[1000]
	z = give(t, z, nil, true)
	if !z.Gone[old] || len(z.Number) != 0 {
		t.Fatalf("taken: %v, to be flushed: %v", z.Number, z.Gone)
	}
	for vpc := range model.VNI(maxZones - 1) {
		if _, err := z.give(map[model.VNI]bool{vpc + 1: true}, false); err != nil {
			t.Fatal(err)
		}
	}
	if slices.Contains(slices.Collect(maps.Values(z.Number)), old) {
		t.Error("its number has another owner, and its connections have, too")
	}
	if _, err := z.give(vpcs(9999), false); err == nil || !strings.Contains(err.Error(), "4096 VPCs") {
		t.Errorf("one too many: %v", err)
	}
	delete(z.Gone, old)
	if _, err := z.give(vpcs(9999), false); err != nil || z.Number[9999] != old {
		t.Errorf("once it is flushed: %d, %v", z.Number[9999], err)
	}
}

func TestZonesGoRound(t *testing.T) {
	z := testZones(t.TempDir())
	z.Last = maxZones - 1
	if _, err := z.give(vpcs(1), true); err != nil || z.Number[1] != maxZones {
		t.Errorf("the last is %d, %v", z.Number[1], err)
	}
	z.Gone = map[int]bool{}
	if _, err := z.give(vpcs(2), true); err != nil || z.Number[2] != 1 || !z.Gone[maxZones] {
		t.Errorf("after the last comes %d, %v", z.Number[2], err)
	}
	if _, err := z.give(vpcs(2, 3), true); err != nil || z.Number[3] != 2 {
		t.Errorf("then %d, %v", z.Number[3], err)
	}
}

func TestTranslationsAreOfTheRange(t *testing.T) {
	z := testZones(t.TempDir())
	z.config.NATRange = netip.MustParsePrefix("10.96.0.0/19")
	z.Number = map[model.VNI]int{1: 1, 2: maxZones}
	got := z.translations()
	if got[1].Address != netip.MustParseAddr("10.96.0.16") || got[1].Zone != firstZone+1 {
		t.Errorf("the first is %v", got[1])
	}
	if !netip.MustParsePrefix("10.96.0.0/19").Contains(got[2].Address) || got[2].Zone != firstZone+maxZones {
		t.Errorf("the last is %v", got[2])
	}
}

func TestZonesThatCannotBeRead(t *testing.T) {
	z := testZones(t.TempDir())
	if err := os.WriteFile(z.path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := z.load(); err == nil || !strings.Contains(err.Error(), z.path) {
		t.Error(err)
	}
}

// A gateway that leads nowhere, since SNAT was turned off and nothing else was on, keeps no zone: its connections are
// to be forgotten.
func TestAGatewayWithoutAWayHasNoZone(t *testing.T) {
	const vpc = 1000
	for _, c := range []struct {
		gateway view.Gateway
		publics []view.Public
		has     bool
	}{
		{view.Gateway{VPC: vpc, SNAT: true}, nil, true},
		{view.Gateway{VPC: vpc, BorderHosts: []string{"edge1"}}, nil, false},
		{view.Gateway{VPC: vpc, BorderHosts: []string{"edge1"}}, []view.Public{{Address: netip.MustParseAddr("1.22.3.5"), VPC: vpc, Host: "h2"}}, false},
		{view.Gateway{VPC: vpc, BorderHosts: []string{"edge1"}}, []view.Public{{Address: netip.MustParseAddr("1.22.3.5"), VPC: vpc, Host: "h1"}}, true},
		{view.Gateway{VPC: vpc}, nil, false},
	} {
		z := testZones(t.TempDir())
		z.config.NATRange = netip.MustParsePrefix("100.64.0.0/10")
		v := view.View{Host: "h1"}
		v.Apply(view.Delta{Complete: true, Segments: []view.Segment{{VNI: 100, VPC: vpc}}, Gateways: []view.Gateway{{VPC: vpc, SNAT: true}}})
		z.follow(&v, true)
		v.Apply(view.Delta{Gateways: []view.Gateway{c.gateway}, Publics: c.publics})
		z.follow(&v, true)
		if _, has := z.Number[vpc]; has != c.has || len(z.Gone) > 0 == c.has {
			t.Errorf("%+v: has a zone: %t, to be flushed: %v", c.gateway, has, z.Gone)
		}
	}
}

// What a VPC has been known by is on disk until the connections of then are forgotten, even if it was for a moment
// only.
func TestZonesRememberSources(t *testing.T) {
	kernel, block := source{Address: netip.MustParseAddr("100.64.0.16")}, source{netip.MustParseAddr("1.22.3.0"), 1024, 2047}
	z := testZones(t.TempDir())
	for _, s := range []source{kernel, block, kernel} {
		z.noteSources(map[model.VNI]source{1000: s})
	}
	z = give(t, z, vpcs(1000), true)
	if got := z.Sources[1000]; !slices.Equal(got, []source{kernel, block}) {
		t.Errorf("there are %v", got)
	}
	if z.noteSources(map[model.VNI]source{1000: block}) {
		t.Error("one that it has been known by is taken for a new one")
	}
}
