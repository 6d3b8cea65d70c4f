// Package plan computes the effects of a change of intent: on the switch of each host, and on connections with the
// outside. It is pure.
package plan

import (
	"cmp"
	"slices"
	"strings"

	"github.com/overlane/overlane/dataplane"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/server/api"
	"github.com/overlane/overlane/view"
)

// Flows returns the flows and groups that each host's switch would gain and lose: it compiles both states and compares
// the results. They have names instead of the numbers of ports, which only the hosts know.
func Flows(before, after *model.State, changes []model.Change) []api.HostFlows {
	tracker := view.NewTracker(before)
	views := map[string]*view.View{}
	for _, state := range []*model.State{before, after} {
		for host := range state.List("Host") {
			if views[host.Name] == nil {
				views[host.Name] = &view.View{Host: host.Name}
				views[host.Name].Apply(tracker.Subscribe(host.Name))
			}
		}
	}
	var all []api.HostFlows
	for host, delta := range tracker.Apply(after, changes) {
		if h := ofHost(views[host], delta); len(h.Add)+len(h.Delete) > 0 {
			all = append(all, h)
		}
	}
	slices.SortFunc(all, func(a, b api.HostFlows) int { return cmp.Compare(a.Host, b.Host) })
	return all
}

func ofHost(v *view.View, d view.Delta) api.HostFlows {
	was := v.Clone()
	v.Apply(d)
	ports := portsOf(was, v)
	old, now := entriesOf(was, ports), entriesOf(v, ports)
	h := api.HostFlows{Host: v.Host}
	for text := range now {
		if !old[text] {
			h.Add = append(h.Add, text)
		}
	}
	for text := range old {
		if !now[text] {
			h.Delete = append(h.Delete, text)
		}
	}
	slices.Sort(h.Add)
	slices.Sort(h.Delete)
	return h
}

// portsOf numbers the ports of a host's own addresses, before and after, from 10 on.
func portsOf(views ...*view.View) map[view.AddressKey]uint32 {
	ports := map[view.AddressKey]uint32{}
	for _, v := range views {
		for key, a := range v.Addresses.Ordered(view.AddressKey.Compare) {
			if _, has := ports[key]; !has && a.Host == v.Host {
				ports[key] = uint32(10 + len(ports))
			}
		}
	}
	return ports
}

func entriesOf(v *view.View, ports map[view.AddressKey]uint32) map[string]bool {
	w := dataplane.Wiring{TunnelPort: 1, Ports: ports}
	entries := dataplane.Compile(v, w)
	symbols := dataplane.Symbols(entries.Groups)
	symbols.Ports = map[uint32]string{w.TunnelPort: "tunnel"}
	for key, port := range ports {
		symbols.Ports[port] = v.Addresses[key].Endpoint
	}
	set := make(map[string]bool, len(entries.Flows))
	for _, f := range entries.Flows {
		set[symbols.Flow(f)] = true
	}
	for _, g := range entries.Groups {
		set[strings.ReplaceAll(symbols.Group(g), "\n ", ";")] = true
	}
	return set
}
