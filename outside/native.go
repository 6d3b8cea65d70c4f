package outside

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/overlane/overlane/netdump"
)

// Native is the kernel's part in carrying public traffic over the underlay as it is, without a tunnel, between edges and the hosts of endpoints. Each
// address has a host, and is known on the underlay as it stands here.
//
// On a host of endpoints, what is for one of them goes to the port of [Way]; what comes from the switch by the port of an edge goes to that edge, wherever
// it is for. On an edge, what comes from the switch by the passage's port goes to the host of the address; what comes from one goes there, by a mark
// that the firewall gives it.
type Native struct {
	Host  string       // this host's name
	VTEP  netip.Addr   // its address on the underlay
	Range netip.Prefix // of [Way]; of its first addresses, those that are not the way's
	MAC   [6]byte      // of the switch, as the ports see it

	Outside string       // port of [Way], which is ensured before this
	Hosted  []netip.Addr // of this host's endpoints
	Edges   []Edge

	Passage string   // port of an edge; "": this host is none
	Passed  []Passed // of other hosts' endpoints
	Mark    uint32   // of what comes from those
	Mask    uint32   // of its bits
}

// Edge is another host, by which public traffic leaves.
type Edge struct {
	Host string
	Port string // of the switch; what comes in by it is for this edge
	VTEP netip.Addr
}

// Passed is the address of an endpoint of another host.
type Passed struct {
	Address netip.Addr
	Routed  bool // it is of that host's natPrefix, to which the underlay has routes
	Host    string
	VTEP    netip.Addr
}

// Carried is what works.
type Carried struct {
	Changed  bool
	Underlay string   // interface of the VTEP
	Closed   bool     // it forwards for this only: the firewall is to close it to others
	Opened   []string // it, if it has not forwarded before
	Edges    []string // hosts that are led to
	Passage  bool
}

// NotAdjacent says that a host cannot hand packets to another one, since there is a router between them that does not know the addresses.
type NotAdjacent struct {
	From, To string // hosts
	VTEP     netip.Addr
	Underlay string     // interface of the host
	Address  netip.Addr // public; none: all, towards an edge
}

func (e NotAdjacent) Error() string {
	if e.Address.IsValid() {
		return fmt.Sprintf("edge %s cannot send public address %s unchanged to host %s: its address %s is not on the network of %s; give host %s a natPrefix that the underlay routes to it, or the InternetGateway design central",
			e.From, e.Address, e.To, e.VTEP, e.Underlay, e.To)
	}
	return fmt.Sprintf("host %s cannot send to edge %s: its address %s is not on the network of %s; put both on one network, or give the InternetGateway design central",
		e.From, e.To, e.VTEP, e.Underlay)
}

// Tables and rules are told from others' by their protocol, which the kernel keeps and nobody else uses. An agent that starts finds its own by it.
const protocol = 0x4f

// Numbers of tables. Those of edges end in the index of the port, which no other interface of the host has.
const (
	hostedTable = 0x4f000000 + iota
	passedTable
	markedTable

	edgeTables = 0x4f100000
)

// Priorities of rules: after the host's own addresses and Cilium's (9 to 111), before the rules of VPNs, which take in everything (Tailscale 5210, WireGuard
// 32764), and the main table (32766). Packets of the switch's ports come first: they are for others, even if their destination is hosted here.
const (
	edgeRule = 0x4f0 + iota
	passedRule
	markedRule
	hostedRule
)

// Third of the range and those that follow. The ports of edges share one: it only shows the kernel that they may take packets in.
const (
	passageOwn = 2 + iota
	passageGateway
	edgeOwn
)

func (n Native) nth(i int) netip.Addr {
	a := n.Range.Addr()
	for range i {
		a = a.Next()
	}
	return a
}

func (n Native) wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("public traffic over the underlay: %w", err)
}

// EnsureNative makes what is missing, and takes away what is there of others than these. Where all is as it should be it changes nothing. An edge that
// cannot be sent to keeps no other from working.
func EnsureNative(n Native) (Carried, error) {
	if err := (Way{Range: n.Range}).check(); err != nil {
		return Carried{}, n.wrap(err)
	}
	h, err := newHandle()
	if err != nil {
		return Carried{}, n.wrap(err)
	}
	defer h.Close()
	c := carrying{Native: n, handle: h, adjacent: map[netip.Addr]bool{}}
	err = c.ensure()
	return c.done, n.wrap(err)
}

// RemoveNative takes rules and routes away. The ports are their bridge's, and sysctls stay as they are.
func RemoveNative() error {
	h, err := newHandle()
	if err == nil {
		defer h.Close()
		err = errors.Join((&carrying{handle: h}).setRules(nil), forget(h))
	}
	return Native{}.wrap(err)
}

// newHandle gives one that has the kernel list what was asked for only.
func newHandle() (*netlink.Handle, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err == nil {
		err = h.SetStrictCheck(true)
	}
	return h, err
}

// forget empties tables, with or without a rule.
func forget(h *netlink.Handle) error {
	routes, err := netdump.List(func() ([]netlink.Route, error) {
		return h.RouteListFiltered(unix.AF_INET, &netlink.Route{Protocol: protocol, Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_PROTOCOL|netlink.RT_FILTER_TABLE)
	})
	if err != nil {
		return fmt.Errorf("list routes: %w", err)
	}
	for _, r := range routes {
		if err := h.RouteDel(&r); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("remove the route to %s: %w", r.Dst, err)
		}
	}
	return nil
}

// carrying is one call.
type carrying struct {
	Native
	handle   *netlink.Handle
	index    int // of the underlay's interface
	adjacent map[netip.Addr]bool
	rules    []rule
	done     Carried
}

func (c *carrying) ensure() error {
	if err := c.findUnderlay(); err != nil {
		return err
	}
	if err := c.openUnderlay(); err != nil {
		return err
	}
	err := c.setHosted()
	for _, e := range c.Edges {
		if failed := c.setEdge(e); failed != nil {
			err = errors.Join(err, failed)
			continue
		}
		c.done.Edges = append(c.done.Edges, e.Host)
	}
	if c.Passage != "" {
		ready, failed := c.setPassage()
		c.done.Passage = ready
		err = errors.Join(err, failed)
	}
	return errors.Join(err, c.setRules(c.rules))
}

// findUnderlay finds the interface that has the VTEP.
func (c *carrying) findUnderlay() error {
	addresses, err := netdump.List(func() ([]netlink.Addr, error) { return netlink.AddrList(nil, unix.AF_INET) })
	if err != nil {
		return fmt.Errorf("list addresses: %w", err)
	}
	for _, a := range addresses {
		if prefix(a.IPNet).Addr() == c.VTEP {
			c.index = a.LinkIndex
		}
	}
	if c.index == 0 {
		return fmt.Errorf("no interface of this host has its address %s; give one that it has in the agent's configuration", c.VTEP)
	}
	link, err := netlink.LinkByIndex(c.index)
	if err != nil {
		return fmt.Errorf("find the interface of %s: %w", c.VTEP, err)
	}
	c.done.Underlay = link.Attrs().Name
	return nil
}

// openUnderlay has the underlay's interface forward, and take in what has come from anywhere: the way back is by another one.
func (c *carrying) openUnderlay() error {
	closed, opened, err := OpenForwarding([]string{c.done.Underlay})
	if err != nil {
		return err
	}
	c.done.Closed, c.done.Opened = len(closed) > 0, opened
	all, err := readSysctl("ipv4/conf/all/rp_filter")
	if err != nil {
		return err
	}
	file := "ipv4/conf/" + c.done.Underlay + "/rp_filter"
	own, err := readSysctl(file)
	if err != nil {
		return err
	}
	if max(all, own) == "1" {
		own = "2"
		set, err := setSysctl(file, own)
		if err != nil {
			return err
		}
		c.done.Changed = c.done.Changed || set
	}
	if max(all, own) == "0" {
		return nil
	}
	_, err = netlink.RouteGet(anywhere.AsSlice())
	if errors.Is(err, unix.ENETUNREACH) || errors.Is(err, unix.EHOSTUNREACH) {
		return fmt.Errorf("this host has no default route, so that rp_filter drops what comes from outside; give it one, or set net.ipv4.conf.all.rp_filter and that of %s to 0", c.done.Underlay)
	}
	return err
}

// anywhere is an address that nobody has (RFC 5737).
var anywhere = netip.AddrFrom4([4]byte{192, 0, 2, 1})

func (c *carrying) setHosted() error {
	if len(c.Hosted) == 0 {
		return c.setRoutes(hostedTable, nil)
	}
	link, err := netlink.LinkByName(c.Outside)
	if err != nil {
		return fmt.Errorf("lead public addresses to %s: %w", c.Outside, err)
	}
	routes := make([]route, len(c.Hosted))
	for i, a := range c.Hosted {
		routes[i] = route{to: single(a), via: c.nth(1), by: link.Attrs().Index}
	}
	c.rules = append(c.rules, rule{priority: hostedRule, table: hostedTable})
	return c.setRoutes(hostedTable, routes)
}

func (c *carrying) setEdge(e Edge) error {
	p := port{name: e.Port, own: c.nth(edgeOwn), filter: "2"}
	if err := p.prepare(); err != nil {
		return fmt.Errorf("edge %s by %s: %w", e.Host, e.Port, err)
	}
	c.done.Changed = c.done.Changed || p.changed
	is, err := c.isAdjacent(e.VTEP)
	if err != nil {
		return fmt.Errorf("edge %s by %s: %w", e.Host, e.Port, err)
	}
	via, table := route{to: everything, via: e.VTEP, by: c.index}, edgeTables+p.link.Attrs().Index
	if !is {
		via, err = nowhere(everything), NotAdjacent{From: c.Host, To: e.Host, VTEP: e.VTEP, Underlay: c.done.Underlay}
	}
	c.rules = append(c.rules, rule{priority: edgeRule, table: table, iif: e.Port})
	last := nowhere(everything) // while the underlay's interface is down
	last.metric = 1
	return errors.Join(err, c.setRoutes(table, []route{via, last}))
}

// setPassage reports whether the passage works, be it not to every host.
func (c *carrying) setPassage() (ready bool, err error) {
	filter, err := readSysctl("ipv4/conf/all/rp_filter")
	if err != nil {
		return false, err
	}
	if filter != "0" {
		filter = "2" // since strict would count more than 0
	}
	p := port{name: c.Passage, own: c.nth(passageOwn), gateway: c.nth(passageGateway), mac: c.MAC, filter: filter}
	if err := p.prepare(); err != nil {
		return false, fmt.Errorf("passage by %s: %w", c.Passage, err)
	}
	c.done.Changed = c.done.Changed || p.changed
	marked := route{to: everything, via: p.gateway, by: p.link.Attrs().Index}
	if err := c.setRoutes(markedTable, []route{marked}); err != nil {
		return false, err
	}
	passed, refused, err := c.passed()
	if err == nil {
		err = c.setRoutes(passedTable, passed)
	}
	if err != nil {
		return false, err
	}
	c.rules = append(c.rules, rule{priority: passedRule, table: passedTable, iif: c.Passage}, rule{priority: markedRule, table: markedTable, mark: c.Mark, mask: c.Mask})
	return true, refused
}

// passed are the routes to the hosts of public addresses. Behind a router, the underlay's own routes lead to what is of a natPrefix; nothing leads to what is
// not, and the edge's own routes would lead it in a circle. One error for each host says so.
func (c *carrying) passed() (routes []route, refused, err error) {
	said := map[string]bool{}
	for _, p := range c.Passed {
		is, err := c.isAdjacent(p.VTEP)
		switch {
		case err != nil:
			return nil, nil, fmt.Errorf("public address %s: %w", p.Address, err)
		case is:
			routes = append(routes, route{to: single(p.Address), via: p.VTEP, by: c.index})
		case p.Routed:
			continue
		default:
			routes = append(routes, nowhere(single(p.Address)))
			if !said[p.Host] {
				refused = errors.Join(refused, NotAdjacent{From: c.Host, To: p.Host, VTEP: p.VTEP, Underlay: c.done.Underlay, Address: p.Address})
			}
			said[p.Host] = true
		}
	}
	return routes, refused, nil
}

// isAdjacent tells whether another host's address is on the network of this one's.
func (c *carrying) isAdjacent(vtep netip.Addr) (bool, error) {
	if is, known := c.adjacent[vtep]; known {
		return is, nil
	}
	routes, err := netlink.RouteGet(vtep.AsSlice())
	if err != nil && !errors.Is(err, unix.ENETUNREACH) && !errors.Is(err, unix.EHOSTUNREACH) {
		return false, fmt.Errorf("find the route to %s: %w", vtep, err)
	}
	is := len(routes) == 1 && routes[0].Gw == nil && routes[0].Via == nil && routes[0].LinkIndex == c.index
	c.adjacent[vtep] = is
	return is, nil
}

// route is one of ours.
type route struct {
	to     netip.Prefix
	metric int
	via    netip.Addr // none: those to whom it leads are told that it leads nowhere
	by     int        // index of an interface
}

var everything = netip.PrefixFrom(netip.IPv4Unspecified(), 0)

func nowhere(to netip.Prefix) route { return route{to: to} }

func (r route) of(table int) *netlink.Route {
	n := &netlink.Route{Dst: ipNet(r.to), Priority: r.metric, Table: table, Protocol: protocol, Type: unix.RTN_UNREACHABLE}
	if r.via.IsValid() {
		n.Type, n.Gw, n.LinkIndex, n.Flags = unix.RTN_UNICAST, r.via.AsSlice(), r.by, unix.RTNH_F_ONLINK
	}
	return n
}

func routeOf(n netlink.Route) route {
	r := route{to: prefix(n.Dst), metric: n.Priority}
	if n.Type == unix.RTN_UNICAST {
		via, _ := netip.AddrFromSlice(n.Gw)
		r.via, r.by = via.Unmap(), n.LinkIndex
	}
	return r
}

// setRoutes has a table be these.
func (c *carrying) setRoutes(table int, want []route) error {
	has, err := c.routesIn(table)
	if err != nil {
		return fmt.Errorf("list routes of table %d: %w", table, err)
	}
	missing := make(map[route]bool, len(want))
	for _, r := range want {
		missing[r] = true
	}
	for _, n := range has {
		r := routeOf(n)
		if missing[r] && n.Protocol == protocol {
			delete(missing, r)
			continue
		}
		c.done.Changed = true
		if err := c.handle.RouteDel(&n); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("remove the route to %s: %w", r.to, err)
		}
	}
	for r := range missing {
		c.done.Changed = true
		if err := c.handle.RouteAdd(r.of(table)); err != nil {
			return fmt.Errorf("add the route to %s: %w", r.to, err)
		}
	}
	return nil
}

func (c *carrying) routesIn(table int) ([]netlink.Route, error) {
	routes, err := netdump.List(func() ([]netlink.Route, error) {
		return c.handle.RouteListFiltered(unix.AF_INET, &netlink.Route{Table: table}, netlink.RT_FILTER_TABLE)
	})
	if errors.Is(err, unix.ENOENT) { // there is no such table yet
		return nil, nil
	}
	return routes, err
}

// rule is one of ours.
type rule struct {
	priority, table int
	iif             string
	mark, mask      uint32
}

func (r rule) netlink() *netlink.Rule {
	n := netlink.NewRule()
	n.Family, n.Priority, n.Table, n.Protocol, n.IifName, n.Mark = unix.AF_INET, r.priority, r.table, protocol, r.iif, r.mark
	if r.mask != 0 {
		n.Mask = &r.mask
	}
	return n
}

func ruleOf(n netlink.Rule) rule {
	r := rule{priority: n.Priority, table: n.Table, iif: n.IifName, mark: n.Mark}
	if n.Mask != nil {
		r.mask = *n.Mask
	}
	return r
}

// setRules comes last: what they lead to is there. Those that are gone take their tables with them.
func (c *carrying) setRules(want []rule) error {
	has, err := netdump.List(func() ([]netlink.Rule, error) { return netlink.RuleList(unix.AF_INET) })
	if err != nil {
		return fmt.Errorf("list rules: %w", err)
	}
	missing := make(map[rule]bool, len(want))
	tables := map[int]bool{}
	for _, r := range want {
		missing[r], tables[r.table] = true, true
	}
	for _, n := range has {
		if n.Protocol != protocol {
			continue
		}
		r := ruleOf(n)
		if missing[r] {
			delete(missing, r)
			continue
		}
		c.done.Changed = true
		if err := netlink.RuleDel(r.netlink()); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("remove rule %d: %w", r.priority, err)
		}
		if !tables[r.table] {
			if err := c.setRoutes(r.table, nil); err != nil {
				return err
			}
		}
	}
	for _, r := range slices.SortedFunc(maps.Keys(missing), func(a, b rule) int {
		return cmp.Or(cmp.Compare(a.priority, b.priority), cmp.Compare(a.iif, b.iif))
	}) {
		c.done.Changed = true
		if err := netlink.RuleAdd(r.netlink()); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("add rule %d: %w", r.priority, err)
		}
	}
	return nil
}
