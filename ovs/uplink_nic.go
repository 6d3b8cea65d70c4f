package ovs

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"

	"github.com/overlane/overlane/offload"
)

// settings are the settings of a NIC that change while the switch has the NIC. The switch takes copies of packets, so
// the kernel must be kept from answering them as well; and it takes them as they come, so nothing may merge them or
// leave out checksums.
type settings struct {
	ARP      bool              `json:"arp"`
	Sysctl   map[string]string `json:"sysctl"`   // by path below /proc/sys/net
	Offloads map[string]bool   `json:"offloads"` // of features that the NIC has
}

// quiet are the settings while the switch has the NIC. A broadcast from 0.0.0.0 passes them, and is heard by sockets
// twice, by the NIC and by the bridge. It is the underlay's own, no tenant's, so there is no filter as on an endpoint's
// port: that would cut off VLANs on top of the NIC.
func quiet(nic netlink.Link) settings {
	name := nic.Attrs().Name
	s := settings{
		Sysctl: map[string]string{
			"ipv4/conf/" + name + "/rp_filter":    "1", // no route leads there any more, so no source is acceptable
			"ipv6/conf/" + name + "/disable_ipv6": "1",
		},
		Offloads: map[string]bool{"gro": false, "lro": false},
	}
	if nic.Type() == "veth" { // packets reach a veth without their checksums filled in
		s.Offloads["tx"] = false
	}
	return s
}

// readSettings gives the current values of the settings in quiet.
func readSettings(nic netlink.Link) (s settings, err error) {
	s = settings{ARP: nic.Attrs().RawFlags&flagNoARP == 0, Sysctl: map[string]string{}}
	want := quiet(nic)
	for path := range want.Sysctl {
		value, err := os.ReadFile("/proc/sys/net/" + path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a kernel without IPv6
		}
		if err != nil {
			return s, err
		}
		s.Sysctl[path] = strings.TrimSpace(string(value))
	}
	s.Offloads, err = offload.Read(nic.Attrs().Name, slices.Collect(maps.Keys(want.Offloads))...)
	return s, err
}

// flagNoARP is IFF_NOARP (linux/if.h).
const flagNoARP = 0x80

// silenced reports whether the kernel keeps out of the NIC's network.
func silenced(nic netlink.Link) bool { return nic.Attrs().RawFlags&flagNoARP != 0 }

// silence applies quiet to a NIC whose addresses have moved.
func silence(nic netlink.Link) error { return quiet(nic).apply(nic) }

func (s settings) apply(nic netlink.Link) error {
	name := nic.Attrs().Name
	setARP := netlink.LinkSetARPOff
	if s.ARP {
		setARP = netlink.LinkSetARPOn
	}
	if err := setARP(nic); err != nil {
		return fmt.Errorf("set ARP of %s: %w", name, err)
	}
	for path, value := range s.Sysctl {
		if err := os.WriteFile("/proc/sys/net/"+path, []byte(value), 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return offload.Apply(name, s.Offloads)
}
