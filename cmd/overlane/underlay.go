package main

import (
	"fmt"
	"net"
	"net/netip"
)

// addressTowards is the local address that packets to a server leave from. It sends nothing.
func addressTowards(server string) (netip.Addr, error) {
	c, err := net.Dial("udp", server)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("find this machine's address towards %s: %w", server, err)
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap(), nil
}
