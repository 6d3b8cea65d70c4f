package agent

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/overlane/overlane/agent/local"
	"github.com/overlane/overlane/hostnet"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/view"
)

// look looks how long a packet the underlay takes, and by what addresses others may reach this host, unless it has
// lately.
func (m *measured) look(vtep netip.Addr, now time.Time) {
	if now.Sub(m.lookedAt) < countEvery {
		return
	}
	m.mtu, m.lookedAt = 0, now
	if i, err := local.Underlay(vtep); err == nil {
		m.mtu = i.MTU
	}
	m.conditions.set(condAddresses, m.findAddresses(vtep))
}

// findAddresses keeps the last known addresses if it fails.
func (m *measured) findAddresses(vtep netip.Addr) error {
	found, err := hostnet.Addresses()
	if err != nil {
		return err
	}
	found = slices.DeleteFunc(found, func(ip netip.Addr) bool { return ip == vtep })
	if n := len(found); n > model.MaxAddresses {
		found, err = found[:model.MaxAddresses], fmt.Errorf("this host has %d addresses, and %d at most are told to the others; guard the rest by the host's own firewall", n, model.MaxAddresses)
	}
	m.addresses = found
	return err
}

// tooLong says which segment's packets the underlay cannot carry; the switch would drop them without a word.
func tooLong(v *view.View, mtu int) string {
	if mtu == 0 {
		return ""
	}
	for _, s := range v.Segments {
		if s.MTU+model.Overhead > mtu {
			return fmt.Sprintf("the underlay's MTU is %d, too small for %s, whose %d bytes need %d", mtu, s.Subnet, s.MTU, s.MTU+model.Overhead)
		}
	}
	return ""
}
