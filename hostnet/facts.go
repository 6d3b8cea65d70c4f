package hostnet

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/overlane/overlane/internal/ifname"
	"github.com/overlane/overlane/internal/nlerr"
	"github.com/overlane/overlane/netdump"
)

// Facts are what a Config says that only the machine can tell.
type Facts struct {
	ForwardsAll bool                // net.ipv4.conf.all.forwarding: the host forwards for others, too
	Exits       []string            // interfaces that carry a default route of the main table, sorted; nil without SNAT
	Underlay    string              // interface that has the VTEP; "": none has, or there is no direct path
	Adjacent    map[netip.Addr]bool // VTEPs of the direct path that are on the underlay interface's network
}

// Look finds the facts for a Config that has none yet. With an error, Facts are those found until then.
func Look(c Config) (f Facts, err error) {
	if f.ForwardsAll, err = forwardsAll(); err != nil {
		return f, err
	}
	if c.SNAT != nil && c.SNAT.Masquerade {
		if f.Exits, err = exits(); err != nil {
			return f, err
		}
	}
	if c.Direct == nil {
		return f, nil
	}
	var index int
	if f.Underlay, index, err = interfaceWith(c.Direct.VTEP); err != nil {
		return f, err
	}
	f.Adjacent = map[netip.Addr]bool{}
	for _, vtep := range c.Direct.vteps() {
		if f.Adjacent[vtep], err = isAdjacent(vtep, index); err != nil {
			return f, err
		}
	}
	return f, nil
}

// With completes a Config by the facts that [Look] has found for it.
func (c Config) With(f Facts) Config {
	c.ForwardsAll = f.ForwardsAll
	if c.SNAT != nil {
		n := *c.SNAT
		n.Exits = f.Exits
		c.SNAT = &n
	}
	if c.Direct != nil {
		d := *c.Direct
		d.Underlay, d.Edges, d.Remote = f.Underlay, slices.Clone(d.Edges), slices.Clone(d.Remote)
		for i, e := range d.Edges {
			d.Edges[i].Adjacent = f.Adjacent[e.VTEP]
		}
		for i, r := range d.Remote {
			d.Remote[i].Adjacent = f.Adjacent[r.VTEP]
		}
		c.Direct = &d
	}
	return c
}

// vteps are the other hosts', each once.
func (d DirectPath) vteps() (all []netip.Addr) {
	for _, e := range d.Edges {
		all = append(all, e.VTEP)
	}
	for _, r := range d.Remote {
		all = append(all, r.VTEP)
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return slices.Compact(all)
}

// interfaceWith finds the interface that has an address; "" if none has.
func interfaceWith(address netip.Addr) (name string, index int, err error) {
	addresses, err := addressesOf(nil)
	if err != nil {
		return "", 0, fmt.Errorf("list addresses: %w", err)
	}
	for _, a := range addresses {
		if prefix(a.IPNet).Addr() == address {
			index = a.LinkIndex
		}
	}
	if index == 0 {
		return "", 0, nil
	}
	link, err := netlink.LinkByIndex(index)
	if err != nil {
		return "", 0, fmt.Errorf("find the interface of %s: %w", address, err)
	}
	return link.Attrs().Name, index, nil
}

// isAdjacent tells whether another host's address is on the network of an interface.
func isAdjacent(vtep netip.Addr, underlay int) (bool, error) {
	routes, err := netlink.RouteGet(vtep.AsSlice())
	if err != nil && !unreachable(err) {
		return false, fmt.Errorf("find the route to %s: %w", vtep, err)
	}
	return len(routes) == 1 && routes[0].Gw == nil && routes[0].Via == nil && routes[0].LinkIndex == underlay, nil
}

// rangeConflict says whether something else of the host uses the range: an address or a route. Tailscale does so with
// its default, 100.64.0.0/10, and so do providers that translate addresses (RFC 6598). A route to more than the range
// is no conflict.
func rangeConflict(of netip.Prefix) error {
	links, err := netdump.List(netlink.LinkList)
	if err != nil {
		return wrapSNAT(fmt.Errorf("list interfaces: %w", err))
	}
	names := map[int]string{}
	for _, l := range links {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	addresses, err := addressesOf(nil)
	if err != nil {
		return wrapSNAT(fmt.Errorf("list addresses: %w", err))
	}
	for _, a := range addresses {
		if p := prefix(a.IPNet); !ifname.IsOwnPort(names[a.LinkIndex]) && p.Overlaps(of) {
			return wrapSNAT(inUse(of, names[a.LinkIndex], "has the address "+p.String()))
		}
	}
	var found error
	err = netlink.RouteListFilteredIter(unix.AF_INET, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE, func(r netlink.Route) bool {
		p := prefix(r.Dst)
		inside := p.IsValid() && p.Bits() >= of.Bits() && p.Overlaps(of)
		if inside && !slices.ContainsFunc(interfacesOf(r), func(index int) bool { return ifname.IsOwnPort(names[index]) }) {
			via := ""
			for _, index := range interfacesOf(r) {
				via = cmp.Or(via, names[index])
			}
			found = inUse(of, via, fmt.Sprintf("has a route to %s (table %d)", p, r.Table))
		}
		return found == nil
	})
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return wrapSNAT(fmt.Errorf("list routes: %w", err))
	}
	return wrapSNAT(found)
}

func inUse(of netip.Prefix, name, has string) error {
	return fmt.Errorf("%s %s, which is in natRange %s; set natRange in the agent's configuration to a range that this host does not use", cmp.Or(name, "the host"), has, of)
}

// Addresses are the IPv4 addresses by which others may reach this host, sorted: neither loopback's nor link-local,
// and none of the switch's ports for the kernel.
func Addresses() (found []netip.Addr, err error) {
	all, err := addressesOf(nil)
	if err != nil {
		return nil, fmt.Errorf("list this host's addresses: %w", err)
	}
	for _, a := range all {
		if ip := prefix(a.IPNet).Addr(); ip.IsGlobalUnicast() && !ifname.IsOwnPort(a.Label) { // of any scope: the kernel answers for it
			found = append(found, ip)
		}
	}
	slices.SortFunc(found, netip.Addr.Compare)
	return slices.Compact(found), nil
}

// interfacesOf gives the interfaces of a route, which may have several next hops.
func interfacesOf(r netlink.Route) (indexes []int) {
	if r.LinkIndex != 0 {
		indexes = append(indexes, r.LinkIndex)
	}
	for _, hop := range r.MultiPath {
		indexes = append(indexes, hop.LinkIndex)
	}
	return indexes
}

// exits gives the interfaces that carry a default route of the main table, sorted.
func exits() ([]string, error) {
	routes, err := netdump.List(func() ([]netlink.Route, error) {
		return netlink.RouteListFiltered(unix.AF_INET, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_DST)
	})
	if err != nil {
		return nil, fmt.Errorf("find the interfaces that lead outside: list routes: %w", err)
	}
	var names []string
	for _, r := range routes {
		for _, index := range interfacesOf(r) {
			link, err := netlink.LinkByIndex(index)
			if nlerr.NotFound(err) {
				continue // gone meanwhile
			}
			if err != nil {
				return nil, fmt.Errorf("find the interfaces that lead outside: %w", err)
			}
			names = append(names, link.Attrs().Name)
		}
	}
	return distinct(names), nil
}
