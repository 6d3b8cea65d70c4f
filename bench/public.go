package main

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/overlane/overlane/dataplane"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/view"
)

// The size of the public figures: on each host as many endpoints of the first VPC with a public address, and one of
// each other VPC, which has SNAT.
const (
	publicHosts, publicEach, publicVPCs = 100, 100, 7
)

// measurePublic counts the flows of many public addresses, on a border host and on a host of endpoints. It needs no
// switch and no lab.
func measurePublic(_ context.Context, w *world) error {
	for _, design := range []string{model.Central, model.Distributed} {
		none, err := manyPublics(design, false)
		if err != nil {
			return err
		}
		all, err := manyPublics(design, true)
		if err != nil {
			return err
		}
		border, took := flowsOf(all, "border1")
		w.report(median("flows of a border host at 10,000 public addresses, "+design, "", []float64{border}).
			noting("%d port blocks; compiled in %.0f ms", all.Len("PortBlock"), took.Seconds()*1e3))
		with, _ := flowsOf(all, "host0")
		without, _ := flowsOf(none, "host0")
		w.report(median("flows of a host for each of its own public addresses, "+design, "", []float64{(with - without) / publicEach}).
			noting("%.0f in all, as all endpoints are of its VPCs", with))
	}
	return nil
}

func flowsOf(state *model.State, host string) (flows float64, took time.Duration) {
	v := view.New(state, host)
	w := wiringOf(&v)
	began := time.Now()
	e := dataplane.Compile(&v, w)
	return float64(len(e.Flows)), time.Since(began)
}

// manyPublics is intent with or without the public addresses.
func manyPublics(design string, public bool) (*model.State, error) {
	objects := []model.Object{{Kind: "PublicPool", Name: "world", Spec: &model.PublicPoolSpec{CIDRs: []netip.Prefix{netip.MustParsePrefix("1.22.0.0/16")}}}}
	for i := range 2 {
		objects = append(objects, model.Object{Kind: "Host", Name: fmt.Sprintf("border%d", i+1), Spec: &model.HostSpec{Address: addr(192, 168, 9, byte(i+1)), Roles: []string{model.RoleGateway, model.RoleEdge},
			Outside: &model.HostOutside{Interface: "eth1", Address: netip.PrefixFrom(addr(203, 0, 113, byte(11+i)), 24), Router: addr(203, 0, 113, 1)}}})
	}
	for v := range publicVPCs {
		vpc := fmt.Sprintf("v%d", v)
		objects = append(objects,
			model.Object{Kind: "VPC", Name: vpc, Spec: &model.VPCSpec{}},
			model.Object{Kind: "Subnet", Name: vpc + "/s", Spec: &model.SubnetSpec{CIDR: netip.MustParsePrefix("10.0.0.0/16")}},
			model.Object{Kind: "InternetGateway", Name: vpc, Spec: &model.InternetGatewaySpec{Design: design, SNAT: true}})
	}
	for h := range publicHosts {
		host := fmt.Sprintf("host%d", h)
		objects = append(objects, model.Object{Kind: "Host", Name: host, Spec: &model.HostSpec{Address: addr(192, 168, 5, byte(h)), NATPrefix: netip.PrefixFrom(addr(10, 200, byte(h), 0), 24)}})
		for v := 1; v < publicVPCs; v++ {
			objects = append(objects, model.Object{Kind: "Endpoint", Name: fmt.Sprintf("v%d/s/%s", v, host), Spec: &model.EndpointSpec{Host: host}})
		}
		for e := range publicEach {
			endpoint := fmt.Sprintf("v0/s/%s-%d", host, e)
			objects = append(objects, model.Object{Kind: "Endpoint", Name: endpoint, Spec: &model.EndpointSpec{Host: host}})
			if public {
				objects = append(objects, model.Object{Kind: "PublicIP", Name: fmt.Sprintf("v0/%s-%d", host, e), Spec: &model.PublicIPSpec{Endpoint: endpoint}})
			}
		}
	}
	changes, err := model.Admit(model.NewState(), model.Request{Put: objects})
	if err != nil {
		return nil, fmt.Errorf("10,000 public addresses: %w", err)
	}
	return model.NewState().With(1, changes), nil
}

// wiringOf is the wiring of a host on which every endpoint of its view is plugged in.
func wiringOf(v *view.View) dataplane.Wiring {
	w := dataplane.Wiring{TunnelPort: 1, SNATPort: 2, Ports: map[view.AddressKey]uint32{}, VPCZones: map[model.VNI]uint16{}, Translations: map[model.VNI]netip.Addr{},
		BFDPorts: map[string]uint32{}, EdgePorts: map[string]uint32{}}
	for _, m := range v.Hosts {
		w.Guarded = append(w.Guarded, m.VTEP)
	}
	if _, border := v.NextHops[v.Host]; border {
		w.SNATPort, w.UpstreamPort, w.UnderlayPort, w.Router = 0, 3, 4, model.MAC{2}
	}
	for key, a := range v.Addresses {
		if a.Host == v.Host {
			w.Ports[key] = uint32(100 + len(w.Ports))
		}
	}
	for _, s := range v.Segments {
		n := len(w.Translations)
		w.VPCZones[s.VPC], w.Translations[s.VPC] = uint16(n+1), addr(100, 64, 0, byte(16+n))
	}
	for host, p := range v.Peers {
		if p.BFD {
			w.BFDPorts[host] = uint32(10_000 + len(w.BFDPorts))
			w.EdgePorts[host] = uint32(20_000 + len(w.EdgePorts))
		}
	}
	return w
}
