package hostnet

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/overlane/overlane/internal/nlerr"
	"github.com/overlane/overlane/netdump"
)

// Addresses of the Range that the switch's ports have, or that their routes lead by. No VPC is translated to them.
const (
	snatOwn = iota
	snatGateway
	underlayOwn
	underlayGateway
	edgeOwn // the ports to edges share one: it only shows the kernel that they may take packets in
)

// nth is an address of the Range.
func nth(of netip.Prefix, n int) netip.Addr {
	a := of.Addr()
	for range n {
		a = a.Next()
	}
	return a
}

// port is one of the switch's, by which the kernel is sent packets or sends some.
type port struct {
	name    string
	own     netip.Addr // without one, the kernel takes in packets only if it has a route back, or looks at no sources
	gateway netip.Addr // nobody has it, and its MAC is permanent, so no ARP is needed; none: the kernel sends nothing here
	mac     [6]byte    // of the gateway
	filter  string     // of sources: rp_filter

	link    netlink.Link
	changed bool
}

// prepare goes in the order that the kernel wants: an address of IPv6 would come with the interface up.
func (p *port) prepare() (err error) {
	p.link, err = netlink.LinkByName(p.name)
	if nlerr.NotFound(err) {
		return errors.New("there is no such interface; the switch makes it with the integration bridge's port of that name")
	}
	if err != nil {
		return err
	}
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"set sysctl", p.setSysctls},
		{"set up", p.setUp},
		{"set address " + p.own.String(), p.setAddress},
		{"set neighbour " + p.gateway.String(), p.setNeighbour},
	} {
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
	}
	return nil
}

// did notes that a step has changed something.
func (p *port) did(err error) error {
	p.changed = p.changed || err == nil
	return err
}

type sysctl struct{ file, value string }

func (p *port) sysctls() []sysctl {
	return []sysctl{
		{"ipv6/conf/" + p.name + "/disable_ipv6", "1"},
		{forwardingOf(p.name), "1"},
		{sourceFilterOf(p.name), p.filter}, // the table knows the sources; that of all interfaces may be stricter
		{"ipv4/conf/" + p.name + "/accept_local", "0"},
		{"ipv4/conf/" + p.name + "/accept_redirects", "0"},
		{"ipv4/conf/" + p.name + "/accept_source_route", "0"},
		{"ipv4/conf/" + p.name + "/route_localnet", "0"},
		{"ipv4/conf/" + p.name + "/send_redirects", "0"},
	}
}

func (p *port) setSysctls() error {
	for _, s := range p.sysctls() {
		changed, err := setSysctl(s.file, s.value)
		if errors.Is(err, fs.ErrNotExist) && strings.HasPrefix(s.file, "ipv6/") {
			continue // a kernel without IPv6
		}
		if err != nil {
			return err
		}
		p.changed = p.changed || changed
	}
	return nil
}

func (p *port) setUp() error {
	if p.link.Attrs().Flags&net.FlagUp != 0 {
		return nil
	}
	return p.did(netlink.LinkSetUp(p.link))
}

// setAddress gives the port one that the kernel uses nowhere else, by its scope.
func (p *port) setAddress() error {
	addresses, err := addressesOf(p.link)
	if err != nil {
		return err
	}
	there := false
	for _, a := range addresses {
		if prefix(a.IPNet) == single(p.own) && a.Scope == unix.RT_SCOPE_LINK {
			there = true
		} else if err := p.did(netlink.AddrDel(p.link, &a)); err != nil {
			return err
		}
	}
	if there {
		return nil
	}
	return p.did(netlink.AddrAdd(p.link, &netlink.Addr{IPNet: ipNet(single(p.own)), Scope: unix.RT_SCOPE_LINK}))
}

func (p *port) setNeighbour() error {
	if !p.gateway.IsValid() {
		return nil
	}
	neighbours, err := permanentNeighbours(p.link)
	if err != nil {
		return err
	}
	there := false
	for _, n := range neighbours {
		if n.IP.Equal(p.gateway.AsSlice()) && string(n.HardwareAddr) == string(p.mac[:]) {
			there = true
		} else if err := p.did(netlink.NeighDel(&n)); err != nil {
			return err
		}
	}
	if there {
		return nil
	}
	return p.did(netlink.NeighSet(&netlink.Neigh{
		LinkIndex: p.link.Attrs().Index, Family: unix.AF_INET, State: netlink.NUD_PERMANENT, IP: p.gateway.AsSlice(), HardwareAddr: p.mac[:],
	}))
}

// stripPort takes addresses and neighbours away.
func stripPort(link netlink.Link) error {
	addresses, err := addressesOf(link)
	if err != nil {
		return err
	}
	neighbours, err := permanentNeighbours(link)
	if err != nil {
		return err
	}
	for _, a := range addresses {
		if err := nlerr.IgnoreNotFound(netlink.AddrDel(link, &a)); err != nil {
			return fmt.Errorf("remove address %s: %w", a.IPNet, err)
		}
	}
	for _, n := range neighbours {
		if err := nlerr.IgnoreNotFound(netlink.NeighDel(&n)); err != nil {
			return fmt.Errorf("remove neighbour %s: %w", n.IP, err)
		}
	}
	return nil
}

// addressesOf gives the IPv4 addresses of an interface; of all interfaces if it is nil.
func addressesOf(link netlink.Link) ([]netlink.Addr, error) {
	return netdump.List(func() ([]netlink.Addr, error) { return netlink.AddrList(link, unix.AF_INET) })
}

func permanentNeighbours(link netlink.Link) (permanent []netlink.Neigh, err error) {
	all, err := netdump.List(func() ([]netlink.Neigh, error) { return netlink.NeighList(link.Attrs().Index, unix.AF_INET) })
	for _, n := range all {
		if n.State == netlink.NUD_PERMANENT {
			permanent = append(permanent, n)
		}
	}
	return permanent, err
}
