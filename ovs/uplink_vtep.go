package ovs

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/overlane/overlane/netdump"
)

// CheckVTEP checks whether tunnels can leave from an address of this host; the error says what to do if not. On the
// kernel datapath any interface will do; on the userspace datapath the address must be on the own interface of a bridge
// of the same datapath.
func (db *DB) CheckVTEP(vtep netip.Addr, datapath string) error {
	name, err := interfaceOf(vtep)
	if err != nil {
		return fmt.Errorf("find the interface of %s: %w", vtep, err)
	}
	if name == "" {
		return fmt.Errorf("no interface of this host has the address %s that its tunnels are to leave from; give the host's underlay address", vtep)
	}
	if datapath != Userspace {
		return nil
	}
	r := db.rows()
	b := r.bridgeOf(name)
	switch {
	case b != nil && b.DatapathType == Userspace:
		return nil
	case b != nil:
		return fmt.Errorf("the address %s of this host's tunnels is on %s of bridge %s, which is not on the userspace datapath as Overlane's bridge is; "+
			"choose the same datapath for both", vtep, name, b.Name)
	}
	return fmt.Errorf("this kernel has no openvswitch module, and Open vSwitch's userspace datapath sends tunnels through a bridge only, "+
		"but the address %s of this host's tunnels is on %s; have Overlane move the interface and its addresses into a bridge (--uplink %s; "+
		"the move is rolled back if the server becomes unreachable), or load the module", vtep, name, name)
}

// interfaceOf gives "" if no interface has the address.
func interfaceOf(ip netip.Addr) (string, error) {
	addresses, err := netdump.List(func() ([]netlink.Addr, error) { return netlink.AddrList(nil, unix.AF_UNSPEC) })
	if err != nil {
		return "", err
	}
	for _, a := range addresses {
		if got, ok := netip.AddrFromSlice(a.IP); ok && got.Unmap() == ip {
			link, err := netlink.LinkByIndex(a.LinkIndex)
			if err != nil {
				return "", err
			}
			return link.Attrs().Name, nil
		}
	}
	return "", nil
}
