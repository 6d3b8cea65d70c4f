package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"

	"github.com/overlane/overlane/client"
	"github.com/overlane/overlane/examples"
	"github.com/overlane/overlane/lab"
	"github.com/overlane/overlane/lab/drill"
	"github.com/overlane/overlane/model"
)

const internetRounds = 5

// measureInternet compares the paths between an endpoint and the internet, in all designs, with the path to another
// host, in turns and from the same endpoint.
func measureInternet(ctx context.Context, w *world) error { return w.eachSite(ctx, w.compare) }

// site is a lab that is connected to the internet in one design.
type site struct {
	lab     *lab.Lab
	design  string
	between *path // across hosts
	outside []*path
}

// The kinds of paths.
const (
	outbound = "outbound, 1:1"
	inbound  = "inbound, 1:1"
	shared   = "outbound, SNAT"
)

func (s *site) add(kind, more string, p *path) {
	p.kind, p.name, p.choose = kind, kind+", "+s.design+more, always
	s.outside = append(s.outside, p)
}

// internetUnits are the units of the figures for each path.
var internetUnits = []struct{ name, unit string }{{"throughput", "Mb/s"}, {"TCP round trips", "/s"}, {"UDP round trips", "/s"}, {"pings", "/s"}}

func always(context.Context) error { return nil }

// eachSite measures Overlane's sites, one lab after the other.
func (w *world) eachSite(ctx context.Context, measure func(context.Context, site) error) error {
	ups := []up{w.upInternet, w.upEdges}
	if w.border != "" {
		ups = ups[:1]
	}
	for _, up := range ups {
		if err := w.eachSiteOf(ctx, up, measure); err != nil {
			return err
		}
	}
	return nil
}

// up brings up a lab.
type up func(context.Context) (*lab.Lab, []setting, error)

// setting is the part of a lab that makes a site.
type setting struct {
	design, vpc, pool, netns string
}

const hostsAreEdges = model.Distributed + ", hosts are edges"

func (w *world) eachSiteOf(ctx context.Context, up up, measure func(context.Context, site) error) error {
	l, settings, err := up(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = l.Down(context.WithoutCancel(ctx)) }()
	server, err := serverOf(l)
	if err != nil {
		return err
	}
	defer server.Close()
	for _, s := range settings {
		made, err := internet{setting: s, lab: l, server: server}.site(ctx)
		if err == nil {
			err = measure(ctx, made)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", s.design, err)
		}
	}
	return nil
}

func serverOf(l *lab.Lab) (*client.Client, error) {
	return client.New(client.Config{Address: "unix://" + l.Host("host1").Root() + lab.ServerSocket})
}

// upInternet brings up the drills' lab without its endpoints, or a lab with one border host only.
func (w *world) upInternet(ctx context.Context) (*lab.Lab, []setting, error) {
	dir, err := os.MkdirTemp("", "overlane-bench")
	if err != nil {
		return nil, nil, err
	}
	defer os.RemoveAll(dir)
	f, err := drill.File(examples.Files, dir)
	if err == nil && w.border != "" {
		f, err = oneBorderHost(dir, w.border)
	}
	if err != nil {
		return nil, nil, err
	}
	if err := endAbandoned(ctx, "benchi"); err != nil {
		return nil, nil, err
	}
	f.Name, f.Endpoints = fmt.Sprintf("benchi-%d", os.Getpid()), nil
	l, err := lab.Up(ctx, f, lab.Options{Tied: true, Binary: w.overlane})
	return l, []setting{
		{model.Central, "blue", "central", "t"},
		{model.Distributed, "green", "distributed", "u"},
	}, err
}

// edgesLab is a lab whose hosts are edges as well. The router has a route by one of the two, so the path of an incoming
// packet is known.
const edgesLab = `
outside:
  machines: [{name: client}, {name: server}]
  routes: [{to: 1.22.4.0/24, via: [203.0.113.21]}]
hosts: [{name: host1, uplink: true}, {name: host2, uplink: true}]
server: host1
`

func (w *world) upEdges(ctx context.Context) (*lab.Lab, []setting, error) {
	l, err := upLab(ctx, "benche", edgesLab, lab.Options{Tied: true, Binary: w.overlane})
	if err != nil {
		return nil, nil, err
	}
	if err := applyEdges(ctx, l); err != nil {
		_ = l.Down(context.WithoutCancel(ctx))
		return nil, nil, err
	}
	return l, []setting{{hostsAreEdges, "green", "distributed", "t"}}, nil
}

func applyEdges(ctx context.Context, l *lab.Lab) error {
	server, err := serverOf(l)
	if err != nil {
		return err
	}
	defer server.Close()
	objects := []model.Object{
		{Kind: "PublicPool", Name: "distributed", Spec: &model.PublicPoolSpec{CIDRs: []netip.Prefix{netip.MustParsePrefix("1.22.4.0/24")}}},
		{Kind: "VPC", Name: "green", Spec: &model.VPCSpec{}},
		{Kind: "Subnet", Name: "green/web", Spec: &model.SubnetSpec{CIDR: netip.MustParsePrefix("10.0.1.0/24")}},
		{Kind: "InternetGateway", Name: "green", Spec: &model.InternetGatewaySpec{Design: model.Distributed}},
	}
	for i, h := range l.Hosts() {
		nextHop := netip.PrefixFrom(addr(203, 0, 113, byte(21+i)), 24)
		objects = append(objects, model.Object{Kind: "Host", Name: h.Name, Spec: &model.HostSpec{Address: h.Address, Roles: []string{model.RoleCompute, model.RoleEdge},
			Outside: &model.HostOutside{Interface: "eth1", Address: nextHop, Router: addr(203, 0, 113, 1)}}})
	}
	return apply(ctx, server, objects)
}

type internet struct {
	setting
	lab    *lab.Lab
	server *client.Client
}

// site gives an endpoint on host1 a public address. The one on host2 has none, and in the central design a block of
// ports.
func (i internet) site(ctx context.Context) (s site, err error) {
	host1, host2 := i.lab.Host("host1"), i.lab.Host("host2")
	client, server := i.lab.Machine("client"), i.lab.Machine("server")
	s.lab, s.design = i.lab, i.design
	own, err := i.endpoint(ctx, host1)
	if err != nil {
		return s, err
	}
	other, err := i.endpoint(ctx, host2)
	if err != nil {
		return s, err
	}
	public, err := i.publish(ctx, host1)
	if err != nil {
		return s, err
	}
	if err := nameNamespaces(ctx, i.netns, client, server); err != nil {
		return s, err
	}
	s.between = &path{name: "across hosts", from: host1.Machine, to: host2.Machine, netns: i.netns, address: other, choose: always}
	s.add(outbound, "", &path{from: host1.Machine, to: server, netns: i.netns, address: server.Address})
	s.add(inbound, "", &path{from: client, to: host1.Machine, netns: i.netns, address: public, own: own})
	if i.design == model.Central {
		s.add(shared, "", &path{from: host2.Machine, to: server, netns: i.netns, address: server.Address})
	}
	if i.design == hostsAreEdges {
		if public, err = i.publish(ctx, host2); err != nil {
			return s, err
		}
		s.add(inbound, ", by another host", &path{from: client, to: host2.Machine, netns: i.netns, address: public, own: other})
	}
	return s, nil
}

func (i internet) endpoint(ctx context.Context, h *lab.Host) (netip.Addr, error) {
	if err := addNetns(ctx, h, i.netns); err != nil {
		return netip.Addr{}, err
	}
	reply, err := attach(ctx, h, i.netns, i.vpc+"/web")
	return reply.Address.Addr(), err
}

// publish gives the endpoint on a host a public address.
func (i internet) publish(ctx context.Context, h *lab.Host) (netip.Addr, error) {
	name := i.vpc + "/bench-" + h.Name
	spec := &model.PublicIPSpec{Pool: i.pool, Endpoint: i.vpc + "/web/" + h.Name + "-" + i.netns}
	if err := apply(ctx, i.server, []model.Object{{Kind: "PublicIP", Name: name, Spec: spec}}); err != nil {
		return netip.Addr{}, err
	}
	public, err := i.server.Get(ctx, model.Key{Kind: "PublicIP", Name: name})
	if err != nil {
		return netip.Addr{}, err
	}
	return public.Spec.(*model.PublicIPSpec).Address, nil
}

// nameNamespaces gives the namespaces of whole machines a name there.
func nameNamespaces(ctx context.Context, netns string, machines ...*lab.Machine) error {
	for _, m := range machines {
		if _, err := m.Exec(ctx, "sh", "-ec", "mkdir -p /run/netns; [ -e /run/netns/"+netns+" ] || ip netns attach "+netns+" $$"); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) compare(ctx context.Context, s site) error {
	if err := s.open(ctx); err != nil {
		return err
	}
	for range internetRounds {
		if err := s.measure(ctx); err != nil {
			return err
		}
	}
	for _, p := range s.outside {
		goal := 1.4
		if p.kind == shared {
			goal = 1
		}
		for k, what := range internetUnits {
			r := median(what.name+" "+p.name, what.unit, p.samples[k]).inTurns(s.between.name, p.samples[k], s.between.samples[k])
			if k == 0 {
				r = r.wants(ratioAtLeast(goal))
			}
			w.report(r)
		}
	}
	return nil
}

// open waits until all paths pass packets, before any is measured.
func (s site) open(ctx context.Context) error {
	for _, p := range s.paths() {
		p.samples = [4][]float64{}
		if err := p.opens(ctx); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return nil
}

// measure measures one round.
func (s site) measure(ctx context.Context) error {
	for _, p := range s.paths() {
		if err := p.measure(ctx); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return nil
}

func (s site) paths() []*path { return append([]*path{s.between}, s.outside...) }
