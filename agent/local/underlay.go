package local

import (
	"fmt"
	"net"
	"net/netip"
)

// Underlay is the interface that holds the VTEP's address.
func Underlay(address netip.Addr) (net.Interface, error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return net.Interface{}, fmt.Errorf("list this machine's interfaces: %w", err)
	}
	for _, i := range interfaces {
		addresses, err := i.Addrs()
		if err != nil {
			continue // it has just gone
		}
		for _, a := range addresses {
			if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr() == address {
				return i, nil
			}
		}
	}
	return net.Interface{}, fmt.Errorf("no interface of this machine has the address %s; give one that it has with --address", address)
}
