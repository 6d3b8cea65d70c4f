package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/safchain/ethtool"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

const (
	bridgeName = "underlay"
	uplink     = "eth0" // of each host
)

// makeUnderlay makes a namespace that has nothing but a bridge, so that the machine's own network does not see any of it.
func (l *Lab) makeUnderlay(ctx context.Context) error {
	began := time.Now()
	s, err := l.newSpace(ctx, "", func(first process) error {
		return l.note(func(r *record) { r.Underlay = first })
	})
	if err != nil {
		return fmt.Errorf("underlay: %w", err)
	}
	l.underlay = s
	nl, err := s.network()
	if err != nil {
		return fmt.Errorf("underlay: %w", err)
	}
	defer nl.Close()
	noSnooping := false // hosts would wait for queries that nobody sends
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: bridgeName}, MulticastSnooping: &noSnooping}
	if err := nl.LinkAdd(bridge); err != nil {
		return fmt.Errorf("underlay: make bridge: %w", err)
	}
	if err := nl.LinkSetUp(bridge); err != nil {
		return fmt.Errorf("underlay: %w", err)
	}
	l.done("", fmt.Sprintf("underlay %s", l.File.Underlay.CIDR), began)
	return nil
}

// plug gives a host its link: a veth pair whose one end is eth0 in the host, the other in the underlay by the host's name.
func (l *Lab) plug(h *Host) error {
	nl, err := l.underlay.network()
	if err != nil {
		return err
	}
	defer nl.Close()
	bridge, err := nl.LinkByName(bridgeName)
	if err != nil {
		return fmt.Errorf("underlay: %w", err)
	}
	ns, err := netns.GetFromPath(h.space.netns())
	if err != nil {
		return fmt.Errorf("open network namespace: %w", err)
	}
	defer ns.Close()
	veth := &netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: h.Name, MTU: l.File.mtu(h.Name), MasterIndex: bridge.Attrs().Index},
		PeerName:      uplink,
		PeerMTU:       uint32(l.File.mtu(h.Name)),
		PeerNamespace: netlink.NsFd(ns),
	}
	if err := nl.LinkAdd(veth); err != nil {
		return fmt.Errorf("make link: %w", err)
	}
	if err := nl.LinkSetUp(veth); err != nil {
		return fmt.Errorf("link up: %w", err)
	}
	return h.address(l.File.Underlay.CIDR.Bits())
}

// unplug removes a host's link, if it has one. The kernel does that too, but only some time after the host's last process.
func (l *Lab) unplug(host string) error {
	nl, err := l.underlay.network()
	if err != nil {
		return err
	}
	defer nl.Close()
	link, err := nl.LinkByName(host)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil
	} else if err != nil {
		return fmt.Errorf("link of %s: %w", host, err)
	}
	return nl.LinkDel(link)
}

// address sets up the host's end.
func (h *Host) address(bits int) error {
	nl, err := h.space.network()
	if err != nil {
		return err
	}
	defer nl.Close()
	link, err := nl.LinkByName(uplink)
	if err != nil {
		return fmt.Errorf("find %s: %w", uplink, err)
	}
	if err := nl.AddrAdd(link, &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(h.Address, bits))}); err != nil {
		return fmt.Errorf("address %s: %w", uplink, err)
	}
	if err := nl.LinkSetUp(link); err != nil {
		return fmt.Errorf("set %s up: %w", uplink, err)
	}
	return h.space.enter(withoutChecksumOffload)
}

// withoutChecksumOffload makes eth0 like a real NIC: a veth leaves checksums out, and the userspace datapath of the host at the
// other end passes them on like that.
func withoutChecksumOffload() error {
	e, err := ethtool.NewEthtool()
	if err != nil {
		return fmt.Errorf("ethtool: %w", err)
	}
	defer e.Close()
	if err := e.Change(uplink, map[string]bool{"tx-checksum-ip-generic": false}); err != nil {
		return fmt.Errorf("turn checksum offload of %s off: %w", uplink, err)
	}
	return nil
}

// SetLink takes a host's link to the underlay up or down: pulls its cable.
func (l *Lab) SetLink(host string, up bool) error {
	nl, err := l.underlay.network()
	if err != nil {
		return err
	}
	defer nl.Close()
	link, err := nl.LinkByName(host)
	if err != nil {
		return fmt.Errorf("link of %s: %w", host, err)
	}
	if up {
		return nl.LinkSetUp(link)
	}
	return nl.LinkSetDown(link)
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
