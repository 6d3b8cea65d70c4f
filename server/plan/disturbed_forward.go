package plan

import (
	"fmt"
	"iter"
	"maps"
	"net/netip"
	"slices"

	"github.com/overlane/overlane/model"
)

// forwardsDisturbed lists the forwarded ports that lead to another endpoint, or use another address.
func forwardsDisturbed(before, after *model.State, changes []model.Change) (lines []string) {
	concerned := map[string]bool{}
	add := func(forwards iter.Seq[*model.Object]) {
		for o := range forwards {
			concerned[o.Name] = true
		}
	}
	for _, c := range changes {
		if c.Action == model.None {
			continue
		}
		switch key := c.Key(); key.Kind {
		case "Forward":
			concerned[key.Name] = true
		case "PublicIP":
			add(before.ForwardsAt(key.Name))
		case "InternetGateway":
			add(before.ForwardsOf(key.Name))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(concerned)) {
		was := before.Forward(name)
		if was == nil || !plugged(before, was.Endpoint) {
			continue
		}
		if why := diverted(before, after, name); why != "" {
			lines = append(lines, fmt.Sprintf("port %s (Forward %s) of Endpoint %s: %s", portOf(before, was), name,
				was.Endpoint, why))
		}
	}
	return lines
}

// diverted returns how an endpoint loses a forwarded port; empty if it keeps it.
func diverted(before, after *model.State, name string) string {
	was, now := before.Forward(name), after.Forward(name)
	switch {
	case now == nil:
		return "is given up"
	case portOf(before, was) != portOf(after, now):
		return "is given up for " + portOf(after, now)
	case was.Endpoint != now.Endpoint:
		return "goes to Endpoint " + now.Endpoint
	case was.TargetPort != now.TargetPort:
		return fmt.Sprintf("goes to its port %d, not %d", now.TargetPort, was.TargetPort)
	}
	vpc := model.Parent(name)
	return elsewhere(hostsOver(before, vpc), hostsOver(after, vpc))
}

// portOf formats a port as "203.0.113.5:443/tcp".
func portOf(s *model.State, f *model.ForwardSpec) string {
	return fmt.Sprintf("%s/%s", netip.AddrPortFrom(s.PublicIP(f.PublicIP).Address, uint16(f.Port)), f.Protocol)
}
