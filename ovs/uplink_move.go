package ovs

import (
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/overlane/overlane/internal/nlerr"
	"github.com/overlane/overlane/netdump"
)

// inventory is the addresses of an interface, and the routes through it, without link-local addresses and routes that
// the kernel adds by itself.
type inventory struct {
	Addresses []address `json:"addresses"`
	Routes    []route   `json:"routes"`
}

// address is an address with its remaining lifetimes in seconds (0: for ever).
type address struct {
	Prefix    netip.Prefix `json:"prefix"`
	Scope     int          `json:"scope,omitempty"`
	Flags     int          `json:"flags,omitempty"`
	Valid     int          `json:"valid,omitempty"`
	Preferred int          `json:"preferred,omitempty"`
}

// route has no interface: it is the one where the route is found, or the one where it is put.
type route struct {
	To       string     `json:"to"` // CIDR; 0.0.0.0/0 for the default
	Via      netip.Addr `json:"via,omitzero"`
	Source   netip.Addr `json:"source,omitzero"`
	Table    int        `json:"table"`
	Metric   int        `json:"metric,omitempty"`
	Protocol int        `json:"protocol,omitempty"`
	Scope    int        `json:"scope,omitempty"`
	Flags    int        `json:"flags,omitempty"`
	MTU      int        `json:"mtu,omitempty"`
}

func (i inventory) empty() bool { return len(i.Addresses) == 0 }

// contains compares addresses and routes, but not lifetimes, which run.
func (i inventory) contains(other inventory) bool {
	return !slices.ContainsFunc(other.Addresses, func(a address) bool {
		return !slices.ContainsFunc(i.Addresses, func(b address) bool { return a.Prefix == b.Prefix })
	}) && !slices.ContainsFunc(other.Routes, func(r route) bool { return !slices.Contains(i.Routes, r) })
}

// takeInventory gives the addresses and routes of several interfaces together. An interface that does not exist has
// none.
func takeInventory(names ...string) (inventory, error) {
	var all inventory
	for _, name := range names {
		link, err := netlink.LinkByName(name)
		if nlerr.NotFound(err) {
			continue
		}
		if err != nil {
			return all, fmt.Errorf("find %s: %w", name, err)
		}
		for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
			if err := all.take(link, family); err != nil {
				return all, fmt.Errorf("of %s: %w", name, err)
			}
		}
	}
	return all, nil
}

func (i *inventory) take(link netlink.Link, family int) error {
	addresses, err := netdump.List(func() ([]netlink.Addr, error) { return netlink.AddrList(link, family) })
	if err != nil {
		return fmt.Errorf("list addresses: %w", err)
	}
	for _, a := range addresses {
		if got := addressOf(a); a.Scope < unix.RT_SCOPE_LINK && !slices.ContainsFunc(i.Addresses, func(b address) bool { return b.Prefix == got.Prefix }) {
			i.Addresses = append(i.Addresses, got)
		}
	}
	routes, err := netdump.List(func() ([]netlink.Route, error) {
		return netlink.RouteListFiltered(family, &netlink.Route{LinkIndex: link.Attrs().Index}, netlink.RT_FILTER_OIF|netlink.RT_FILTER_TABLE)
	})
	if err != nil {
		return fmt.Errorf("list routes: %w", err)
	}
	for _, r := range routes {
		if len(r.MultiPath) > 0 {
			return fmt.Errorf("route %s has several next hops; Overlane cannot move that", r.Dst)
		}
		if got := routeOf(r, family); r.Protocol != unix.RTPROT_KERNEL && r.Type == unix.RTN_UNICAST && !slices.Contains(i.Routes, got) {
			i.Routes = append(i.Routes, got)
		}
	}
	return nil
}

func addressOf(a netlink.Addr) address {
	ip, _ := netip.AddrFromSlice(a.IP)
	bits, _ := a.Mask.Size()
	got := address{
		Prefix: netip.PrefixFrom(ip.Unmap(), bits), Scope: a.Scope,
		Flags: a.Flags & (unix.IFA_F_NOPREFIXROUTE | unix.IFA_F_MANAGETEMPADDR),
	}
	if a.Flags&unix.IFA_F_PERMANENT == 0 {
		got.Valid, got.Preferred = a.ValidLft, a.PreferedLft
	}
	return got
}

// netlink has duplicate address detection left out: while an address moves it is on both interfaces.
func (a address) netlink() *netlink.Addr {
	return &netlink.Addr{
		IPNet: ipNet(a.Prefix), Scope: a.Scope, Flags: a.Flags | unix.IFA_F_NODAD, ValidLft: a.Valid, PreferedLft: a.Preferred,
	}
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func routeOf(r netlink.Route, family int) route {
	via, _ := netip.AddrFromSlice(r.Gw)
	source, _ := netip.AddrFromSlice(r.Src)
	got := route{
		Via: via.Unmap(), Source: source.Unmap(), Table: r.Table, Metric: r.Priority,
		Protocol: int(r.Protocol), Scope: int(r.Scope), Flags: r.Flags & unix.RTNH_F_ONLINK, MTU: r.MTU,
	}
	switch {
	case r.Dst != nil:
		got.To = r.Dst.String()
	case family == unix.AF_INET6:
		got.To = "::/0"
	default:
		got.To = "0.0.0.0/0"
	}
	return got
}

func (r route) netlink(link netlink.Link) (*netlink.Route, error) {
	_, to, err := net.ParseCIDR(r.To)
	if err != nil {
		return nil, err
	}
	return &netlink.Route{
		LinkIndex: link.Attrs().Index, Dst: to, Gw: r.Via.AsSlice(), Src: r.Source.AsSlice(), Table: r.Table, Priority: r.Metric,
		Protocol: netlink.RouteProtocol(r.Protocol), Scope: netlink.Scope(r.Scope), Flags: r.Flags, MTU: r.MTU,
	}, nil
}

// move puts everything on one interface and takes it off the other, in this order: routes that name an address as their
// source must find it at any time, and removing an interface's last address removes the routes out of it. from may be
// nil.
func (i inventory) move(from, to netlink.Link) error {
	for _, a := range i.Addresses {
		if err := netlink.AddrReplace(to, a.netlink()); err != nil {
			return fmt.Errorf("add %s to %s: %w", a.Prefix, to.Attrs().Name, err)
		}
	}
	if err := i.addRoutes(to); err != nil {
		return err
	}
	if from == nil {
		return nil
	}
	for _, a := range i.Addresses {
		err := netlink.AddrDel(from, &netlink.Addr{IPNet: ipNet(a.Prefix)})
		if nlerr.IgnoreNotFound(err) != nil {
			return fmt.Errorf("take %s off %s: %w", a.Prefix, from.Attrs().Name, err)
		}
	}
	return i.addRoutes(to) // once more: IPv6 keeps the one of the other interface beside it, or loses both
}

// addRoutes adds those without a gateway first, since the others may need them to reach theirs.
func (i inventory) addRoutes(to netlink.Link) error {
	for _, direct := range []bool{true, false} {
		for _, r := range i.Routes {
			if direct == r.Via.IsValid() {
				continue
			}
			n, err := r.netlink(to)
			if err == nil {
				err = netlink.RouteReplace(n)
			}
			if err != nil {
				return fmt.Errorf("route %s out of %s: %w", r.To, to.Attrs().Name, err)
			}
		}
	}
	return nil
}
