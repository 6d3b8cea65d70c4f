package view_test

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/view"
)

// forwardsOf is the forwarded ports that a host must know, the slow way.
func forwardsOf(s *model.State, host string) view.Table[view.ForwardKey, view.Forward] {
	forwards := view.Table[view.ForwardKey, view.Forward]{}
	for o := range s.List("Forward") {
		spec, vpc := o.Spec.(*model.ForwardSpec), model.Parent(o.Name)
		public, endpoint, subnet := s.PublicIP(spec.PublicIP), s.Endpoint(spec.Endpoint), s.Subnet(model.Parent(spec.Endpoint))
		if public == nil || endpoint == nil || endpoint.Host == "" || subnet == nil || s.InternetGateway(vpc) == nil {
			continue
		}
		passes := slices.ContainsFunc(slices.Collect(s.BorderHosts(vpc)),
			func(o *model.Object) bool { return o.Name == host })
		if passes || endpoint.Host == host {
			f := view.Forward{ForwardKey: view.ForwardKey{Address: public.Address, Protocol: spec.Protocol,
				Port: uint16(spec.Port)}, Name: o.Name, VPC: s.VPC(vpc).TransitVNI,
				Endpoint: view.AddressKey{VNI: subnet.VNI, IP: endpoint.Address}, TargetPort: uint16(spec.TargetPort),
				Host: endpoint.Host}
			forwards[f.ForwardKey] = f
		}
	}
	return forwards
}

// neededForwards fails for what a delta tells of forwarded ports although the view has it so.
func neededForwards(t *rapid.T, v *view.View, d view.Delta) {
	for _, f := range d.Forwards {
		if v.Forwards[f.ForwardKey] == f {
			t.Fatalf("%s is told of %+v again", v.Host, f)
		}
		if slices.Contains(d.GoneForwards, f.ForwardKey) {
			t.Fatalf("%s is told that %+v is there and gone", v.Host, f)
		}
	}
	for _, key := range d.GoneForwards {
		if _, had := v.Forwards[key]; !had {
			t.Fatalf("%s never knew of %+v, which is gone", v.Host, key)
		}
	}
}

// putForward keeps to what the indexes of the state rely on: no two have one port.
func (w *world) putForward(t *rapid.T, vpc string, n int) []model.Change {
	name := fmt.Sprintf("%s/f%d", vpc, n%3)
	spec := &model.ForwardSpec{PublicIP: fmt.Sprintf("%s/i%d", vpc, rapid.IntRange(0, 2).Draw(t, "public")),
		Protocol: rapid.SampledFrom([]string{model.TCP, model.UDP}).Draw(t, "protocol"),
		Port:     80, TargetPort: 8080 + n}
	for o := range w.state.ForwardsAt(spec.PublicIP) {
		if o.Name != name && o.Spec.(*model.ForwardSpec).Protocol == spec.Protocol {
			return nil
		}
	}
	for o := range w.state.EndpointsOf(vpc) {
		if spec.Endpoint == "" || rapid.Bool().Draw(t, "this") {
			spec.Endpoint = o.Name
		}
	}
	return w.put("Forward", name, spec)
}

// swapForwards exchanges the ports of two forwards in one commit.
func (w *world) swapForwards(vpc string) []model.Change {
	a, b := w.state.Forward(vpc+"/f0"), w.state.Forward(vpc+"/f1")
	if a == nil || b == nil {
		return nil
	}
	x, y := *a, *b
	x.PublicIP, x.Protocol, y.PublicIP, y.Protocol = y.PublicIP, y.Protocol, x.PublicIP, x.Protocol
	return w.apply(model.Change{Action: model.Update, After: &model.Object{Kind: "Forward", Name: vpc + "/f0",
		Spec: &x}},
		model.Change{Action: model.Update, After: &model.Object{Kind: "Forward", Name: vpc + "/f1", Spec: &y}})
}

func TestAForwardedPortFollowsItsEndpoint(t *testing.T) {
	n := smallNetwork(t)
	n.put("{kind: Host, name: gateway1, spec: {address: 192.168.5.4, roles: [gateway], outside: {interface: eth1, address: 192.0.2.11/24, router: 192.0.2.1}}}")
	n.put("[{kind: InternetGateway, name: blue, spec: {design: central}}, {kind: Forward, name: blue/web, spec: {publicIP: blue/later, port: 443, endpoint: blue/web/c, targetPort: 8443}}]")
	hosts := []string{"gateway1", "host1", "host2", "host3"}
	for _, host := range hosts {
		if v := view.New(n.state, host); len(v.Forwards) > 0 {
			t.Errorf("%s knows %v of an endpoint that is not plugged in", host, v.Forwards)
		}
		n.tracker.Subscribe(host)
	}
	forward := view.Forward{ForwardKey: view.ForwardKey{Address: ip("198.51.100.8"), Protocol: "tcp", Port: 443},
		Name: "blue/web", VPC: 900, Endpoint: at("10.0.0.7"), TargetPort: 8443, Host: "host1"}
	told := n.put("{kind: Endpoint, name: blue/web/c, spec: {host: host1}}")
	want(t, "a border host, once it is plugged in", []view.Forward{forward}, told["gateway1"].Forwards)
	want(t, "its host, once it is plugged in", []view.Forward{forward}, told["host1"].Forwards)

	forward.Host = "host2"
	told = n.put("{kind: Endpoint, name: blue/web/c, spec: {host: host2}}")
	want(t, "a border host", []view.Forward{forward}, told["gateway1"].Forwards)
	want(t, "where it was", []view.ForwardKey{forward.ForwardKey}, told["host1"].GoneForwards)
	want(t, "where it is", []view.Forward{forward}, told["host2"].Forwards)

	old := forward.ForwardKey
	forward.Address = ip("198.51.100.9")
	told = n.put("{kind: PublicIP, name: blue/later, spec: {address: 198.51.100.9}}")
	want(t, "a border host, of another address", view.Delta{Revision: 6, Forwards: []view.Forward{forward},
		GoneForwards: []view.ForwardKey{old}}, told["gateway1"])
	if len(told["host1"].Forwards)+len(told["host3"].Forwards) > 0 {
		t.Errorf("others are told of a forwarded port: %+v", told)
	}
	told = n.put("{kind: Endpoint, name: blue/web/c, spec: {attachment: {}}}")
	want(t, "a border host, once it is unplugged", []view.ForwardKey{forward.ForwardKey}, told["gateway1"].GoneForwards)
}
