package agent

import (
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/overlane/overlane/model"
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

// measureUnderlay looks how long a packet the underlay takes. Where that is not known it is 0.
func (a *Agent) measureUnderlay(now time.Time) {
	if now.Sub(a.mtuAt) < countEvery {
		return
	}
	a.mtu, a.mtuAt = 0, now
	if i, err := Underlay(a.view.VTEP); err == nil {
		a.mtu = i.MTU
	}
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
