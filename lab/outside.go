package lab

import (
	"fmt"
	"net/netip"
	"slices"
)

// Outside is what lies beyond the underlay: a router, which has the first address of each network, and machines behind
// it.
type Outside struct {
	Internet netip.Prefix  `json:"internet,omitzero"`  // network of the machines; 198.51.100.0/24
	Uplink   netip.Prefix  `json:"uplink,omitzero"`    // network of the hosts that have an uplink; 203.0.113.0/24
	Machines []MachineSpec `json:"machines,omitempty"` // without Open vSwitch and Overlane
	Routes   []Route       `json:"routes,omitempty"`   // of the router
}

// MachineSpec is a machine outside.
type MachineSpec struct {
	Name    string     `json:"name"`
	Address netip.Addr `json:"address,omitzero"` // on the internet network; the first free one from number 10 on
}

// Route is a static route of the router. With several next hops each connection takes one of them (ECMP).
type Route struct {
	To  netip.Prefix `json:"to"`
	Via []netip.Addr `json:"via"`
}

// routerName is a machine's in every lab with an outside.
const routerName = "router"

// The defaults of an outside; RFC 5737 keeps them for documentation.
var (
	defaultInternet = netip.MustParsePrefix("198.51.100.0/24")
	defaultUplink   = netip.MustParsePrefix("203.0.113.0/24")
)

// firstOutside is the number of the first address that a machine outside gets.
const firstOutside = 10

// completed is a copy with all defaults.
func (o Outside) completed() *Outside {
	if !o.Internet.IsValid() {
		o.Internet = defaultInternet
	}
	if !o.Uplink.IsValid() {
		o.Uplink = defaultUplink
	}
	o.Internet, o.Uplink = o.Internet.Masked(), o.Uplink.Masked()
	o.Machines, o.Routes = slices.Clone(o.Machines), slices.Clone(o.Routes)
	taken := map[netip.Addr]bool{}
	for _, m := range o.Machines {
		taken[m.Address] = true
	}
	next := nth(o.Internet, firstOutside-1)
	for i := range o.Machines {
		if !o.Machines[i].Address.IsValid() {
			next = freeAfter(next, taken)
			o.Machines[i].Address = next
		}
	}
	return &o
}

func (f *File) checkOutside() error {
	if f.Outside == nil {
		for _, h := range f.Hosts {
			if h.Uplink || h.UplinkAddress.IsValid() {
				return fmt.Errorf("host %s: an uplink leads outside, and there is no outside; say outside: {}", h.Name)
			}
		}
		return nil
	}
	for _, check := range []func() error{f.checkNetworks, f.checkUplinks, f.checkMachines, f.checkRoutes} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (f *File) checkNetworks() error {
	all := f.networks()
	for i, n := range all[1:] {
		if !n.cidr.Addr().Is4() || n.cidr.Bits() > 30 {
			return fmt.Errorf("%s %s: give an IPv4 network of four addresses or more", n.field, n.cidr)
		}
		for _, other := range all[:i+1] {
			if n.cidr.Overlaps(other.cidr) {
				return fmt.Errorf("%s %s overlaps %s %s; give it a network of its own", n.field, n.cidr, other.field, other.cidr)
			}
		}
	}
	return nil
}

// checkUplinks keeps hosts off what is the router's, too.
func (f *File) checkUplinks() error {
	n, at := f.networks()[1], map[netip.Addr]string{}
	for _, h := range f.Hosts {
		if h.Name == routerName {
			return fmt.Errorf("host %s: that is the name of the outside's router; choose another one", h.Name)
		}
		if router := nth(f.Underlay.CIDR, 1); h.Address == router {
			return fmt.Errorf("host %s: address %s is that of the outside's router; choose another one", h.Name, router)
		}
		if !h.UplinkAddress.IsValid() {
			continue
		}
		if !h.Uplink {
			return fmt.Errorf("host %s: uplinkAddress %s without an uplink; say uplink: true", h.Name, h.UplinkAddress)
		}
		if err := n.admit(h.UplinkAddress, at); err != nil {
			return fmt.Errorf("host %s: uplinkAddress %w", h.Name, err)
		}
		at[h.UplinkAddress] = "host " + h.Name
	}
	return nil
}

func (f *File) checkMachines() error {
	n, seen, at := f.networks()[2], map[string]bool{routerName: true}, map[netip.Addr]string{}
	for _, m := range f.Outside.Machines {
		if !nameRule().MatchString(m.Name) {
			return fmt.Errorf("outside.machines: name %q: use up to 15 letters a-z, digits and hyphens", m.Name)
		}
		if seen[m.Name] || f.host(m.Name) != nil {
			return fmt.Errorf("outside.machines: the name %s is taken; choose another one", m.Name)
		}
		if err := n.admit(m.Address, at); err != nil {
			return fmt.Errorf("machine %s: address %w", m.Name, err)
		}
		seen[m.Name], at[m.Address] = true, "machine "+m.Name
	}
	return nil
}

// admit refuses an address that a machine cannot have on the network, where others have theirs.
func (n network) admit(a netip.Addr, others map[netip.Addr]string) error {
	switch {
	case !n.cidr.Contains(a):
		return fmt.Errorf("%s is outside of %s %s", a, n.field, n.cidr)
	case a == nth(n.cidr, 0) || !n.cidr.Contains(a.Next()):
		return fmt.Errorf("%s is the first or last of %s %s, which no machine can have", a, n.field, n.cidr)
	case a == nth(n.cidr, 1):
		return fmt.Errorf("%s is that of the outside's router; choose another one", a)
	case others[a] != "":
		return fmt.Errorf("%s is that of %s; choose another one", a, others[a])
	}
	return nil
}

func (f *File) checkRoutes() error {
	seen := map[netip.Prefix]bool{}
	for i, r := range f.Outside.Routes {
		where := fmt.Sprintf("outside.routes[%d]", i)
		switch {
		case !r.To.IsValid() || !r.To.Addr().Is4():
			return fmt.Errorf("%s: give an IPv4 network in to, like to: 192.0.2.0/24", where)
		case r.To != r.To.Masked():
			return fmt.Errorf("%s: %s is an address in a network; the network is %s", where, r.To, r.To.Masked())
		case seen[r.To]:
			return fmt.Errorf("%s: %s is given twice; put all next hops into one via", where, r.To)
		case len(r.Via) == 0:
			return fmt.Errorf("%s: %s has no next hop; give addresses in via", where, r.To)
		}
		seen[r.To] = true
		for _, n := range f.networks() {
			if r.To == n.cidr.Masked() {
				return fmt.Errorf("%s: the router is on %s %s itself; leave the route out", where, n.field, r.To)
			}
		}
		for _, via := range r.Via {
			if err := f.checkNextHop(via); err != nil {
				return fmt.Errorf("%s: via %w", where, err)
			}
		}
	}
	return nil
}

// checkNextHop does not ask whose address it is: a host may take it later.
func (f *File) checkNextHop(a netip.Addr) error {
	for _, n := range f.networks() {
		if n.cidr.Contains(a) {
			return n.admit(a, nil)
		}
	}
	return fmt.Errorf("%s is on no network of the router; give an address of underlay, uplink or internet", a)
}

// networks are the underlay and, if there is an outside, uplink and internet.
func (f *File) networks() []network {
	all := []network{{underlayNet, "underlay.cidr", f.Underlay.CIDR}}
	if o := f.Outside; o != nil {
		all = append(all, network{uplinkNet, "outside.uplink", o.Uplink}, network{internetNet, "outside.internet", o.Internet})
	}
	return all
}

// names are the names of all machines.
func (f *File) names() (names []string) {
	for _, h := range f.Hosts {
		names = append(names, h.Name)
	}
	if f.Outside != nil {
		names = append(names, routerName)
		for _, m := range f.Outside.Machines {
			names = append(names, m.Name)
		}
	}
	return names
}

func (f *File) hasMachine(name string) bool {
	return f.Outside != nil && slices.ContainsFunc(f.Outside.Machines, func(m MachineSpec) bool { return m.Name == name })
}

func (f File) withoutMachine(name string) File {
	o := *f.Outside
	o.Machines = slices.DeleteFunc(slices.Clone(o.Machines), func(m MachineSpec) bool { return m.Name == name })
	f.Outside = &o
	return f
}

// gateway is the router's address on a network; the zero value if there is no router.
func (f *File) gateway(network string) netip.Addr {
	if f.Outside == nil {
		return netip.Addr{}
	}
	for _, n := range f.networks() {
		if n.name == network {
			return nth(n.cidr, 1)
		}
	}
	return netip.Addr{}
}

func (f *File) hostNICs(h HostSpec) []nic {
	nics := []nic{{firstNIC, underlayNet, f.mtu(h.Name), netip.PrefixFrom(h.Address, f.Underlay.CIDR.Bits())}}
	if h.Uplink {
		nics = append(nics, nic{secondNIC, uplinkNet, defaultMTU, netip.PrefixFrom(h.UplinkAddress, f.Outside.Uplink.Bits())})
	}
	return nics
}

func (f *File) machineNICs(m MachineSpec) []nic {
	return []nic{{firstNIC, internetNet, defaultMTU, netip.PrefixFrom(m.Address, f.Outside.Internet.Bits())}}
}

// routerNICs are one on each network.
func (f *File) routerNICs() (nics []nic) {
	for i, n := range f.networks() {
		mtu := defaultMTU
		if n.name == underlayNet {
			mtu = f.Underlay.MTU
		}
		nics = append(nics, nic{fmt.Sprintf("eth%d", i), n.name, mtu, netip.PrefixFrom(nth(n.cidr, 1), n.cidr.Bits())})
	}
	return nics
}

// outsiders are the router and the machines outside, as the file has them.
func (l *Lab) outsiders() (all []*Machine) {
	o := l.File.Outside
	if o == nil {
		return nil
	}
	router := newMachine(l, routerName, l.File.routerNICs(), netip.Addr{})
	router.router = true
	all = append(all, router)
	for _, spec := range o.Machines {
		all = append(all, newMachine(l, spec.Name, l.File.machineNICs(spec), l.File.gateway(internetNet)))
	}
	return all
}
