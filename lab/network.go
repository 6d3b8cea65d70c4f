package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/safchain/ethtool"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sync/errgroup"
)

// The networks of a lab.
const (
	underlayNet = "underlay"
	uplinkNet   = "uplink"
	internetNet = "internet"
)

// network is one of them.
type network struct {
	name  string
	field string // of the file
	cidr  netip.Prefix
}

// nic is an interface of a machine.
type nic struct {
	name    string
	network string
	mtu     int          // bytes of IP
	address netip.Prefix // the zero value: none
}

// A host's first interface is on the underlay, its second on the uplink network.
const firstNIC, secondNIC = "eth0", "eth1"

// bridgeName is no name of a machine, whose links are beside the bridge.
const bridgeName = "lab_bridge"

func (l *Lab) makeNetworks(ctx context.Context) error {
	all, ctx := errgroup.WithContext(ctx)
	for _, n := range l.File.networks() {
		all.Go(func() error {
			if err := l.makeNetwork(ctx, n); err != nil {
				return fmt.Errorf("network %s: %w", n.name, err)
			}
			return nil
		})
	}
	return all.Wait()
}

// makeNetwork makes a namespace that has nothing but a bridge, so that the machine's own network does not see any of
// it.
func (l *Lab) makeNetwork(ctx context.Context, n network) error {
	began := time.Now()
	s, err := l.newSpace(ctx, "", func(first process) error {
		return l.note(func(r *record) { r.Networks[n.name] = first })
	})
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.networks[n.name] = s
	l.mu.Unlock()
	nl, err := s.network()
	if err != nil {
		return err
	}
	defer nl.Close()
	noSnooping := false // hosts would wait for queries that nobody sends
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: bridgeName}, MulticastSnooping: &noSnooping}
	if err := nl.LinkAdd(bridge); err != nil {
		return fmt.Errorf("make bridge: %w", err)
	}
	if err := nl.LinkSetUp(bridge); err != nil {
		return err
	}
	l.done("", fmt.Sprintf("%s %s", n.name, n.cidr), began)
	return nil
}

// plug gives a machine a link: a veth pair whose one end is the interface in the machine, the other in the network by
// the machine's name.
func (m *Machine) plug(n nic) error {
	nl, err := m.lab.networks[n.network].network()
	if err != nil {
		return err
	}
	defer nl.Close()
	bridge, err := nl.LinkByName(bridgeName)
	if err != nil {
		return fmt.Errorf("network %s: %w", n.network, err)
	}
	ns, err := netns.GetFromPath(m.Netns())
	if err != nil {
		return fmt.Errorf("open network namespace: %w", err)
	}
	defer ns.Close()
	veth := &netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: m.Name, MTU: n.mtu, MasterIndex: bridge.Attrs().Index},
		PeerName:      n.name,
		PeerMTU:       uint32(n.mtu),
		PeerNamespace: netlink.NsFd(ns),
	}
	if err := nl.LinkAdd(veth); err != nil {
		return fmt.Errorf("make link of %s: %w", n.name, err)
	}
	if err := nl.LinkSetUp(veth); err != nil {
		return fmt.Errorf("link of %s up: %w", n.name, err)
	}
	if err := m.configure(n); err != nil {
		return err
	}
	return errors.Join(m.space.enter(func() error { return noticeLink(n.name) }), m.lab.networks[n.network].enter(func() error { return noticeLink(m.Name) }))
}

// unplug removes a machine's links, if it has any. The kernel does that too, but only some time after the machine's
// last process.
func (l *Lab) unplug(machine string) error {
	for name, s := range l.networks {
		if err := s.unplug(machine); err != nil {
			return fmt.Errorf("network %s: %w", name, err)
		}
	}
	return nil
}

func (s *space) unplug(machine string) error {
	nl, err := s.network()
	if err != nil {
		return err
	}
	defer nl.Close()
	link, err := nl.LinkByName(machine)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil
	} else if err != nil {
		return fmt.Errorf("link of %s: %w", machine, err)
	}
	return nl.LinkDel(link)
}

// configure sets up the machine's end.
func (m *Machine) configure(n nic) error {
	nl, err := m.space.network()
	if err != nil {
		return err
	}
	defer nl.Close()
	link, err := nl.LinkByName(n.name)
	if err != nil {
		return fmt.Errorf("find %s: %w", n.name, err)
	}
	if n.network != underlayNet {
		if err := m.space.enter(func() error { return withoutIPv6(n.name) }); err != nil {
			return err
		}
	}
	if n.address.IsValid() {
		if err := nl.AddrAdd(link, &netlink.Addr{IPNet: ipNet(n.address)}); err != nil {
			return fmt.Errorf("address %s: %w", n.name, err)
		}
	}
	if err := nl.LinkSetUp(link); err != nil {
		return fmt.Errorf("set %s up: %w", n.name, err)
	}
	return m.space.enter(func() error { return withoutChecksumOffload(n.name) })
}

// addDefaultRoute leads by the first interface.
func (m *Machine) addDefaultRoute() error {
	nl, err := m.space.network()
	if err != nil {
		return err
	}
	defer nl.Close()
	link, err := nl.LinkByName(firstNIC)
	if err != nil {
		return fmt.Errorf("find %s: %w", firstNIC, err)
	}
	if err := nl.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: m.gateway.AsSlice()}); err != nil {
		return fmt.Errorf("default route via %s: %w", m.gateway, err)
	}
	return nil
}

// withoutIPv6 keeps what the kernel says unasked off a network that has no IPv6.
func withoutIPv6(nic string) error {
	err := os.WriteFile("/proc/sys/net/ipv6/conf/"+nic+"/disable_ipv6", []byte("1"), 0)
	if errors.Is(err, fs.ErrNotExist) { // the kernel has none either
		return nil
	}
	return err
}

// withoutChecksumOffload makes an interface like a real NIC: a veth leaves checksums out, and the userspace datapath of
// the host at the other end passes them on like that.
func withoutChecksumOffload(nic string) error {
	e, err := ethtool.NewEthtool()
	if err != nil {
		return fmt.Errorf("ethtool: %w", err)
	}
	defer e.Close()
	if err := e.Change(nic, map[string]bool{"tx-checksum-ip-generic": false}); err != nil {
		return fmt.Errorf("turn checksum offload of %s off: %w", nic, err)
	}
	return nil
}

// noticeLink has the kernel use at once what it else finds up to a second later: that an interface has a link. It is
// that slow where both ends of a veth have the same number, each in its namespace.
func noticeLink(nic string) error {
	e, err := ethtool.NewEthtool()
	if err != nil {
		return fmt.Errorf("ethtool: %w", err)
	}
	defer e.Close()
	up, err := e.LinkState(nic)
	if err == nil && up == 0 {
		err = errors.New("it is down")
	}
	if err != nil {
		return fmt.Errorf("link of %s: %w", nic, err)
	}
	return nil
}

// SetLink takes the link of a machine's eth0 up or down: pulls its cable.
func (l *Lab) SetLink(machine string, up bool) error {
	m := l.Machine(machine)
	if m == nil {
		return fmt.Errorf("lab %s has no machine %s", l.File.Name, machine)
	}
	return m.SetLink(firstNIC, up)
}

// SetLink takes the link of an interface up or down. A host's eth1 is its uplink; the router has eth0 on the underlay,
// eth1 on the uplink network and eth2 on the internet network.
func (m *Machine) SetLink(nicName string, up bool) error {
	i := slices.IndexFunc(m.nics, func(n nic) bool { return n.name == nicName })
	if i < 0 {
		return fmt.Errorf("%s has no interface %s", m.Name, nicName)
	}
	nl, err := m.lab.networks[m.nics[i].network].network()
	if err != nil {
		return err
	}
	defer nl.Close()
	link, err := nl.LinkByName(m.Name)
	if err != nil {
		return fmt.Errorf("link of %s of %s: %w", nicName, m.Name, err)
	}
	if up {
		return nl.LinkSetUp(link)
	}
	return nl.LinkSetDown(link)
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
