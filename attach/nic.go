package attach

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/overlane/overlane/internal/nlerr"
	"github.com/overlane/overlane/netdump"
	"github.com/overlane/overlane/offload"
)

// NIC is the state of an interface of the host before a switch got it.
type NIC struct {
	ARP      bool              `json:"arp"`
	Sysctl   map[string]string `json:"sysctl"`   // by path below /proc/sys/net
	Offloads map[string]bool   `json:"offloads"` // of features that it has
}

// nicSysctl are the settings that [ClaimNIC] changes, by path below /proc/sys/net.
func nicSysctl(name string) []string {
	return []string{"ipv6/conf/" + name + "/disable_ipv6", "ipv4/conf/" + name + "/rp_filter", "ipv4/conf/" + name + "/forwarding",
		"ipv4/conf/" + name + "/drop_unicast_in_l2_multicast"}
}

// FreeNIC checks that the host does not use an interface, so that a switch may have it. The error is [ErrConflict] if
// it does, and [ErrNotFound] if there is no such interface.
func FreeNIC(name string) error {
	l, err := findNIC(name)
	if err != nil {
		return err
	}
	addresses, err := netdump.List(func() ([]netlink.Addr, error) { return netlink.AddrList(l, netlink.FAMILY_ALL) })
	if err != nil {
		return fmt.Errorf("list addresses of %s: %w", name, err)
	}
	for _, a := range addresses {
		if !a.IP.IsLinkLocalUnicast() || a.IP.To4() != nil {
			return fmt.Errorf("%w: interface %s has the address %s of this host; take that away, or name another interface", ErrConflict, name, a.IPNet)
		}
	}
	routes, err := netdump.List(func() ([]netlink.Route, error) { return netlink.RouteList(l, netlink.FAMILY_V4) })
	if err != nil {
		return fmt.Errorf("list routes by %s: %w", name, err)
	}
	for _, r := range routes {
		return fmt.Errorf("%w: this host's route to %s leads by interface %s; take that away, or name another interface", ErrConflict, routeTo(r), name)
	}
	return nil
}

func routeTo(r netlink.Route) string {
	if r.Dst == nil {
		return "everywhere"
	}
	return r.Dst.String()
}

func findNIC(name string) (netlink.Link, error) {
	l, err := netlink.LinkByName(name)
	if nlerr.NotFound(err) {
		return nil, fmt.Errorf("interface %s: %w", name, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("interface %s: %w", name, err)
	}
	return l, nil
}

// ReadNIC reads the settings that [ClaimNIC] changes.
func ReadNIC(name string) (NIC, error) {
	l, err := findNIC(name)
	if err != nil {
		return NIC{}, err
	}
	was := NIC{ARP: l.Attrs().RawFlags&unix.IFF_NOARP == 0, Sysctl: map[string]string{}}
	for _, path := range nicSysctl(name) {
		value, err := os.ReadFile("/proc/sys/net/" + path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a kernel without IPv6
		}
		if err != nil {
			return NIC{}, err
		}
		was.Sysctl[path] = strings.TrimSpace(string(value))
	}
	if was.Offloads, err = offload.Read(name, "gro", "lro", "tx"); err != nil {
		return NIC{}, err
	}
	return was, nil
}

// ClaimNIC keeps the host's own network stack out of an interface that a switch has, and sets the interface up. A
// second call changes nothing.
func ClaimNIC(name string, kernelDatapath bool) error {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("keep the host out of %s: %w", name, err)
	}
	defer h.Close()
	p := &plumbing{Request: Request{HostIf: name, ChecksumOffload: kernelDatapath}, host: h}
	if p.outer, err = findNIC(name); err != nil {
		return err
	}
	if err := p.isolateHostEnd(); err != nil {
		return fmt.Errorf("keep the host out of %s: %w", name, err)
	}
	if !kernelDatapath { // the switch reads copies of packets, so nothing may merge them or leave checksums out
		without := map[string]bool{"gro": false, "lro": false}
		if p.outer.Type() == "veth" { // packets reach a veth without their checksums filled in
			without["tx"] = false
		}
		if err := offload.Apply(name, without); err != nil {
			return err
		}
	}
	return p.setUp(h, p.outer)
}

// ReleaseNIC restores the settings of an interface. An interface that is gone is no error.
func ReleaseNIC(name string, was NIC) error {
	l, err := findNIC(name)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	setARP := netlink.LinkSetARPOff
	if was.ARP {
		setARP = netlink.LinkSetARPOn
	}
	err = setARP(l)
	filter := &netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{LinkIndex: l.Attrs().Index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT}}
	if gone := netlink.QdiscDel(filter); nlerr.IgnoreNotFound(gone) != nil && !errors.Is(gone, unix.EINVAL) {
		err = errors.Join(err, gone)
	}
	for path, value := range was.Sysctl {
		err = errors.Join(err, os.WriteFile("/proc/sys/net/"+path, []byte(value), 0))
	}
	if err = errors.Join(err, offload.Apply(name, was.Offloads)); err != nil {
		return fmt.Errorf("give interface %s back to the host: %w", name, err)
	}
	return nil
}

// HasLink reports whether an interface is up and its cable is plugged in.
func HasLink(name string) (bool, error) {
	l, err := findNIC(name)
	if err != nil {
		return false, err
	}
	return l.Attrs().Flags&net.FlagUp != 0 && l.Attrs().RawFlags&unix.IFF_LOWER_UP != 0, nil
}
