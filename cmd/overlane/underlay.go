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
