package hostnet

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/overlane/overlane/internal/nlerr"
	"github.com/overlane/overlane/netdump"
)

// Priorities of rules: after the host's own addresses and Cilium's (9 to 111), before the rules of VPNs, which take in
// everything (Tailscale 5210, WireGuard 32764), and the main table (32766). Packets of the switch's ports come first:
// they are for others, even if their destination is hosted here.
const (
	edgeRule = 0x4f0 + iota
	remoteRule
	markedRule
	hostedRule
)

// rule is one of ours of policy routing (ip rule).
type rule struct {
	priority, table int
	iif             string
	mark, mask      uint32
}

func (r rule) netlink() *netlink.Rule {
	n := netlink.NewRule()
	n.Family, n.Priority, n.Table, n.Protocol, n.IifName, n.Mark = unix.AF_INET, r.priority, r.table, protocol, r.iif, r.mark
	if r.mask != 0 {
		n.Mask = &r.mask
	}
	return n
}

func ruleOf(n netlink.Rule) rule {
	r := rule{priority: n.Priority, table: n.Table, iif: n.IifName, mark: n.Mark}
	if n.Mask != nil {
		r.mask = *n.Mask
	}
	return r
}

func compareRules(a, b rule) int {
	return cmp.Or(cmp.Compare(a.priority, b.priority), cmp.Compare(a.iif, b.iif))
}

// ourRules are sorted.
func ourRules() (ours []rule, err error) {
	all, err := netdump.List(func() ([]netlink.Rule, error) { return netlink.RuleList(unix.AF_INET) })
	if err != nil {
		return nil, fmt.Errorf("list rules: %w", err)
	}
	for _, n := range all {
		if n.Protocol == protocol {
			ours = append(ours, ruleOf(n))
		}
	}
	slices.SortStableFunc(ours, compareRules)
	return ours, nil
}

// setRules comes last: the tables that rules lead to are there. Rules that are gone take their tables with them.
func setRules(h *netlink.Handle, want []rule) (changed bool, err error) {
	has, err := ourRules()
	if err != nil {
		return false, err
	}
	missing := make(map[rule]bool, len(want))
	tables := map[int]bool{}
	for _, r := range want {
		missing[r], tables[r.table] = true, true
	}
	for _, r := range has {
		if missing[r] {
			delete(missing, r)
			continue
		}
		changed = true
		if err := nlerr.IgnoreNotFound(netlink.RuleDel(r.netlink())); err != nil {
			return changed, fmt.Errorf("remove rule %d: %w", r.priority, err)
		}
		if !tables[r.table] {
			if _, err := setRoutes(h, r.table, nil); err != nil {
				return changed, err
			}
		}
	}
	for _, r := range slices.SortedFunc(maps.Keys(missing), compareRules) {
		changed = true
		if err := netlink.RuleAdd(r.netlink()); err != nil && !errors.Is(err, unix.EEXIST) {
			return changed, fmt.Errorf("add rule %d: %w", r.priority, err)
		}
	}
	return changed, nil
}
