package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"slices"
	"time"

	"github.com/overlane/overlane/dataplane"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/ovs"
)

// zones gives each VPC that this host translates for a number of its own, from which its conntrack zone and its address towards the host's kernel
// follow. Both must stay as they are while there are connections, over restarts too, and must hold none of their last owner's when they pass to
// another VPC: so the numbers are on disk, go round, and a zone is flushed before its number is free again.
type zones struct {
	path   string
	Last   int               `json:"last"`   // given
	Number map[model.VNI]int `json:"number"` // by transit VNI
	Gone   map[int]bool      `json:"gone"`   // to be flushed

	Sources map[model.VNI][]source `json:"sources"`           // by which connections of SNAT may be known, by transit VNI
	Leavers []leaver               `json:"leavers,omitempty"` // whose connections are to be forgotten

	retry    time.Time       // of forgetting leavers
	limited  map[uint16]bool // since the switch is connected
	limiting bool            // a call is under way
}

// source is what the endpoints of a VPC without a public address are known by: this host's port block, or the VPC's address towards the host's kernel.
type source struct {
	Address netip.Addr `json:"address"`
	First   uint16     `json:"first,omitempty"`
	Last    uint16     `json:"last,omitempty"`
}

// firstZone keeps clear of the low zones that people choose. A number is from 1 to maxZones.
const (
	firstZone = 0x4f00
	maxZones  = 4096
)

// natOffset leaves room in the range for the host's own end.
const natOffset = 15

func newZones(c Config) zones {
	return zones{path: filepath.Join(c.State, "zones.json"), Number: map[model.VNI]int{}, Gone: map[int]bool{}, Sources: map[model.VNI][]source{}, limited: map[uint16]bool{}}
}

const inZonesFile = "the numbers of conntrack zones"

// load reads what another run has given. If that is lost, the zones of then are not known; beginning anywhere makes it unlikely that one of them is
// given to another VPC while it has connections.
func (z *zones) load() error {
	found, err := readState(z.path, inZonesFile, z)
	if err == nil && !found {
		z.Last = rand.IntN(maxZones)
	}
	return err
}

func (z *zones) save() error { return writeState(z.path, inZonesFile, z) }

// give makes sure that those VPCs have a number. With take, all others lose theirs.
func (z *zones) give(vpcs map[model.VNI]bool, take bool) (changed bool, err error) {
	for vpc := range vpcs {
		if z.Number[vpc] != 0 {
			continue
		}
		n := z.free()
		if n == 0 {
			return changed, fmt.Errorf("this host translates for %d VPCs already, which is the most", maxZones)
		}
		z.Number[vpc], z.Last, changed = n, n, true
	}
	for vpc, n := range maps.Clone(z.Number) {
		if take && !vpcs[vpc] {
			delete(z.Number, vpc)
			z.Gone[n], changed = true, true
		}
	}
	return changed, nil
}

// free is the next number that nobody has; 0 if there is none.
func (z *zones) free() int {
	taken := maps.Clone(z.Gone)
	for _, n := range z.Number {
		taken[n] = true
	}
	for i := range maxZones {
		if n := (z.Last+i)%maxZones + 1; !taken[n] {
			return n
		}
	}
	return 0
}

func zoneOf(number int) uint16 { return uint16(firstZone + number) }

// translations are what the flows need to know of the numbers.
func (z *zones) translations(from netip.Prefix) map[model.VNI]dataplane.Translation {
	all := make(map[model.VNI]dataplane.Translation, len(z.Number))
	for vpc, n := range z.Number {
		all[vpc] = dataplane.Translation{Zone: zoneOf(n), Address: model.Nth(from, natOffset+n)}
	}
	return all
}

// translated are the VPCs that something of this host is translated for.
func (a *Agent) translated() map[model.VNI]bool {
	vpcs := map[model.VNI]bool{}
	for _, s := range a.view.Segments {
		if a.view.Gateways[s.VPC].SNAT {
			vpcs[s.VPC] = true
		}
	}
	for _, p := range a.view.Publics {
		if p.Host == a.config.Host {
			vpcs[p.VPC] = true
		}
	}
	for _, f := range a.view.Forwards {
		if f.Host == a.config.Host {
			vpcs[f.VPC] = true
		}
	}
	return vpcs
}

// rezone follows the gateways of the view. Flows of a VPC that is gone are out of the switch before its zone is flushed.
func (a *Agent) rezone() {
	want := a.translated()
	changed, err := a.zones.give(want, a.complete)
	if changed {
		err = errors.Join(err, a.zones.save())
	}
	a.note(inZones, err)
	next := a.wiring
	next.Translations = a.zones.translations(a.config.NATRange)
	a.rewire(next)
	if a.zones.noteSources(a.sources()) {
		a.note(inDisk, a.zones.save())
	}
}

// limitZones keeps one VPC from filling what the datapath remembers for all. It works beside the loop.
func (a *Agent) limitZones(ctx context.Context) {
	z := &a.zones
	if a.sw == nil || z.limiting {
		return
	}
	var fresh []uint16
	for _, n := range z.Number {
		if zone := zoneOf(n); !z.limited[zone] {
			fresh = append(fresh, zone)
		}
	}
	if len(fresh) == 0 {
		return
	}
	z.limiting = true
	datapath, ctl := a.layout.Datapath, ovs.Appctl{RunDir: a.config.OVS}
	go func() {
		err := ctl.LimitZones(ctx, datapath, fresh, a.config.Connections)
		a.do(ctx, func() {
			z.limiting = false
			a.note(inLimits, err)
			if err != nil {
				return
			}
			for _, zone := range fresh {
				z.limited[zone] = true
			}
		})
	}()
}

// flushZones frees the numbers of VPCs that are gone, once the switch has no flows of theirs.
func (a *Agent) flushZones(ctx context.Context) {
	if len(a.zones.Gone) == 0 || !a.upToDate() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	for n := range maps.Clone(a.zones.Gone) {
		if err := a.sw.FlushZone(ctx, zoneOf(n)); err != nil {
			a.log.Warn("flush a conntrack zone", "zone", zoneOf(n), "err", err)
			return
		}
		delete(a.zones.Gone, n)
	}
	a.note(inDisk, a.zones.save())
}

// noteSources remembers what VPCs are known by from now on.
func (z *zones) noteSources(now map[model.VNI]source) (changed bool) {
	for vpc, s := range now {
		if !slices.Contains(z.Sources[vpc], s) {
			z.Sources[vpc] = append(z.Sources[vpc], s)
			changed = true
		}
	}
	return changed
}

// flushSources has connections begin anew that are known by what a VPC is not known by any more: conntrack would keep them there, and passages drop them.
func (a *Agent) flushSources(ctx context.Context) {
	if !a.complete || !a.upToDate() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	now, changed := a.sources(), false
	for vpc, all := range a.zones.Sources {
		var left []source
		for _, s := range all {
			if s == now[vpc] {
				left = append(left, s)
			} else if n := a.zones.Number[vpc]; n != 0 {
				err := a.sw.FlushTranslated(ctx, zoneOf(n), s.Address)
				if errors.Is(err, ovs.ErrNoFlush) { // passages would drop them for good
					err = a.sw.FlushZone(ctx, zoneOf(n))
				}
				if err != nil {
					a.log.Warn("flush connections by SNAT", "vpc", a.view.Gateways[vpc].Name, "err", err)
					return
				}
			}
		}
		if len(left) == len(all) {
			continue
		}
		if changed = true; len(left) > 0 {
			a.zones.Sources[vpc] = left
		} else {
			delete(a.zones.Sources, vpc)
		}
	}
	if changed {
		a.note(inDisk, a.zones.save())
	}
}

// leaver is an address that an endpoint of this host had.
type leaver struct {
	VPC     model.VNI  `json:"vpc"` // transit VNI
	Address netip.Addr `json:"address"`
}

// leave notes addresses that endpoints have left, if their VPCs are translated: answers to their connections would reach whoever
// gets such an address next.
func (z *zones) leave(left []leaver) (noted bool) {
	for _, l := range left {
		if z.Number[l.VPC] != 0 && !slices.Contains(z.Leavers, l) {
			z.Leavers = append(z.Leavers, l)
			noted = true
		}
	}
	return noted
}

// forgetLeavers has conntrack forget the connections of endpoints that are gone, as soon as the switch has no flows of theirs.
func (a *Agent) forgetLeavers(ctx context.Context) {
	if len(a.zones.Leavers) == 0 || time.Now().Before(a.zones.retry) || !a.complete || !a.upToDate() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	for done := 0; len(a.zones.Leavers) > 0 && done < leaversAtOnce; done++ {
		l := a.zones.Leavers[0]
		if n := a.zones.Number[l.VPC]; n != 0 {
			err := a.sw.FlushEndpoint(ctx, zoneOf(n), l.Address)
			if errors.Is(err, ovs.ErrNoFlush) {
				a.log.Warn("connections of an endpoint that is gone are left to time out; whoever gets its address meanwhile hears their answers", "address", l.Address, "err", err)
			} else if err != nil {
				a.log.Warn("flush connections of an endpoint that is gone; will try again", "err", err)
				a.zones.retry = time.Now().Add(retryAfter)
				return
			}
		}
		a.zones.Leavers = a.zones.Leavers[1:]
	}
	a.note(inDisk, a.zones.save())
	if len(a.zones.Leavers) > 0 {
		a.offer(func() {}) // the loop goes on at once
	}
}

// leaversAtOnce is how many the loop may take care of before it looks what else there is: Open vSwitch looks at all connections for each.
const leaversAtOnce = 16

// sources are what VPCs are known by now.
func (a *Agent) sources() map[model.VNI]source {
	all := map[model.VNI]source{}
	for vpc, t := range a.wiring.Translations {
		if g := a.view.Gateways[vpc]; g.SNAT && g.Design == model.Distributed {
			all[vpc] = source{Address: t.Address}
		}
	}
	for _, b := range a.view.Blocks {
		if b.Host == a.view.Host && a.view.Gateways[b.VPC].SNAT {
			all[b.VPC] = source{b.Address, b.First, b.Last}
		}
	}
	return all
}
