package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/overlane/overlane/lab"
	"github.com/overlane/overlane/model"
)

//go:embed ovn.sh
var ovnScript string

// ovnLab is the counterpart of Overlane's lab. The hosts have an uplink for OVN's distributed addresses only: gateways
// have their own.
const ovnLab = `
outside:
  machines: [{name: client}, {name: server}]
hosts:
- {name: host1, uplink: true}
- {name: host2, uplink: true}
- {name: gateway1, uplink: true, address: 192.168.5.11}
- {name: gateway2, uplink: true, address: 192.168.5.12}
`

// measureOVN compares Overlane's paths to the internet with OVN's, in turns. OVN has no counterpart of an edge, so both
// forms of the distributed design are compared with OVN's distributed addresses.
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
	central, err1 := o.site(ctx, model.Central, "t", 2, 3)
	distributed, err2 := o.site(ctx, model.Distributed, "u", 4, 5)
	if err := errors.Join(err1, err2); err != nil {
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

// site has two endpoints. The script chooses their translation by their numbers.
func (o ovn) site(ctx context.Context, design, netns string, one, two byte) (site, error) {
	host1, host2 := o.lab.Host("host1"), o.lab.Host("host2")
	client, server := o.lab.Machine("client"), o.lab.Machine("server")
	s := site{lab: o.lab, design: design}
	s.between = &path{name: "across hosts", from: host1.Machine, to: host2.Machine, netns: netns, address: addr(10, 0, 1, two), choose: always}
	s.add(outbound, "", &path{from: host1.Machine, to: server, netns: netns, address: server.Address})
	s.add(inbound, "", &path{from: client, to: host1.Machine, netns: netns, address: addr(203, 0, 113, 100+one), own: addr(10, 0, 1, one)})
	if design == model.Central {
		s.add(shared, "", &path{from: host2.Machine, to: server, netns: netns, address: server.Address})
	}
	return s, errors.Join(
		o.do(ctx, host1, "endpoint", netns, strconv.Itoa(int(one))),
		o.do(ctx, host2, "endpoint", netns, strconv.Itoa(int(two))),
		nameNamespaces(ctx, netns, client, server))
}

// beside measures Overlane's and OVN's paths, a round each in turn. Overlane's processes are stopped while OVN's paths
// are measured: BFD between its border hosts every 32 ms takes a fifth of a core.
func (w *world) beside(ctx context.Context, ours, theirs site) error {
	if err := errors.Join(ours.open(ctx), theirs.open(ctx)); err != nil {
		return err
	}
	for range internetRounds {
		if err := ours.measure(ctx); err != nil {
			return err
		}
		if err := ours.signal(ctx, syscall.SIGSTOP); err != nil {
			return err
		}
		if err := theirs.measure(ctx); err != nil {
			return fmt.Errorf("OVN: %w", err)
		}
		if err := ours.signal(ctx, syscall.SIGCONT); err != nil {
			return err
		}
		time.Sleep(reopenTime)
	}
	w.reportBeside(ours, theirs)
	return nil
}

// reopenTime is longer than border hosts take to find each other dead, then alive, and to hold down.
const reopenTime = 8 * time.Second

// signal is sent to all daemons of the hosts.
func (s site) signal(ctx context.Context, to syscall.Signal) error {
	for _, h := range s.lab.Hosts() {
		for _, d := range h.Daemons() {
			if err := d.Kill(ctx, to); err != nil {
				return fmt.Errorf("host %s: %w", h.Name, err)
			}
		}
	}
	return nil
}

func (w *world) reportBeside(ours, theirs site) {
	for k, what := range internetUnits {
		r := median(what.name+" across hosts, beside "+ours.design, what.unit, ours.between.samples[k])
		w.report(r.inTurns("OVN", ours.between.samples[k], theirs.between.samples[k]))
	}
	for _, p := range ours.outside {
		like := theirs.path(p.kind)
		for k, what := range internetUnits {
			w.report(median(what.name+" "+p.name, what.unit, p.samples[k]).inTurns("OVN", p.samples[k], like.samples[k]).noting("of the way across hosts: ours %.3f, OVN %.3f",
				ratioInTurns(p.samples[k], ours.between.samples[k]), ratioInTurns(like.samples[k], theirs.between.samples[k])))
		}
	}
}

func (s site) path(kind string) *path {
	i := slices.IndexFunc(s.outside, func(p *path) bool { return p.kind == kind })
	return s.outside[i]
}
