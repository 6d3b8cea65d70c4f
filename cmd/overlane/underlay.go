package main

import (
	"fmt"
	"net"
	"net/netip"
)

// localAddresses are the addresses of this machine's interfaces, with their prefixes.
func localAddresses() []netip.Prefix {
	var found []netip.Prefix
	addresses, _ := net.InterfaceAddrs() // none: then the machine has none to tell
	for _, a := range addresses {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			found = append(found, p)
		}
	}
	return found
}

// addressTowards is the local address that packets to a server leave from. It sends nothing.
func addressTowards(server string) (netip.Addr, error) {
	c, err := net.Dial("udp", server)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("find this machine's address towards %s: %w", server, err)
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap(), nil
}

// underlay is the interface that holds the VTEP's address.
func underlay(address netip.Addr) (net.Interface, error) {
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
