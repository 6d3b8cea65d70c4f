package agent

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/overlane/overlane/hostnet"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/ovs"
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

// underlayNIC is the one that tunnel packets leave by.
func (a *Agent) underlayNIC() (string, error) {
	if a.config.Uplink != "" && a.layout.Datapath == ovs.Userspace {
		return a.config.Uplink, nil
	}
	i, err := Underlay(a.view.VTEP)
	return i.Name, err
}

// lookAtHost looks how long a packet the underlay takes, and by what addresses others may reach this host. Where
// the former is not known it is 0.
func (a *Agent) lookAtHost(now time.Time) {
	if now.Sub(a.lookedAt) < countEvery {
		return
	}
	a.mtu, a.lookedAt = 0, now
	if i, err := Underlay(a.view.VTEP); err == nil {
		a.mtu = i.MTU
	}
	a.note(inAddresses, a.lookForAddresses())
	a.followReserved()
}

// lookForAddresses keeps those that were found last if it fails.
func (a *Agent) lookForAddresses() error {
	found, err := hostnet.Addresses()
	if err != nil {
		return err
	}
	found = slices.DeleteFunc(found, func(ip netip.Addr) bool { return ip == a.view.VTEP })
	if n := len(found); n > model.MaxAddresses {
		found, err = found[:model.MaxAddresses], fmt.Errorf("this host has %d addresses, and %d at most are told to the others; guard the rest by the host's own firewall", n, model.MaxAddresses)
	}
	a.addresses = found
	return err
}

// tooLong says which segment's packets the underlay cannot carry; the switch would drop them without a word.
func (a *Agent) tooLong() string {
	if a.mtu == 0 {
		return ""
	}
	for _, s := range a.view.Segments {
		if s.MTU+model.Overhead > a.mtu {
			return fmt.Sprintf("the underlay's MTU is %d, too small for %s, whose %d bytes need %d", a.mtu, s.Subnet, s.MTU, s.MTU+model.Overhead)
		}
	}
	return ""
}
