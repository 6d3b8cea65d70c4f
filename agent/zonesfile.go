package agent

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/overlane/overlane/model"
)

// zoneOwner is what has a conntrack zone of its own on this host.
type zoneOwner struct {
	Kind string // what Key names; without a slash
	Key  string
}

const ownerVPC = "vpc" // by transit VNI

func vpcOwner(vpc model.VNI) zoneOwner {
	return zoneOwner{ownerVPC, strconv.FormatUint(uint64(vpc), 10)}
}

// vpc is the transit VNI of an owner that is a VPC.
func (o zoneOwner) vpc() (vpc model.VNI, ok bool) {
	n, err := strconv.ParseUint(o.Key, 10, 32)
	return model.VNI(n), err == nil && o.Kind == ownerVPC
}

func (o zoneOwner) String() string { return o.Kind + "/" + o.Key }

// MarshalText gives KIND/KEY, by which the file names the owner.
func (o zoneOwner) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText takes owners of any kind, those of a later version included.
func (o *zoneOwner) UnmarshalText(text []byte) error {
	kind, key, ok := strings.Cut(string(text), "/")
	if !ok || kind == "" || key == "" {
		return fmt.Errorf("owner of a conntrack zone %q is not KIND/KEY", text)
	}
	*o = zoneOwner{kind, key}
	return nil
}

// zonesFile is the content of zones.json. Version 0.1.0 writes the fields up to Leavers, and ignores all others. It
// derives a VPC's address towards the host's kernel from the number of the VPC's zone.
type zonesFile struct {
	Last   int               `json:"last"`   // number that was given
	Number map[model.VNI]int `json:"number"` // of VPCs that are translated, by transit VNI

	// Gone are the zones to be flushed. The file also lists the zones of Owners here: 0.1.0 does not know these owners,
	// and thus flushes their zones before it gives them to VPCs.
	Gone map[int]bool `json:"gone"`

	Sources map[model.VNI][]source `json:"sources"`
	Leavers []leaver               `json:"leavers,omitempty"`

	Owners      map[zoneOwner]int `json:"owners"`      // numbers of all other owners
	Addresses   map[model.VNI]int `json:"addresses"`   // numbers of addresses, by transit VNI; nil in a file of 0.1.0
	LastAddress int               `json:"lastAddress"` // number that was given
}

// load reads what another run has given. If that is lost, the zones of then are not known; beginning anywhere makes it
// unlikely that one of them is given to another owner while it has connections.
func (z *zones) load() error {
	var f zonesFile
	found, err := z.disk.read(&f)
	if err != nil {
		return err
	}
	if !found {
		f.Last = rand.IntN(maxZones)
	}
	z.restore(f)
	return nil
}

// save keeps what load needs to know. What goes wrong is tried again, and told, each second.
func (z *zones) save() error { return z.disk.write(z.file()) }

// file is what load needs to know.
func (z *zones) file() zonesFile {
	f := zonesFile{
		Last: z.numbers.last, Number: map[model.VNI]int{}, Gone: maps.Clone(z.numbers.gone), Sources: z.sources, Leavers: z.leavers,
		Owners: map[zoneOwner]int{}, Addresses: z.addresses.of, LastAddress: z.addresses.last,
	}
	for owner, n := range z.numbers.of {
		if vpc, ok := owner.vpc(); ok && z.addresses.of[vpc] != 0 {
			f.Number[vpc] = n
		} else {
			f.Owners[owner], f.Gone[n] = n, true
		}
	}
	return f
}

// restore takes what file has given, or what 0.1.0 has written.
func (z *zones) restore(f zonesFile) {
	if f.Addresses == nil {
		f.Addresses, f.LastAddress = f.Number, f.Last
	}
	z.numbers.last, z.addresses.last = f.Last, f.LastAddress
	for vpc, n := range f.Number {
		z.numbers.restore(vpcOwner(vpc), n)
		z.addresses.restore(vpc, f.Addresses[vpc])
	}
	for owner, n := range f.Owners {
		z.numbers.restore(owner, n)
	}
	for n := range f.Gone {
		z.numbers.restoreGone(n)
	}
	if f.Sources != nil {
		z.sources = f.Sources
	}
	z.leavers = f.Leavers
}
