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

// measureInternet compares the ways between an endpoint and the internet, in both designs, with the way to another host, in turns and from the same endpoint.
func measureInternet(ctx context.Context, w *world) (err error) {
	l, err := upInternet(ctx, w.overlane)
	if err != nil {
		return err
	}
	defer func() { _ = l.Down(context.WithoutCancel(ctx)) }()
	server, err := client.New(client.Config{Address: "unix://" + l.Host("host1").Root() + lab.ServerSocket})
	if err != nil {
		return err
	}
	defer server.Close()
	for _, d := range []struct{ design, vpc, pool, netns string }{
		{model.Central, "blue", "central", "t"},
		{model.Distributed, "green", "distributed", "u"},
	} {
		i := internet{world: w, lab: l, server: server}
		if err := i.measure(ctx, d.design, d.vpc, d.pool, d.netns); err != nil {
			return fmt.Errorf("%s: %w", d.design, err)
		}
	}
	return nil
}

// upInternet is the drills' lab without its endpoints.
func upInternet(ctx context.Context, binary string) (*lab.Lab, error) {
	dir, err := os.MkdirTemp("", "overlane-bench")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	f, err := drill.File(examples.Files, dir)
	if err != nil {
		return nil, err
	}
	if err := endAbandoned(ctx, "benchi"); err != nil {
		return nil, err
	}
	f.Name, f.Endpoints = fmt.Sprintf("benchi-%d", os.Getpid()), nil
	return lab.Up(ctx, f, lab.Options{Tied: true, Binary: binary})
}

type internet struct {
	*world
	lab    *lab.Lab
	server *client.Client
}

// measure gives an endpoint on host1 a public address. The one on host2 has none, and in the central design a block of ports.
func (i internet) measure(ctx context.Context, design, vpc, pool, netns string) error {
	host1, host2 := i.lab.Host("host1"), i.lab.Host("host2")
	always := func(context.Context) error { return nil }
	between := &path{name: "across hosts", from: host1.Machine, to: host2.Machine, netns: netns, choose: always}
	var own netip.Addr // of the endpoint on host1
	for _, h := range []*lab.Host{host1, host2} {
		if err := addNetns(ctx, h, netns); err != nil {
			return err
		}
		reply, err := attach(ctx, h, netns, vpc+"/web")
		if err != nil {
			return err
		}
		own, between.address = between.address, reply.Address.Addr()
	}
	spec := &model.PublicIPSpec{Pool: pool, Endpoint: vpc + "/web/host1-" + netns}
	if err := apply(ctx, i.server, []model.Object{{Kind: "PublicIP", Name: vpc + "/bench", Spec: spec}}); err != nil {
		return err
	}
	public, err := i.server.Get(ctx, model.Key{Kind: "PublicIP", Name: vpc + "/bench"})
	if err != nil {
		return err
	}
	for _, name := range []string{"client", "server"} {
		if _, err := i.lab.Machine(name).Exec(ctx, "sh", "-ec", "mkdir -p /run/netns; [ -e /run/netns/"+netns+" ] || ip netns attach "+netns+" $$"); err != nil {
			return err
		}
	}
	ways := []*path{
		{name: "outbound, 1:1, " + design, from: host1.Machine, to: i.lab.Machine("server"), netns: netns, address: i.lab.Machine("server").Address, choose: always},
		{name: "inbound, 1:1, " + design, from: i.lab.Machine("client"), to: host1.Machine, netns: netns, address: public.Spec.(*model.PublicIPSpec).Address, own: own, choose: always},
	}
	if design == model.Central {
		ways = append(ways, &path{name: "outbound, SNAT, " + design, from: host2.Machine, to: i.lab.Machine("server"), netns: netns, address: i.lab.Machine("server").Address, choose: always})
	}
	return i.compare(ctx, between, ways)
}

func (i internet) compare(ctx context.Context, between *path, ways []*path) error {
	for _, p := range ways {
		if err := p.opens(ctx); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	for range internetRounds {
		for _, p := range append([]*path{between}, ways...) {
			if err := p.measure(ctx); err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
		}
	}
	for n, p := range ways {
		goal := 1.4
		if n == 2 {
			goal = 1
		}
		for k, what := range []struct{ name, unit string }{{"throughput", "Mb/s"}, {"TCP round trips", "/s"}, {"UDP round trips", "/s"}, {"pings", "/s"}} {
			r := median(what.name+" "+p.name, what.unit, p.samples[k]).inTurns(between.name, p.samples[k], between.samples[k])
			if k == 0 {
				r = r.wants(ratioAtLeast(goal))
			}
			i.report(r)
		}
	}
	return nil
}
