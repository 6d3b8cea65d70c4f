package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"time"

	"github.com/overlane/overlane/agent/local"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/ovs"
	"github.com/overlane/overlane/view"
)

// zones gives whatever needs a conntrack zone one of its own, and each VPC that this host translates for an address
// towards the host's kernel. Both must stay as they are while there are connections, over restarts too: so the numbers
// that they follow from are on disk. A zone must hold no connections of its last owner when it passes to another: so
// it is flushed before its number is free again.
type zones struct {
	disk      stateFile
	numbers   *numbers[zoneOwner] // of zones
	addresses *numbers[model.VNI] // of addresses; of the VPCs that are translated, by transit VNI. Each has a zone.

	sources map[model.VNI][]source // by which connections of SNAT may be known, by transit VNI
	leavers []leaver               // whose connections are to be forgotten

	config     local.Config
	log        *slog.Logger
	queue      *queue
	conditions *conditions

	retry      time.Time       // of forgetting leavers
	limited    map[uint16]bool // since the switch is connected
	limiting   bool            // a call is under way
	connection int             // to the switch, counted
}

// source is what the endpoints of a VPC without a public address are known by: this host's port block, or the VPC's
// address towards the host's kernel.
type source struct {
	Address netip.Addr `json:"address"`
	First   uint16     `json:"first,omitempty"`
	Last    uint16     `json:"last,omitempty"`
}

// firstZone keeps clear of the low zones that people choose. A number, of a zone or of an address, is from 1 to
// maxZones.
const (
	firstZone = 0x4f00
	maxZones  = 4096
)

// natOffset leaves room in the range for the host's own end.
const natOffset = 15

func newZones(c local.Config, log *slog.Logger, q *queue, problems *conditions) *zones {
	return &zones{disk: stateFile{path: filepath.Join(c.State, "zones.json"), what: "the numbers of conntrack zones"}, config: c, log: log, queue: q, conditions: problems,
		numbers: newNumbers[zoneOwner](maxZones), addresses: newNumbers[model.VNI](maxZones),
		sources: map[model.VNI][]source{}, limited: map[uint16]bool{}}
}

// give makes sure that the owners have a zone each, and translated VPCs, which are among the owners, an address. With
// take, all others lose theirs.
func (z *zones) give(owners []zoneOwner, translated []model.VNI, take bool) (changed bool, err error) {
	for _, owner := range owners {
		added, ok := z.numbers.give(owner)
		if changed = changed || added; !ok {
			err = fmt.Errorf("all %d conntrack zones of this host are in use; %s has none", maxZones, owner)
		}
	}
	if take {
		changed = len(z.numbers.keep(owners)) > 0 || changed
	}
	return z.giveAddresses(translated, take) || changed, err
}

// giveAddresses makes sure that translated VPCs have an address, if they have a zone. An address is free at once when
// its VPC loses it: the zone of the next VPC knows none of the connections by it. If the last VPC keeps its zone, that
// is to be rid of them.
func (z *zones) giveAddresses(translated []model.VNI, take bool) (changed bool) {
	for _, vpc := range translated {
		if z.numbers.of[vpcOwner(vpc)] != 0 {
			added, _ := z.addresses.give(vpc)
			changed = changed || added
		}
	}
	if !take {
		return changed
	}
	for vpc, n := range z.addresses.keep(translated) {
		z.addresses.flushed(n)
		if changed = true; z.numbers.of[vpcOwner(vpc)] != 0 {
			z.noteSources(map[model.VNI]source{vpc: {Address: z.address(n)}})
		}
	}
	return changed
}

func zoneOf(number int) uint16 { return uint16(firstZone + number) }

func (z *zones) address(number int) netip.Addr { return model.Nth(z.config.NATRange, natOffset+number) }

// vpcZone is the zone of a VPC; ok is false if it has none.
func (z *zones) vpcZone(vpc model.VNI) (zone uint16, ok bool) {
	n, ok := z.numbers.of[vpcOwner(vpc)]
	return zoneOf(n), ok
}

// vpcZones are the zones of VPCs, by transit VNI.
func (z *zones) vpcZones() map[model.VNI]uint16 {
	all := make(map[model.VNI]uint16, len(z.numbers.of))
	for owner, n := range z.numbers.of {
		if vpc, ok := owner.vpc(); ok {
			all[vpc] = zoneOf(n)
		}
	}
	return all
}

// translations are the addresses towards the host's kernel, by transit VNI of the VPC.
func (z *zones) translations() map[model.VNI]netip.Addr {
	all := make(map[model.VNI]netip.Addr, len(z.addresses.of))
	for vpc, n := range z.addresses.of {
		all[vpc] = z.address(n)
	}
	return all
}

// translated are the VPCs that something of the view's host is translated for.
func translated(v *view.View) map[model.VNI]bool {
	vpcs := map[model.VNI]bool{}
	for _, s := range v.Segments {
		if v.Gateways[s.VPC].SNAT {
			vpcs[s.VPC] = true
		}
	}
	for _, p := range v.Publics {
		if p.Host == v.Host {
			vpcs[p.VPC] = true
		}
	}
	for _, f := range v.Forwards {
		if f.Host == v.Host {
			vpcs[f.VPC] = true
		}
	}
	return vpcs
}

// follow gives each VPC that is translated a zone and an address, and remembers what VPCs are known by. Only a complete
// view tells which VPCs are not translated any more.
func (z *zones) follow(v *view.View, complete bool) {
	vpcs := slices.Sorted(maps.Keys(translated(v)))
	owners := make([]zoneOwner, len(vpcs)) // nothing else needs a zone yet
	for i, vpc := range vpcs {
		owners[i] = vpcOwner(vpc)
	}
	changed, err := z.give(owners, vpcs, complete)
	z.conditions.set(condZones, err)
	if z.noteSources(sources(v, z.translations())) || changed {
		_ = z.save()
	}
}

// limit keeps one VPC from filling what the datapath remembers for all. It works beside the loop.
func (z *zones) limit(ctx context.Context, datapath string) {
	if z.limiting {
		return
	}
	var fresh []uint16
	for _, zone := range z.vpcZones() {
		if !z.limited[zone] {
			fresh = append(fresh, zone)
		}
	}
	if len(fresh) == 0 {
		z.conditions.set(condLimits, nil)
		return
	}
	z.limiting = true
	connection := z.connection
	ctl := ovs.Appctl{RunDir: z.config.OVS}
	go func() {
		err := ctl.LimitZones(ctx, datapath, fresh, z.config.Connections)
		z.queue.do(ctx, func() {
			z.limiting = false
			if z.connection != connection { // another process has the switch by now, and was told nothing
				return
			}
			z.conditions.set(condLimits, err)
			if err != nil {
				return
			}
			for _, zone := range fresh {
				z.limited[zone] = true
			}
		})
	}()
}

// disconnected forgets what the switch was told.
func (z *zones) disconnected() {
	z.connection++
	clear(z.limited)
}

// flushGone frees the zones that have no owner any more. The switch must have no flows that name them.
func (z *zones) flushGone(ctx context.Context, sw *ovs.Switch) {
	if len(z.numbers.gone) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	for n := range maps.Clone(z.numbers.gone) {
		if err := sw.FlushZone(ctx, zoneOf(n)); err != nil {
			z.log.Warn("flush a conntrack zone", "zone", zoneOf(n), "err", err)
			return
		}
		z.numbers.flushed(n)
	}
	_ = z.save()
}

// noteSources remembers what VPCs are known by from now on.
func (z *zones) noteSources(now map[model.VNI]source) (changed bool) {
	for vpc, s := range now {
		if !slices.Contains(z.sources[vpc], s) {
			z.sources[vpc] = append(z.sources[vpc], s)
			changed = true
		}
	}
	return changed
}

// flushSources has connections begin anew that are known by what a VPC is not known by any more: conntrack would keep
// them there, and border hosts drop them. The view must be complete, and the switch must have its flows.
func (z *zones) flushSources(ctx context.Context, sw *ovs.Switch, v *view.View) {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	now, changed := sources(v, z.translations()), false
	for vpc, all := range z.sources {
		left := slices.DeleteFunc(slices.Clone(all), func(s source) bool { return s != now[vpc] })
		if len(left) == len(all) {
			continue
		}
		for _, s := range all {
			if zone, ok := z.vpcZone(vpc); ok && s != now[vpc] {
				if err := flushSource(ctx, sw, zone, s); err != nil {
					z.log.Warn("flush connections by SNAT", "vpc", v.Gateways[vpc].Name, "err", err)
					return
				}
			}
		}
		if changed = true; len(left) > 0 {
			z.sources[vpc] = left
		} else {
			delete(z.sources, vpc)
		}
	}
	if changed {
		_ = z.save()
	}
}

// flushSource takes the whole zone where Open vSwitch cannot tell connections apart: border hosts would drop them for
// good.
func flushSource(ctx context.Context, sw *ovs.Switch, zone uint16, s source) error {
	err := sw.FlushTranslated(ctx, zone, s.Address)
	if errors.Is(err, ovs.ErrNoFlush) {
		err = sw.FlushZone(ctx, zone)
	}
	return err
}

// leaver is an address that an endpoint of this host had.
type leaver struct {
	VPC     model.VNI  `json:"vpc"` // transit VNI
	Address netip.Addr `json:"address"`
}

// leave notes addresses that endpoints have left, if their VPCs have a zone: answers to their connections would
// reach whoever gets such an address next.
func (z *zones) leave(left []leaver) {
	noted := false
	for _, l := range left {
		if _, ok := z.vpcZone(l.VPC); ok && !slices.Contains(z.leavers, l) {
			z.leavers = append(z.leavers, l)
			noted = true
		}
	}
	if noted {
		_ = z.save()
	}
}

// forgetLeavers has conntrack forget the connections of endpoints that are gone, and tells whether some are left for
// the next time. The view must be complete, and the switch must have no flows of those endpoints.
func (z *zones) forgetLeavers(ctx context.Context, sw *ovs.Switch, now time.Time) (more bool) {
	if len(z.leavers) == 0 || now.Before(z.retry) {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	for done := 0; len(z.leavers) > 0 && done < leaversAtOnce; done++ {
		l := z.leavers[0]
		if zone, ok := z.vpcZone(l.VPC); ok {
			err := sw.FlushEndpoint(ctx, zone, l.Address)
			if errors.Is(err, ovs.ErrNoFlush) {
				z.log.Warn("connections of an endpoint that is gone are left to time out; whoever gets its address meanwhile hears their answers", "address", l.Address, "err", err)
			} else if err != nil {
				z.log.Warn("flush connections of an endpoint that is gone; will try again", "err", err)
				z.retry = now.Add(retryAfter)
				return false
			}
		}
		z.leavers = z.leavers[1:]
	}
	_ = z.save()
	return len(z.leavers) > 0
}

// leaversAtOnce is how many the loop may take care of before it looks what else there is: Open vSwitch looks at all
// connections for each.
const leaversAtOnce = 16

// sources are what VPCs are known by now.
func sources(v *view.View, translations map[model.VNI]netip.Addr) map[model.VNI]source {
	all := map[model.VNI]source{}
	for vpc, address := range translations {
		if g := v.Gateways[vpc]; g.SNAT && g.Design == model.Distributed {
			all[vpc] = source{Address: address}
		}
	}
	for _, b := range v.Blocks {
		if b.Host == v.Host && v.Gateways[b.VPC].SNAT {
			all[b.VPC] = source{b.Address, b.First, b.Last}
		}
	}
	return all
}
