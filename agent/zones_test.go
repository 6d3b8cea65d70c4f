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

// vpcList are VPCs by transit VNI.
func vpcList(all ...model.VNI) []model.VNI { return all }

func vpcOwners(vpcs ...model.VNI) (owners []zoneOwner) {
	for _, vpc := range vpcs {
		owners = append(owners, vpcOwner(vpc))
	}
	return owners
}

func testZones(state string) *zones {
	log := slog.New(slog.DiscardHandler)
	return newZones(local.Config{State: state, NATRange: netip.MustParsePrefix("100.64.0.0/10")}, log, newQueue(), newConditions(log))
}

// give gives translated VPCs zones, writes them down and reads them as another run does.
func give(t *testing.T, z *zones, vpcs []model.VNI, take bool) *zones {
	t.Helper()
	_, err := z.give(vpcOwners(vpcs...), vpcs, take)
	if err == nil {
		err = z.save()
	}
	next := testZones(filepath.Dir(z.disk.path))
	if err == nil {
		err = next.load()
	}
	if err != nil {
		t.Fatal(err)
	}
	return next
}

func TestZonesKeepTheirNumbers(t *testing.T) {
	z := give(t, testZones(t.TempDir()), vpcList(1000, 1001), true)
	zones, addresses := z.vpcZones(), z.translations()
	if len(zones) != 2 || zones[1000] == zones[1001] || len(addresses) != 2 || addresses[1000] == addresses[1001] {
		t.Fatalf("the zones are %v, the addresses %v", zones, addresses)
	}
	z = give(t, z, vpcList(1001, 1002), false)
	if got := z.vpcZones(); got[1000] != zones[1000] || got[1001] != zones[1001] || len(got) != 3 {
		t.Errorf("while not all VPCs are known, %v have become %v", zones, got)
	}
	if got := z.translations(); got[1000] != addresses[1000] || got[1001] != addresses[1001] || len(got) != 3 {
		t.Errorf("while not all VPCs are known, %v have become %v", addresses, got)
	}
	if changed, err := z.give(vpcOwners(1000, 1001, 1002), vpcList(1000, 1001, 1002), true); changed || err != nil {
		t.Errorf("there was nothing to give: %t, %v", changed, err)
	}
}

func TestZonesAreNotGivenAgainBeforeTheyAreFlushed(t *testing.T) {
	z := give(t, testZones(t.TempDir()), vpcList(1000), true)
	old := z.numbers.of[vpcOwner(1000)]
	z = give(t, z, nil, true)
	if !z.numbers.gone[old] || len(z.numbers.of)+len(z.addresses.of) != 0 {
		t.Fatalf("taken: %v, to be flushed: %v", z.numbers.of, z.numbers.gone)
	}
	for vpc := range model.VNI(maxZones - 1) {
		if _, err := z.give(vpcOwners(vpc+1), vpcList(vpc+1), false); err != nil {
			t.Fatal(err)
		}
	}
	if slices.Contains(slices.Collect(maps.Values(z.numbers.of)), old) {
		t.Error("its number has another owner, and its connections have, too")
	}
	if _, err := z.give(vpcOwners(9999), vpcList(9999), false); err == nil || !strings.Contains(err.Error(), "4096 conntrack zones") || !strings.Contains(err.Error(), "vpc/9999") {
		t.Errorf("one too many: %v", err)
	}
	if z.addresses.of[9999] != 0 {
		t.Error("it has an address without a zone")
	}
	z.numbers.flushed(old)
	if _, err := z.give(vpcOwners(9999), vpcList(9999), false); err != nil || z.numbers.of[vpcOwner(9999)] != old || z.addresses.of[9999] == 0 {
		t.Errorf("once it is flushed: %d, %v", z.numbers.of[vpcOwner(9999)], err)
	}
}

// A VPC that is not translated any more and keeps its zone loses its address. Connections by that address are to be
// flushed, and another VPC may have the address, after all others.
func TestAddressesAreOfTranslation(t *testing.T) {
	z := testZones(t.TempDir())
	z.numbers.last = 100
	z = give(t, z, vpcList(1000, 1001), true)
	zones, addresses := z.vpcZones(), z.translations()
	if want := map[model.VNI]netip.Addr{1000: addr("100.64.0.16"), 1001: addr("100.64.0.17")}; !maps.Equal(addresses, want) {
		t.Fatalf("addresses %v, want %v", addresses, want)
	}
	if changed, err := z.give(vpcOwners(1000, 1001), vpcList(1001), true); !changed || err != nil {
		t.Fatalf("an address is lost: %t, %v", changed, err)
	}
	if got := z.vpcZones(); !maps.Equal(got, zones) || len(z.numbers.gone) > 0 {
		t.Errorf("the zones %v have become %v", zones, got)
	}
	if got := z.translations(); len(got) != 1 || got[1001] != addresses[1001] {
		t.Errorf("the addresses %v have become %v", addresses, got)
	}
	if got, want := z.sources[1000], []source{{Address: addr("100.64.0.16")}}; !slices.Equal(got, want) {
		t.Errorf("what is left to be flushed is %v, want %v", got, want)
	}
	z.addresses.last = maxZones
	if z = give(t, z, vpcList(1000, 1001, 1002), true); z.translations()[1000] != addr("100.64.0.16") || z.translations()[1002] != addr("100.64.0.18") {
		t.Errorf("addresses %v", z.translations())
	}
}

// An agent that begins anew gives numbers at random, and the first address goes with the first zone.
func TestZonesBeginAnywhere(t *testing.T) {
	z := testZones(t.TempDir())
	if err := z.load(); err != nil || z.numbers.last != z.addresses.last {
		t.Errorf("last zone %d, last address %d, %v", z.numbers.last, z.addresses.last, err)
	}
}

func TestTranslationsAreOfTheRange(t *testing.T) {
	z := testZones(t.TempDir())
	z.config.NATRange = netip.MustParsePrefix("10.96.0.0/19")
	if got := z.address(1); got != netip.MustParseAddr("10.96.0.16") {
		t.Errorf("the first is %s", got)
	}
	if got := z.address(maxZones); !z.config.NATRange.Contains(got) {
		t.Errorf("the last is %s", got)
	}
}

func TestZonesThatCannotBeRead(t *testing.T) {
	z := testZones(t.TempDir())
	if err := os.WriteFile(z.disk.path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := z.load(); err == nil || !strings.Contains(err.Error(), z.disk.path) {
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
		v := view.View{Host: "h1"}
		v.Apply(view.Delta{Complete: true, Segments: []view.Segment{{VNI: 100, VPC: vpc}}, Gateways: []view.Gateway{{VPC: vpc, SNAT: true}}})
		z.follow(&v, true)
		v.Apply(view.Delta{Gateways: []view.Gateway{c.gateway}, Publics: c.publics})
		z.follow(&v, true)
		_, translates := z.translations()[vpc]
		if _, has := z.vpcZone(vpc); has != c.has || translates != c.has || len(z.numbers.gone) > 0 == c.has {
			t.Errorf("%+v: has a zone: %t, to be flushed: %v", c.gateway, has, z.numbers.gone)
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
	z = give(t, z, vpcList(1000), true)
	if got := z.sources[1000]; !slices.Equal(got, []source{kernel, block}) {
		t.Errorf("there are %v", got)
	}
	if z.noteSources(map[model.VNI]source{1000: block}) {
		t.Error("one that it has been known by is taken for a new one")
	}
}
