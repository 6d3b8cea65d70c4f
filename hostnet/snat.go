package hostnet

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/overlane/overlane/internal/nlerr"
	"github.com/overlane/overlane/netdump"
)

func wrapSNAT(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("the path to the outside by %s: %w", SNATPort, err)
}

// setSNATPort makes the port and the route to the Range, and takes away the port and route of another range.
func setSNATPort(to netip.Prefix, mac [6]byte) (changed bool, err error) {
	p := port{name: SNATPort, own: nth(to, snatOwn), gateway: nth(to, snatGateway), mac: mac, filter: noSourceFilter}
	err = p.prepare()
	if err == nil {
		if err = p.setRoute(to); err != nil {
			err = fmt.Errorf("set route to %s: %w", to, err)
		}
	}
	return p.changed, wrapSNAT(err)
}

// setRoute asks for the route that the kernel would take, since a list of all might be long.
func (p *port) setRoute(to netip.Prefix) error {
	if is, err := p.leadsTo(to); is || err != nil {
		return err
	}
	if err := rangeConflict(to); err != nil {
		return err
	}
	others, err := mainRoutesBy(p.link)
	if err != nil {
		return err
	}
	for _, r := range others {
		if err := nlerr.IgnoreNotFound(netlink.RouteDel(&r)); err != nil {
			return err
		}
	}
	if err := p.did(netlink.RouteAdd(&netlink.Route{
		LinkIndex: p.link.Attrs().Index, Dst: ipNet(to), Gw: p.gateway.AsSlice(), Src: p.own.AsSlice(), Flags: unix.RTNH_F_ONLINK, Protocol: unix.RTPROT_STATIC,
	})); err != nil {
		return err
	}
	if is, err := p.leadsTo(to); is || err != nil {
		return err
	}
	return errors.New("a rule of the host's policy routing (ip rule) leads the range elsewhere; have it spare the range, or set another natRange in the agent's configuration")
}

// leadsTo tells whether the kernel would send to the range by this port.
func (p *port) leadsTo(to netip.Prefix) (bool, error) {
	routes, err := netlink.RouteGetWithOptions(p.gateway.AsSlice(), &netlink.RouteGetOptions{FIBMatch: true})
	if unreachable(err) {
		return false, nil
	}
	if err != nil || len(routes) != 1 {
		return false, err
	}
	r := routes[0]
	return r.LinkIndex == p.link.Attrs().Index && r.Gw.Equal(p.gateway.AsSlice()) && r.Src.Equal(p.own.AsSlice()) && prefix(r.Dst) == to, nil
}

// mainRoutesBy gives the routes of the main table that lead to an interface.
func mainRoutesBy(link netlink.Link) ([]netlink.Route, error) {
	return netdump.List(func() ([]netlink.Route, error) {
		return netlink.RouteListFiltered(unix.AF_INET, &netlink.Route{LinkIndex: link.Attrs().Index, Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_OIF)
	})
}

// removeSNATPort takes routes, address and neighbour away. Others may have the sysctls set as they are, and nothing
// comes in by the port any more, which is its bridge's.
func removeSNATPort() error {
	link, err := netlink.LinkByName(SNATPort)
	if nlerr.NotFound(err) {
		return nil
	}
	var routes []netlink.Route
	if err == nil {
		routes, err = mainRoutesBy(link)
	}
	if err != nil {
		return wrapSNAT(err)
	}
	for _, r := range routes {
		if err := nlerr.IgnoreNotFound(netlink.RouteDel(&r)); err != nil {
			return wrapSNAT(fmt.Errorf("remove the route to %s: %w", r.Dst, err))
		}
	}
	return wrapSNAT(stripPort(link))
}
