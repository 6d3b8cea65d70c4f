package agent

import (
	"encoding/json"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/overlane/overlane/model"
)

// release is what version 0.1.0 reads and writes.
type release struct {
	Last    int                    `json:"last"`
	Number  map[model.VNI]int      `json:"number"`
	Gone    map[int]bool           `json:"gone"`
	Sources map[model.VNI][]source `json:"sources"`
	Leavers []leaver               `json:"leavers,omitempty"`
}

// releaseFile has been written by 0.1.0, in which 1048577 and 1048578 are translated.
const releaseFile = "testdata/zones-0.1.0.json"

func readRelease(t *testing.T, path string) (r release) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(data, &r)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// loadZones reads the file of another run.
func loadZones(t *testing.T, path string) *zones {
	t.Helper()
	data, err := os.ReadFile(path)
	z := testZones(t.TempDir())
	if err == nil {
		err = os.WriteFile(z.disk.path, data, 0o600)
	}
	if err == nil {
		err = z.load()
	}
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// Connections survive an upgrade from 0.1.0: zones, addresses and what VPCs are known by are as before.
func TestZonesOfTheRelease(t *testing.T) {
	z := loadZones(t, releaseFile)
	if got, want := z.vpcZones(), (map[model.VNI]uint16{1048577: firstZone + 3, 1048578: firstZone + 7}); !maps.Equal(got, want) {
		t.Errorf("zones %v, want %v", got, want)
	}
	want := map[model.VNI]netip.Addr{1048577: addr("100.64.0.18"), 1048578: addr("100.64.0.22")}
	if got := z.translations(); !maps.Equal(got, want) {
		t.Errorf("addresses %v, want %v", got, want)
	}
	if !maps.Equal(z.numbers.gone, map[int]bool{5: true}) || z.numbers.last != 7 || z.addresses.last != 7 {
		t.Errorf("to be flushed %v; last %d and %d", z.numbers.gone, z.numbers.last, z.addresses.last)
	}
	if got, want := z.sources[1048577], []source{{Address: addr("100.64.0.18")}, {addr("1.22.3.0"), 1024, 2047}}; !slices.Equal(got, want) {
		t.Errorf("known by %v, want %v", got, want)
	}
	if want := []leaver{{1048577, addr("10.0.0.2")}}; !slices.Equal(z.leavers, want) {
		t.Errorf("leavers %v, want %v", z.leavers, want)
	}
	if changed, err := z.give(vpcOwners(1048577, 1048578), vpcList(1048577, 1048578), true); changed || err != nil {
		t.Errorf("something was given or taken: %v", err)
	}
}

// What 0.1.0 has written it reads again unchanged after this version had it.
func TestTheReleaseReadsItsZonesAgain(t *testing.T) {
	z := loadZones(t, releaseFile)
	if err := z.save(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(readRelease(t, releaseFile), readRelease(t, z.disk.path), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("(-before +after):\n%s", diff)
	}
}

// 0.1.0 flushes the zones of owners that it does not know before it gives them to a VPC. It panics on maps that are
// null.
func TestTheReleaseFlushesZonesOfOtherOwners(t *testing.T) {
	z := loadZones(t, releaseFile)
	owners := append(vpcOwners(1048577, 1048578, 1048579), zoneOwner{"endpoint", "blue/web/a"})
	if _, err := z.give(owners, vpcList(1048577, 1048578), true); err != nil {
		t.Fatal(err)
	}
	if err := z.save(); err != nil {
		t.Fatal(err)
	}
	r := readRelease(t, z.disk.path)
	if !maps.Equal(r.Number, map[model.VNI]int{1048577: 3, 1048578: 7}) || !maps.Equal(r.Gone, map[int]bool{5: true, 8: true, 9: true}) || r.Last != 9 {
		t.Errorf("0.1.0 reads %+v", r)
	}
	again := loadZones(t, z.disk.path)
	if !maps.Equal(again.numbers.of, z.numbers.of) || !maps.Equal(again.numbers.gone, map[int]bool{5: true}) || !maps.Equal(again.addresses.of, z.addresses.of) {
		t.Errorf("this version reads %+v, %+v", again.numbers, again.addresses)
	}
	data, err := json.Marshal(r)
	if err == nil {
		err = os.WriteFile(z.disk.path, data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	again = loadZones(t, z.disk.path)
	if len(again.numbers.of) != 2 || len(again.numbers.gone) != 3 {
		t.Errorf("after 0.1.0: %+v", again.numbers)
	}
	empty := testZones(t.TempDir())
	if err := empty.save(); err != nil {
		t.Fatal(err)
	}
	if r := readRelease(t, empty.disk.path); r.Number == nil || r.Gone == nil || r.Sources == nil {
		t.Errorf("without any zones, 0.1.0 reads %+v", r)
	}
}

func TestZoneOwnersAsText(t *testing.T) {
	for text, want := range map[string]zoneOwner{"vpc/1048577": vpcOwner(1048577), "endpoint/blue/web/a": {"endpoint", "blue/web/a"}} {
		var got zoneOwner
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want || got.String() != text {
			t.Errorf("%q is %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "vpc", "vpc/", "/1"} {
		if new(zoneOwner).UnmarshalText([]byte(text)) == nil {
			t.Errorf("%q is an owner", text)
		}
	}
	for _, o := range []zoneOwner{{"endpoint", "1"}, {ownerVPC, "x"}, {ownerVPC, "4294967296"}} {
		if vpc, ok := o.vpc(); ok {
			t.Errorf("%s is VPC %d", o, vpc)
		}
	}
}

// All that the file has is restored: a field that is forgotten would be lost by a restart.
func TestZonesFileIsRestored(t *testing.T) {
	f := zonesFile{
		Last: 9, Number: map[model.VNI]int{1: 4}, Gone: map[int]bool{2: true, 6: true},
		Sources: map[model.VNI][]source{1: {{Address: addr("100.64.0.16")}}}, Leavers: []leaver{{1, addr("10.0.0.2")}},
		Owners: map[zoneOwner]int{{"endpoint", "blue/web/a"}: 6}, Addresses: map[model.VNI]int{1: 8}, LastAddress: 8,
	}
	for field := range reflect.TypeFor[zonesFile]().Fields() {
		if reflect.ValueOf(f).FieldByIndex(field.Index).IsZero() {
			t.Errorf("the test leaves out %s", field.Name)
		}
	}
	z := testZones(filepath.Join(t.TempDir()))
	z.restore(f)
	if got := z.file(); !reflect.DeepEqual(got, f) {
		t.Errorf("got %+v, want %+v", got, f)
	}
}
