package hostnet

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/overlane/overlane/internal/nlerr"
	"github.com/overlane/overlane/netdump"
)

// protocol marks our routes of the direct path and our rules. The kernel keeps it and nobody else uses it, so an agent
// that starts finds its own by it. Agents since 0.1.0 have the same, as have table numbers and priorities.
const protocol = 0x4f

// Numbers of tables. Those of edges end in the index of the port, which no other interface of the host has.
const (
	hostedTable = 0x4f000000 + iota
	remoteTable
	markedTable

	edgeTables = 0x4f100000
)

// newHandle gives one that has the kernel list what was asked for only.
func newHandle() (*netlink.Handle, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err == nil {
		err = h.SetStrictCheck(true)
	}
	return h, err
}

// route is one of ours.
type route struct {
	to     netip.Prefix
	metric int
	via    netip.Addr // none: senders are told that it leads nowhere
	by     int        // index of an interface
}

var everything = netip.PrefixFrom(netip.IPv4Unspecified(), 0)

func nowhere(to netip.Prefix) route { return route{to: to} }

func (r route) in(table int) *netlink.Route {
	n := &netlink.Route{Dst: ipNet(r.to), Priority: r.metric, Table: table, Protocol: protocol, Type: unix.RTN_UNREACHABLE}
	if r.via.IsValid() {
		n.Type, n.Gw, n.LinkIndex, n.Flags = unix.RTN_UNICAST, r.via.AsSlice(), r.by, unix.RTNH_F_ONLINK
	}
	return n
}

func routeOf(n netlink.Route) route {
	r := route{to: prefix(n.Dst), metric: n.Priority}
	if n.Type == unix.RTN_UNICAST {
		via, _ := netip.AddrFromSlice(n.Gw)
		r.via, r.by = via.Unmap(), n.LinkIndex
	}
	return r
}

// setRoutes has a table be these.
func setRoutes(h *netlink.Handle, table int, want []route) (changed bool, err error) {
	has, err := routesIn(h, table)
	if err != nil {
		return false, fmt.Errorf("list routes of table %d: %w", table, err)
	}
	missing := make(map[route]bool, len(want))
	for _, r := range want {
		missing[r] = true
	}
	for _, n := range has {
		r := routeOf(n)
		if missing[r] && n.Protocol == protocol {
			delete(missing, r)
			continue
		}
		changed = true
		if err := nlerr.IgnoreNotFound(h.RouteDel(&n)); err != nil {
			return changed, fmt.Errorf("remove the route to %s: %w", r.to, err)
		}
	}
	for r := range missing {
		changed = true
		if err := h.RouteAdd(r.in(table)); err != nil {
			return changed, fmt.Errorf("add the route to %s: %w", r.to, err)
		}
	}
	return changed, nil
}

func routesIn(h *netlink.Handle, table int) ([]netlink.Route, error) {
	routes, err := netdump.List(func() ([]netlink.Route, error) {
		return h.RouteListFiltered(unix.AF_INET, &netlink.Route{Table: table}, netlink.RT_FILTER_TABLE)
	})
	if errors.Is(err, unix.ENOENT) { // there is no such table yet
		return nil, nil
	}
	return routes, err
}

// ourRoutes are the routes of the direct path, of all tables.
func ourRoutes(h *netlink.Handle) ([]netlink.Route, error) {
	routes, err := netdump.List(func() ([]netlink.Route, error) {
		return h.RouteListFiltered(unix.AF_INET, &netlink.Route{Protocol: protocol, Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_PROTOCOL|netlink.RT_FILTER_TABLE)
	})
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	return routes, nil
}

// removeRoutes empties our tables, with or without a rule.
func removeRoutes(h *netlink.Handle) (changed bool, err error) {
	routes, err := ourRoutes(h)
	if err != nil {
		return false, err
	}
	for _, r := range routes {
		if err := nlerr.IgnoreNotFound(h.RouteDel(&r)); err != nil {
			return true, fmt.Errorf("remove the route to %s: %w", r.Dst, err)
		}
	}
	return len(routes) > 0, nil
}

// unreachable tells that the kernel has no route to where it was asked for one.
func unreachable(err error) bool {
	return errors.Is(err, unix.ENETUNREACH) || errors.Is(err, unix.EHOSTUNREACH)
}

func single(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// prefix is the zero one for what is not of IPv4.
func prefix(n *net.IPNet) netip.Prefix {
	if n == nil {
		return netip.Prefix{}
	}
	a, _ := netip.AddrFromSlice(n.IP)
	bits, _ := n.Mask.Size()
	return netip.PrefixFrom(a.Unmap(), bits)
}
