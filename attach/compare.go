package attach

import (
	"fmt"
	"net"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/overlane/overlane/netdump"
)

// compare gives the differences between an existing pair and the request. A missing address or route is no difference:
// an interrupted call may have left it out, and configure adds it.
func (p *plumbing) compare() error {
	var differs []string
	note := func(what string, has, want any) {
		if fmt.Sprint(has) != fmt.Sprint(want) {
			differs = append(differs, fmt.Sprintf("%s is %v, not %v", what, has, want))
		}
	}
	note("MAC", p.inner.Attrs().HardwareAddr, net.HardwareAddr(p.MAC[:]))
	note("MTU", p.inner.Attrs().MTU, p.MTU)
	note("MTU of "+p.HostIf, p.outer.Attrs().MTU, p.MTU)
	if p.DHCP {
		return conflict(differs)
	}
	addresses, err := netdump.List(func() ([]netlink.Addr, error) { return p.inside.AddrList(p.inner, unix.AF_INET) })
	if err != nil {
		return fmt.Errorf("list addresses: %w", err)
	}
	for _, a := range addresses {
		note("address", a.IPNet, p.Address)
	}
	routes, err := defaultRoutes(p.inside)
	if err != nil {
		return err
	}
	gateway := any("none")
	if p.Gateway.IsValid() {
		gateway = p.Gateway
	}
	for _, r := range routes {
		if r.LinkIndex == p.inner.Attrs().Index {
			note("gateway", r.Gw, gateway)
		}
	}
	return conflict(differs)
}

func conflict(differs []string) error {
	if len(differs) == 0 {
		return nil
	}
	return fmt.Errorf("%w: it is there already, but its %s; detach it first", ErrConflict, strings.Join(differs, "; its "))
}

// defaultRoutes gives the IPv4 default routes of the main table.
func defaultRoutes(h *netlink.Handle) ([]netlink.Route, error) {
	routes, err := netdump.List(func() ([]netlink.Route, error) {
		return h.RouteListFiltered(unix.AF_INET, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_DST)
	})
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	return routes, nil
}
