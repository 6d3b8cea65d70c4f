// Package outside makes the host's kernel carry packets between the switch and the outside: the switch's port for them, the route back to it,
// the settings of the interfaces that lead out, and room in Docker's rules. What may pass is the firewall's business.
package outside

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/overlane/overlane/netdump"
)

// Way is where translated packets come out of the switch, and where answers go back into it.
type Way struct {
	Port  string       // interface of the integration bridge, which is there already
	Range netip.Prefix // what the switch translates to; its first two addresses are the port's own and the switch's
	MAC   [6]byte      // of the switch, as the port sees it
}

// Own is the address of the port itself.
func (w Way) Own() netip.Addr { return w.Range.Masked().Addr() }

// Gateway is the address by which the route to the range leads. Nobody has it; its MAC is permanent, so that no ARP is needed.
func (w Way) Gateway() netip.Addr { return w.Own().Next() }

func (w Way) check() error {
	if !w.Range.Addr().Is4() || w.Range != w.Range.Masked() || w.Range.Bits() > 29 {
		return fmt.Errorf("natRange %s is no network of IPv4 that has room; give one such as 100.64.0.0/10", w.Range)
	}
	return nil
}

// Ensure makes what is missing, and takes away what is there of another range. Where all is as it should be it changes nothing.
func Ensure(w Way) (changed bool, err error) {
	if err := w.check(); err != nil {
		return false, w.wrap(err)
	}
	e := ensuring{Way: w, port: port{name: w.Port, own: w.Own(), gateway: w.Gateway(), mac: w.MAC, filter: "0"}}
	return e.ensure()
}

func (w Way) wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("way outside by %s: %w", w.Port, err)
}

func notFound(err error) bool {
	var missing netlink.LinkNotFoundError
	return errors.As(err, &missing) || errors.Is(err, unix.ENODEV)
}

// ensuring is one call.
type ensuring struct {
	Way
	port
}

func (e *ensuring) ensure() (changed bool, err error) {
	err = e.prepare()
	if err == nil {
		if err = e.setRoute(); err != nil {
			err = fmt.Errorf("set route to %s: %w", e.Range, err)
		}
	}
	return e.changed, e.wrap(err)
}

// setRoute asks for the route that the kernel would take, since a list of all might be long.
func (e *ensuring) setRoute() error {
	if is, err := e.routed(); is || err != nil {
		return err
	}
	if err := Conflict(e.Way); err != nil {
		return err
	}
	others, err := e.routes()
	if err != nil {
		return err
	}
	for _, r := range others {
		if err := netlink.RouteDel(&r); err != nil && !errors.Is(err, unix.ESRCH) {
			return err
		}
	}
	if err := e.did(netlink.RouteAdd(&netlink.Route{
		LinkIndex: e.link.Attrs().Index, Dst: ipNet(e.Range), Gw: e.Gateway().AsSlice(), Src: e.Own().AsSlice(), Flags: unix.RTNH_F_ONLINK, Protocol: unix.RTPROT_STATIC,
	})); err != nil {
		return err
	}
	if is, err := e.routed(); is || err != nil {
		return err
	}
	return errors.New("a rule of the host's policy routing (ip rule) leads the range elsewhere; have it spare the range, or set another natRange in the agent's configuration")
}

// routed tells whether the kernel would send to the range as it should.
func (e *ensuring) routed() (bool, error) {
	routes, err := netlink.RouteGetWithOptions(e.Gateway().AsSlice(), &netlink.RouteGetOptions{FIBMatch: true})
	if errors.Is(err, unix.ENETUNREACH) || errors.Is(err, unix.EHOSTUNREACH) {
		return false, nil
	}
	if err != nil || len(routes) != 1 {
		return false, err
	}
	r := routes[0]
	return r.LinkIndex == e.link.Attrs().Index && r.Gw.Equal(e.Gateway().AsSlice()) && r.Src.Equal(e.Own().AsSlice()) && prefix(r.Dst) == e.Range, nil
}

// routes gives those of the main table that lead to the port.
func (e *ensuring) routes() ([]netlink.Route, error) {
	return netdump.List(func() ([]netlink.Route, error) {
		return netlink.RouteListFiltered(unix.AF_INET, &netlink.Route{LinkIndex: e.link.Attrs().Index, Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_OIF)
	})
}

// remove takes routes, address and neighbour away. Others may have the sysctls set as they are, and nothing comes in by the port any more.
func (e *ensuring) remove() error {
	routes, err := e.routes()
	if err != nil {
		return err
	}
	for _, r := range routes {
		if err := netlink.RouteDel(&r); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("remove the route to %s: %w", r.Dst, err)
		}
	}
	return e.strip()
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
