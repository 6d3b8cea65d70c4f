package hostnet

import (
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// Config is the whole of what the host's kernel must be for Overlane. Lists are sorted and have each element once.
// [Look] and [Config.With] fill in what is marked as a fact of the machine.
type Config struct {
	TunnelPort uint16       // of UDP, where tunnels end (RFC 7348 section 5: 4789)
	Peers      []netip.Addr // VTEPs of other hosts, which only the switch may send tunnel packets to
	Inbound    bool         // the kernel takes tunnel packets, so what is sent to it in a peer's name is dropped, too

	// Range has the addresses of the switch's ports for the kernel, and those that the switch translates to. Nobody sees them
	// outside of this host.
	Range netip.Prefix
	MAC   [6]byte // of the switch, as these ports see it

	// ForwardsAll is a fact: the host forwards for others, too. Else exits and underlay forward for Overlane alone.
	ForwardsAll bool

	SNAT   *SNAT       // nil: the kernel is sent nothing by the SNAT port
	Direct *DirectPath // nil: no public traffic passes over the underlay without a tunnel

	opened []string // interfaces that this Config or an earlier one has opened; [Kernel.Set] fills it in
}

// SNAT is the path from the switch's [SNATPort] to the outside and back. What the switch has translated to the Range
// leaves in the name of this host.
type SNAT struct {
	Masquerade bool         // a VPC leaves in this host's name
	Exits      []string     // a fact: interfaces by which it leaves; nobody else's network is reached
	Reserved   []netip.Addr // addresses of hosts and servers; like the host's own, they are reached by an allowance only
	Allow      []Allowance
	Copied     string // interface whose packets the switch has taken, and the kernel sees copies of; "": there is none
}

// Allowance lets one source reach what would be guarded.
type Allowance struct {
	Source netip.Addr
	To     netip.Prefix
}

// DirectPath is the kernel's part in the distributed design: public traffic goes over the underlay without a tunnel,
// between edges and the hosts of endpoints. Each address has a host, and is known on the underlay as it stands here.
// The kernel tracks no connection of it, since the two directions need not pass the same hosts.
//
// On a host of endpoints, what is for one of them goes to the [SNATPort]; what comes from the switch by the port of an
// edge goes to that edge, whatever its destination. On an edge, what comes from the switch by the [UnderlayPort] goes
// to the host of the address; what comes from such an address goes to the port, by a mark that the nftables table gives
// it.
type DirectPath struct {
	Host     string     // this host's name
	VTEP     netip.Addr // its address on the underlay
	Underlay string     // a fact: the interface that has it; "": none has

	Hosted []netip.Addr // of this host's endpoints; without SNAT there are none
	Edges  []Edge       // to which they send; without SNAT there are none

	IsEdge bool     // this host is one
	Remote []Remote // what it passes on
}

// Edge is another host, by which public traffic leaves. It is adjacent if its VTEP is on the network of this host's
// underlay interface: only then can it be handed packets for addresses that the underlay does not know.
type Edge struct {
	Host     string
	Port     string // of the switch, one of [EdgePorts]
	VTEP     netip.Addr
	Adjacent bool // a fact
}

// Remote is the address of an endpoint of another host, which is adjacent as an [Edge] may be.
type Remote struct {
	Address  netip.Addr
	Routed   bool // it is of that host's natPrefix, to which the underlay has routes
	Host     string
	VTEP     netip.Addr
	Adjacent bool // a fact
}

// closed are the interfaces that forward for Overlane alone. One that is no longer used is among them until it
// forwards no more.
func (c Config) closed() []string {
	if c.ForwardsAll {
		return nil
	}
	return distinct(append(c.used(), c.opened...))
}

// used are the interfaces that must forward.
func (c Config) used() (names []string) {
	if c.SNAT != nil {
		names = append(names, c.SNAT.Exits...)
	}
	if c.Direct != nil {
		names = append(names, c.Direct.Underlay)
	}
	return names
}

// forwards tells whether the table has anything to do with what the host forwards, but for tunnel packets.
func (c Config) forwards() bool { return c.SNAT != nil || c.Direct != nil || len(c.closed()) > 0 }

func (d DirectPath) remoteAddresses() []netip.Addr {
	all := make([]netip.Addr, len(d.Remote))
	for i, r := range d.Remote {
		all[i] = r.Address
	}
	return all
}

func (c Config) check() error {
	if err := allIPv4("peer", c.Peers); err != nil {
		return err
	}
	if c.SNAT == nil && c.Direct == nil {
		return nil
	}
	if !c.Range.Addr().Is4() || c.Range != c.Range.Masked() || c.Range.Bits() > 29 {
		return fmt.Errorf("natRange %s is no network of IPv4 that has room; give one such as 100.64.0.0/10", c.Range)
	}
	if c.SNAT != nil {
		if err := c.SNAT.check(); err != nil {
			return err
		}
	}
	if c.Direct != nil {
		return c.Direct.check()
	}
	return nil
}

func (n SNAT) check() error {
	for _, name := range n.Exits {
		if err := isInterface(name); err != nil {
			return err
		}
	}
	for _, a := range n.Allow {
		if !a.Source.Is4() || !a.To.Addr().Is4() {
			return fmt.Errorf("allowance of %s for %s is not of IPv4", a.To, a.Source)
		}
	}
	if n.Copied != "" {
		if err := isInterface(n.Copied); err != nil {
			return err
		}
	}
	return allIPv4("reserved address", n.Reserved)
}

func (d DirectPath) check() error {
	names := []string{}
	if d.Underlay != "" {
		names = append(names, d.Underlay)
	}
	for _, e := range d.Edges {
		names = append(names, e.Port)
	}
	for _, name := range names {
		if err := isInterface(name); err != nil {
			return err
		}
	}
	return allIPv4("public address", slices.Concat(d.Hosted, d.remoteAddresses()))
}

func isInterface(name string) error {
	if name == "" || len(name) >= unix.IFNAMSIZ {
		return fmt.Errorf("%q is no name of an interface; give one of 1 to %d bytes", name, unix.IFNAMSIZ-1)
	}
	return nil
}

func allIPv4(what string, addresses []netip.Addr) error {
	for _, a := range addresses {
		if !a.Is4() {
			return fmt.Errorf("%s %s is none of IPv4", what, a)
		}
	}
	return nil
}

// distinct sorts names, and has each of them once.
func distinct(names []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(names)))
}
