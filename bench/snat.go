package main

import (
	"context"
	"fmt"
	"time"

	"github.com/overlane/overlane/lab"
	"github.com/overlane/overlane/model"
)

const openPatience = 30 * time.Second

// measureSNAT compares the path to a server outside, by double NAT and a router, with the path to the other host, in
// turns and from the same endpoint. The peer is Overlane, too: SNAT costs conntrack and the path through the host's
// kernel, and saves the tunnel.
func measureSNAT(ctx context.Context, w *world) error {
	if err := w.setSNAT(ctx, true); err != nil {
		return err
	}
	defer func() { _ = w.setSNAT(ctx, false) }()
	here, down, err := w.twoEndpoints(ctx)
	if err != nil {
		return err
	}
	defer down()
	server := w.lab.Machine("server")
	if err := nameNamespaces(ctx, "t", server); err != nil {
		return err
	}
	out := &path{name: "SNAT", from: here.from, to: server, netns: "t", address: server.Address, choose: here.choose}
	if err := out.opens(ctx); err != nil {
		return err
	}
	for range trafficRounds {
		for _, p := range []*path{out, here} {
			if err := p.measure(ctx); err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
		}
	}
	for i, what := range outsideUnits {
		w.report(median(what.name, what.unit, out.samples[i]).inTurns(here.name, out.samples[i], here.samples[i]).wants(ratioAtLeast(1)))
	}
	return nil
}

var outsideUnits = []struct{ name, unit string }{
	{"throughput to the outside by SNAT, TCP", "Mb/s"},
	{"round trips to the outside by SNAT, TCP, one at a time", "/s"},
	{"round trips to the outside by SNAT, UDP, one at a time", "/s"},
	{"round trips to the outside by SNAT, ping", "/s"},
}

func (w *world) setSNAT(ctx context.Context, on bool) error {
	return apply(ctx, w.server, []model.Object{{Kind: "InternetGateway", Name: vpc, Spec: &model.InternetGatewaySpec{SNAT: on}}})
}

// twoEndpoints attaches one on each host.
func (w *world) twoEndpoints(ctx context.Context) (between *path, down func(), err error) {
	between = &path{name: "across hosts", from: w.host1.Machine, to: w.host2.Machine, netns: "t", choose: always}
	for _, h := range []*lab.Host{w.host1, w.host2} {
		if err := addNetns(ctx, h, "t"); err != nil {
			return nil, nil, err
		}
		reply, err := attach(ctx, h, "t", single)
		if err != nil {
			return nil, nil, err
		}
		between.address = reply.Address.Addr()
	}
	return between, func() {
		_ = detach(ctx, w.host1, "t")
		_ = detach(ctx, w.host2, "t")
	}, nil
}

// opens waits until the path is open: until then the endpoint gets ICMP errors.
func (p *path) opens(ctx context.Context) (err error) {
	for deadline := time.Now().Add(openPatience); time.Now().Before(deadline); {
		if _, err = p.from.Exec(ctx, "ip", "netns", "exec", p.netns, "ping", "-c1", "-W1", p.address.String()); err == nil {
			return nil
		}
	}
	return err
}
