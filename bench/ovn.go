package main

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/overlane/overlane/lab"
	"github.com/overlane/overlane/model"
)

//go:embed ovn.sh
var ovnScript string

// ovnLab is the like of ours. The hosts have an uplink for OVN's distributed addresses only: what is translated by a gateway goes by that.
const ovnLab = `
outside:
  machines: [{name: client}, {name: server}]
hosts:
- {name: host1, uplink: true}
- {name: host2, uplink: true}
- {name: gateway1, uplink: true, address: 192.168.5.11}
- {name: gateway2, uplink: true, address: 192.168.5.12}
`

// measureOVN compares our ways to the internet with OVN's, in turns. An edge has nothing that it is like in OVN, so both forms of our distributed design are compared with OVN's.
func measureOVN(ctx context.Context, w *world) error {
	l, err := upLab(ctx, "bencho", ovnLab, lab.Options{Tied: true, Bare: true})
	if err != nil {
		return err
	}
	defer func() { _ = l.Down(context.WithoutCancel(ctx)) }()
	o := ovn{lab: l, script: filepath.Join(w.dir, "ovn.sh")}
	if err := o.start(ctx); err != nil {
		return fmt.Errorf("OVN: %w", err)
	}
	central, distributed, err := o.sites(ctx)
	if err != nil {
		return fmt.Errorf("OVN: %w", err)
	}
	return w.eachSite(ctx, func(ctx context.Context, ours site) error {
		theirs := distributed
		if ours.design == model.Central {
			theirs = central
		}
		return w.beside(ctx, ours, theirs)
	})
}

// ovn is a lab that has OVN in it.
type ovn struct {
	lab    *lab.Lab
	script string
}

func (o ovn) do(ctx context.Context, h *lab.Host, args ...string) error {
	_, err := h.Exec(ctx, append([]string{"sh", o.script}, args...)...)
	return err
}

func (o ovn) start(ctx context.Context) error {
	if err := os.WriteFile(o.script, []byte(ovnScript), 0o644); err != nil {
		return err
	}
	host1, router := o.lab.Host("host1"), o.lab.Machine("router")
	if err := o.do(ctx, host1, "central"); err != nil {
		return err
	}
	for _, h := range o.lab.Hosts() {
		if err := o.do(ctx, h, "chassis", h.Address.String()+"/24", router.Address.String(), host1.Address.String()); err != nil {
			return err
		}
	}
	return o.do(ctx, host1, "network")
}

// sites are made of two endpoints each. Of an address of their own and how it is translated the script decides.
func (o ovn) sites(ctx context.Context) (central, distributed site, err error) {
	host1, host2 := o.lab.Host("host1"), o.lab.Host("host2")
	client, server := o.lab.Machine("client"), o.lab.Machine("server")
	make := func(design, netns string, one, two byte) (s site, err error) {
		for _, e := range []struct {
			host   *lab.Host
			number byte
		}{{host1, one}, {host2, two}} {
			if err := o.do(ctx, e.host, "endpoint", netns, strconv.Itoa(int(e.number))); err != nil {
				return s, err
			}
		}
		s.design = design
		s.between = &path{name: "across hosts", from: host1.Machine, to: host2.Machine, netns: netns, address: addr(10, 0, 1, two), choose: always}
		s.add(outbound, "", &path{from: host1.Machine, to: server, netns: netns, address: server.Address})
		s.add(inbound, "", &path{from: client, to: host1.Machine, netns: netns, address: addr(203, 0, 113, 100+one), own: addr(10, 0, 1, one)})
		s.add(shared, "", &path{from: host2.Machine, to: server, netns: netns, address: server.Address})
		return s, enterable(ctx, netns, client, server)
	}
	if central, err = make(model.Central, "t", 2, 3); err != nil {
		return central, distributed, err
	}
	distributed, err = make(model.Distributed, "u", 4, 5)
	return central, distributed, err
}

// beside measures each of our ways, and that of its kind by OVN right after it.
func (w *world) beside(ctx context.Context, ours, theirs site) error {
	turns := []*path{ours.between, theirs.between.again()}
	for _, p := range ours.ways {
		turns = append(turns, p, theirs.way(p.kind).again())
	}
	if err := takeTurns(ctx, turns); err != nil {
		return err
	}
	turns[0].name += ", beside " + ours.design
	for i := 0; i < len(turns); i += 2 {
		for k, what := range internetUnits {
			mine, ovn := turns[i].samples[k], turns[i+1].samples[k]
			r := median(what.name+" "+turns[i].name, what.unit, mine).inTurns("OVN", mine, ovn)
			if i > 0 {
				r = r.noting("of the way across hosts: ours %.3f, OVN %.3f", ratioInTurns(mine, turns[0].samples[k]), ratioInTurns(ovn, turns[1].samples[k]))
			}
			w.report(r)
		}
	}
	return nil
}

func (s site) way(kind string) *path {
	for _, p := range s.ways {
		if p.kind == kind {
			return p
		}
	}
	return nil
}

// again is a path that has not been measured yet.
func (p path) again() *path {
	p.samples = [4][]float64{}
	return &p
}
