package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"slices"
	"time"

	"github.com/overlane/overlane/agent/local"
	"github.com/overlane/overlane/dataplane"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/ovs"
	"github.com/overlane/overlane/view"
)

// zones gives each VPC that this host translates for a number of its own, from which its conntrack zone and its address
// towards the host's kernel follow. Both must stay as they are while there are connections, over restarts too, and must
// hold none of their last owner's when they pass to another VPC: so the numbers are on disk, go round, and a zone is
// flushed before its number is free again.
type zones struct {
	path   string
	Last   int               `json:"last"`   // given
	Number map[model.VNI]int `json:"number"` // by transit VNI
	Gone   map[int]bool      `json:"gone"`   // to be flushed

	Sources map[model.VNI][]source `json:"sources"`           // by which connections of SNAT may be known, by transit VNI
	Leavers []leaver               `json:"leavers,omitempty"` // whose connections are to be forgotten

	config     local.Config
	log        *slog.Logger
	queue      *queue
	conditions *conditions

	retry    time.Time       // of forgetting leavers
	limited  map[uint16]bool // since the switch is connected
	limiting bool            // a call is under way
}

// source is what the endpoints of a VPC without a public address are known by: this host's port block, or the VPC's
// address towards the host's kernel.
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

func newZones(c local.Config, log *slog.Logger, q *queue, problems *conditions) *zones {
	return &zones{path: filepath.Join(c.State, "zones.json"), config: c, log: log, queue: q, conditions: problems,
		Number: map[model.VNI]int{}, Gone: map[int]bool{}, Sources: map[model.VNI][]source{}, limited: map[uint16]bool{}}
}

const zonesContent = "the numbers of conntrack zones"

// load reads what another run has given. If that is lost, the zones of then are not known; beginning anywhere makes it
// unlikely that one of them is given to another VPC while it has connections.
func (z *zones) load() error {
	found, err := readState(z.path, zonesContent, z)
	if err == nil && !found {
		z.Last = rand.IntN(maxZones)
	}
	return err
}

func (z *zones) save() error { return writeState(z.path, zonesContent, z) }

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
func (z *zones) translations() map[model.VNI]dataplane.Translation {
	all := make(map[model.VNI]dataplane.Translation, len(z.Number))
	for vpc, n := range z.Number {
		all[vpc] = dataplane.Translation{Zone: zoneOf(n), Address: model.Nth(z.config.NATRange, natOffset+n)}
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

// follow gives each VPC that is translated a number, and remembers what VPCs are known by. Only a complete view tells
// which VPCs are not translated any more.
func (z *zones) follow(v *view.View, complete bool) {
	changed, err := z.give(translated(v), complete)
	if changed {
		err = errors.Join(err, z.save())
	}
	z.conditions.set(condZones, err)
	if z.noteSources(sources(v, z.translations())) {
		z.conditions.set(condDisk, z.save())
	}
}

// limit keeps one VPC from filling what the datapath remembers for all. It works beside the loop.
func (z *zones) limit(ctx context.Context, datapath string) {
	if z.limiting {
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
	ctl := ovs.Appctl{RunDir: z.config.OVS}
	go func() {
		err := ctl.LimitZones(ctx, datapath, fresh, z.config.Connections)
		z.queue.do(ctx, func() {
			z.limiting = false
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
func (z *zones) disconnected() { clear(z.limited) }

// flushGone frees the numbers of VPCs that are not translated any more. The switch must have no flows of theirs.
func (z *zones) flushGone(ctx context.Context, sw *ovs.Switch) {
	if len(z.Gone) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	for n := range maps.Clone(z.Gone) {
		if err := sw.FlushZone(ctx, zoneOf(n)); err != nil {
			z.log.Warn("flush a conntrack zone", "zone", zoneOf(n), "err", err)
			return
		}
		delete(z.Gone, n)
	}
	z.conditions.set(condDisk, z.save())
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

// flushSources has connections begin anew that are known by what a VPC is not known by any more: conntrack would keep
// them there, and border hosts drop them. The view must be complete, and the switch must have its flows.
func (z *zones) flushSources(ctx context.Context, sw *ovs.Switch, v *view.View) {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	now, changed := sources(v, z.translations()), false
	for vpc, all := range z.Sources {
		left := slices.DeleteFunc(slices.Clone(all), func(s source) bool { return s != now[vpc] })
		if len(left) == len(all) {
			continue
		}
		for _, s := range all {
			if n := z.Number[vpc]; n != 0 && s != now[vpc] {
				if err := flushSource(ctx, sw, zoneOf(n), s); err != nil {
					z.log.Warn("flush connections by SNAT", "vpc", v.Gateways[vpc].Name, "err", err)
					return
				}
			}
		}
		if changed = true; len(left) > 0 {
			z.Sources[vpc] = left
		} else {
			delete(z.Sources, vpc)
		}
	}
	if changed {
		z.conditions.set(condDisk, z.save())
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

// leave notes addresses that endpoints have left, if their VPCs are translated: answers to their connections would
// reach whoever gets such an address next.
func (z *zones) leave(left []leaver) {
	noted := false
	for _, l := range left {
		if z.Number[l.VPC] != 0 && !slices.Contains(z.Leavers, l) {
			z.Leavers = append(z.Leavers, l)
			noted = true
		}
	}
	if noted {
		z.conditions.set(condDisk, z.save())
	}
}

// forgetLeavers has conntrack forget the connections of endpoints that are gone, and tells whether some are left for
// the next time. The view must be complete, and the switch must have no flows of those endpoints.
func (z *zones) forgetLeavers(ctx context.Context, sw *ovs.Switch, now time.Time) (more bool) {
	if len(z.Leavers) == 0 || now.Before(z.retry) {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	for done := 0; len(z.Leavers) > 0 && done < leaversAtOnce; done++ {
		l := z.Leavers[0]
		if n := z.Number[l.VPC]; n != 0 {
			err := sw.FlushEndpoint(ctx, zoneOf(n), l.Address)
			if errors.Is(err, ovs.ErrNoFlush) {
				z.log.Warn("connections of an endpoint that is gone are left to time out; whoever gets its address meanwhile hears their answers", "address", l.Address, "err", err)
			} else if err != nil {
				z.log.Warn("flush connections of an endpoint that is gone; will try again", "err", err)
				z.retry = now.Add(retryAfter)
				return false
			}
		}
		z.Leavers = z.Leavers[1:]
	}
	z.conditions.set(condDisk, z.save())
	return len(z.Leavers) > 0
}

// leaversAtOnce is how many the loop may take care of before it looks what else there is: Open vSwitch looks at all
// connections for each.
const leaversAtOnce = 16

// sources are what VPCs are known by now.
func sources(v *view.View, translations map[model.VNI]dataplane.Translation) map[model.VNI]source {
	all := map[model.VNI]source{}
	for vpc, t := range translations {
		if g := v.Gateways[vpc]; g.SNAT && g.Design == model.Distributed {
			all[vpc] = source{Address: t.Address}
		}
	}
	for _, b := range v.Blocks {
		if b.Host == v.Host && v.Gateways[b.VPC].SNAT {
			all[b.VPC] = source{b.Address, b.First, b.Last}
		}
	}
	return all
}
