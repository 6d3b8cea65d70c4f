package outside

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/overlane/overlane/netdump"
)

// Conflict says whether something else of the host uses the range: an address or a route. Tailscale does so with its default, 100.64.0.0/10, and so do
// providers that translate addresses (RFC 6598). A route to more than the range is no conflict.
func Conflict(w Way) error {
	if err := w.check(); err != nil {
		return w.wrap(err)
	}
	links, err := netdump.List(netlink.LinkList)
	if err != nil {
		return w.wrap(fmt.Errorf("list interfaces: %w", err))
	}
	names := map[int]string{}
	for _, l := range links {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	addresses, err := netdump.List(func() ([]netlink.Addr, error) { return netlink.AddrList(nil, unix.AF_INET) })
	if err != nil {
		return w.wrap(fmt.Errorf("list addresses: %w", err))
	}
	for _, a := range addresses {
		if p := prefix(a.IPNet); !ours(names[a.LinkIndex]) && p.Overlaps(w.Range) {
			return w.wrap(w.conflict(names[a.LinkIndex], "has the address "+p.String()))
		}
	}
	var found error
	err = netlink.RouteListFilteredIter(unix.AF_INET, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE, func(r netlink.Route) bool {
		p := prefix(r.Dst)
		inside := p.IsValid() && p.Bits() >= w.Range.Bits() && p.Overlaps(w.Range)
		if inside && !slices.ContainsFunc(exitsOf(r), func(index int) bool { return ours(names[index]) }) {
			via := ""
			for _, index := range exitsOf(r) {
				via = cmp.Or(via, names[index])
			}
			found = w.conflict(via, fmt.Sprintf("has a route to %s (table %d)", p, r.Table))
		}
		return found == nil
	})
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return w.wrap(fmt.Errorf("list routes: %w", err))
	}
	return w.wrap(found)
}

// Addresses are those of IPv4 by which others may reach this host, sorted: neither loopback's nor link-local, and none of the switch's ports for the kernel.
func Addresses() (found []netip.Addr, err error) {
	all, err := netdump.List(func() ([]netlink.Addr, error) { return netlink.AddrList(nil, unix.AF_INET) })
	if err != nil {
		return nil, fmt.Errorf("list this host's addresses: %w", err)
	}
	for _, a := range all {
		if ip := prefix(a.IPNet).Addr(); ip.IsGlobalUnicast() && !ours(a.Label) { // whatever its scope: the kernel answers for it
			found = append(found, ip)
		}
	}
	slices.SortFunc(found, netip.Addr.Compare)
	return slices.Compact(found), nil
}

// ours tells whether an interface is one of the switch's for the kernel.
func ours(name string) bool { return strings.HasPrefix(name, "ovl-") }

func (w Way) conflict(name, has string) error {
	return fmt.Errorf("%s %s, which is in natRange %s; set natRange in the agent's configuration to a range that this host does not use", cmp.Or(name, "the host"), has, w.Range)
}

// exitsOf gives the interfaces of a route, which may have several next hops.
func exitsOf(r netlink.Route) (indexes []int) {
	if r.LinkIndex != 0 {
		indexes = append(indexes, r.LinkIndex)
	}
	for _, hop := range r.MultiPath {
		indexes = append(indexes, hop.LinkIndex)
	}
	return indexes
}

// Exits gives the interfaces that carry a default route of the main table, sorted.
func Exits() ([]string, error) {
	routes, err := netdump.List(func() ([]netlink.Route, error) {
		return netlink.RouteListFiltered(unix.AF_INET, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_DST)
	})
	if err != nil {
		return nil, fmt.Errorf("find the interfaces that lead outside: list routes: %w", err)
	}
	var names []string
	for _, r := range routes {
		for _, index := range exitsOf(r) {
			link, err := netlink.LinkByIndex(index)
			if notFound(err) {
				continue // gone meanwhile
			}
			if err != nil {
				return nil, fmt.Errorf("find the interfaces that lead outside: %w", err)
			}
			names = append(names, link.Attrs().Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// OpenForwarding has the host forward what comes in by the exits. closed are those of a host that forwards nothing else: the firewall is to close them to
// others. opened are those that did not forward before, for [CloseForwarding].
func OpenForwarding(exits []string) (closed, opened []string, err error) {
	all, err := readSysctl(forwardingOf("all"))
	if err != nil {
		return nil, nil, fmt.Errorf("open forwarding: %w", err)
	}
	for _, name := range exits {
		set, err := setSysctl(forwardingOf(name), "1")
		if errors.Is(err, fs.ErrNotExist) {
			continue // gone meanwhile
		}
		if err != nil {
			return closed, opened, fmt.Errorf("open forwarding from %s: %w", name, err)
		}
		if set {
			opened = append(opened, name)
		}
		if all == "0" {
			closed = append(closed, name)
		}
	}
	return closed, opened, nil
}

// CloseForwarding has the host forward nothing any more of what comes in by those, unless it forwards all by now.
func CloseForwarding(opened []string) error {
	all, err := readSysctl(forwardingOf("all"))
	if err != nil {
		return fmt.Errorf("close forwarding: %w", err)
	}
	if all != "0" {
		return nil
	}
	for _, name := range opened {
		if _, err := setSysctl(forwardingOf(name), "0"); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("close forwarding from %s: %w", name, err)
		}
	}
	return nil
}

func forwardingOf(name string) string { return "ipv4/conf/" + name + "/forwarding" }
