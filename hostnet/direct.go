package hostnet

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// NotAdjacent says that a host cannot hand packets to another one, since there is a router between them that does not
// know the addresses.
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

func wrapDirect(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("public traffic over the underlay: %w", err)
}

// path is what works of the direct path.
type path struct {
	edges        []string // hosts that are led to
	underlayPort bool
}

// findUnderlay gives the index of the interface that has the VTEP.
func findUnderlay(d DirectPath) (int, error) {
	if d.Underlay == "" {
		return 0, fmt.Errorf("no interface of this host has its address %s; give one that it has in the agent's configuration", d.VTEP)
	}
	link, err := netlink.LinkByName(d.Underlay)
	if err != nil {
		return 0, fmt.Errorf("find the interface of %s: %w", d.VTEP, err)
	}
	return link.Attrs().Index, nil
}

// lane is a routing table of the direct path, and what leads there.
type lane struct {
	table  int
	routes []route
	rules  []rule
}

// setDirectPath makes what is missing, and takes away what is there of others than these. An edge that cannot be sent
// to keeps no other from working.
func setDirectPath(d DirectPath, of netip.Prefix, mac [6]byte, underlay int) (works path, changed bool, err error) {
	h, err := newHandle()
	if err != nil {
		return works, false, err
	}
	defer h.Close()
	s := pathSetting{DirectPath: d, addresses: of, mac: mac, handle: h, underlay: underlay}
	err = s.run()
	return s.works, s.changed, err
}

// removeDirectPath takes rules and routes away. The ports are their bridge's, and sysctls stay as they are.
func removeDirectPath() (changed bool, err error) {
	h, err := newHandle()
	if err != nil {
		return false, wrapDirect(err)
	}
	defer h.Close()
	rules, err := setRules(h, nil)
	routes, failed := removeRoutes(h)
	return rules || routes, wrapDirect(errors.Join(err, failed))
}

// pathSetting is one call of [setDirectPath].
type pathSetting struct {
	DirectPath
	addresses netip.Prefix
	mac       [6]byte
	handle    *netlink.Handle
	underlay  int // index
	rules     []rule
	works     path
	changed   bool
}

func (s *pathSetting) run() error {
	if err := s.openUnderlay(); err != nil {
		return err
	}
	err := s.setHosted()
	for _, e := range s.Edges {
		if failed := s.setEdge(e); failed != nil {
			err = errors.Join(err, failed)
		} else {
			s.works.edges = append(s.works.edges, e.Host)
		}
	}
	if s.IsEdge {
		failed := s.setUnderlayPort()
		s.works.underlayPort = failed == nil
		err = errors.Join(err, failed, s.notAdjacent())
	}
	changed, failed := setRules(s.handle, s.rules)
	s.changed = s.changed || changed
	return errors.Join(err, failed)
}

// openUnderlay has the underlay's interface take in what has come from anywhere: the way back is by another one.
func (s *pathSetting) openUnderlay() error {
	changed, filters, err := loosenSourceFilter(s.Underlay)
	s.changed = s.changed || changed
	if err != nil || !filters {
		return err
	}
	_, err = netlink.RouteGet(anywhere.AsSlice())
	if unreachable(err) {
		return fmt.Errorf("this host has no default route, so that rp_filter drops what comes from outside; give it one, or set net.ipv4.conf.all.rp_filter and that of %s to 0", s.Underlay)
	}
	return err
}

// anywhere is an address that nobody has (RFC 5737).
var anywhere = netip.AddrFrom4([4]byte{192, 0, 2, 1})

func (s *pathSetting) setHosted() error {
	if len(s.Hosted) == 0 {
		return s.set(lane{table: hostedTable})
	}
	link, err := netlink.LinkByName(SNATPort)
	if err != nil {
		return fmt.Errorf("lead public addresses to %s: %w", SNATPort, err)
	}
	return s.set(hostedLane(s.Hosted, nth(s.addresses, snatGateway), link.Attrs().Index))
}

func hostedLane(hosted []netip.Addr, gateway netip.Addr, port int) lane {
	l := lane{table: hostedTable, rules: []rule{{priority: hostedRule, table: hostedTable}}}
	for _, a := range hosted {
		l.routes = append(l.routes, route{to: single(a), via: gateway, by: port})
	}
	return l
}

func (s *pathSetting) setEdge(e Edge) error {
	p := port{name: e.Port, own: nth(s.addresses, edgeOwn), filter: looseSourceFilter}
	if err := s.prepare(&p); err != nil {
		return fmt.Errorf("edge %s by %s: %w", e.Host, e.Port, err)
	}
	err := s.set(edgeLane(e, p.link.Attrs().Index, s.underlay))
	if !e.Adjacent {
		err = errors.Join(NotAdjacent{From: s.Host, To: e.Host, VTEP: e.VTEP, Underlay: s.Underlay}, err)
	}
	return err
}

// edgeLane tells senders of an edge that cannot be reached, and while the underlay's interface is down.
func edgeLane(e Edge, port, underlay int) lane {
	table := edgeTables + port
	via := nowhere(everything)
	if e.Adjacent {
		via = route{to: everything, via: e.VTEP, by: underlay}
	}
	last := nowhere(everything)
	last.metric = 1
	return lane{table: table, routes: []route{via, last}, rules: []rule{{priority: edgeRule, table: table, iif: e.Port}}}
}

func (s *pathSetting) setUnderlayPort() error {
	filter, err := readSysctl(sourceFilterOf("all"))
	if err != nil {
		return err
	}
	if filter != noSourceFilter {
		filter = looseSourceFilter // since strict would count more than none
	}
	p := port{name: UnderlayPort, own: nth(s.addresses, underlayOwn), gateway: nth(s.addresses, underlayGateway), mac: s.mac, filter: filter}
	if err := s.prepare(&p); err != nil {
		return fmt.Errorf("the edge's port %s: %w", UnderlayPort, err)
	}
	marked := lane{table: markedTable,
		routes: []route{{to: everything, via: p.gateway, by: p.link.Attrs().Index}},
		rules:  []rule{{priority: markedRule, table: markedTable, mark: remoteMark, mask: remoteMask}},
	}
	if err := s.set(marked); err != nil {
		return err
	}
	return s.set(remoteLane(s.Remote, s.underlay))
}

// remoteLane has the routes to the hosts of public addresses. Behind a router, the underlay's own routes lead to what
// is of a natPrefix; nothing leads to what is not, and the edge's own routes would lead it in a circle.
func remoteLane(remote []Remote, underlay int) lane {
	l := lane{table: remoteTable, rules: []rule{{priority: remoteRule, table: remoteTable, iif: UnderlayPort}}}
	for _, r := range remote {
		if r.Adjacent {
			l.routes = append(l.routes, route{to: single(r.Address), via: r.VTEP, by: underlay})
		} else if !r.Routed {
			l.routes = append(l.routes, nowhere(single(r.Address)))
		}
	}
	return l
}

// notAdjacent has one error for each host with an address that nothing leads to.
func (d DirectPath) notAdjacent() (err error) {
	said := map[string]bool{}
	for _, r := range d.Remote {
		if !r.Adjacent && !r.Routed && !said[r.Host] {
			err = errors.Join(err, NotAdjacent{From: d.Host, To: r.Host, VTEP: r.VTEP, Underlay: d.Underlay, Address: r.Address})
			said[r.Host] = true
		}
	}
	return err
}

func (s *pathSetting) prepare(p *port) error {
	err := p.prepare()
	s.changed = s.changed || p.changed
	return err
}

// set has the kernel route a lane. Its rules stay in want if that fails: without them its packets would take the host's
// own routes.
func (s *pathSetting) set(l lane) error {
	s.rules = append(s.rules, l.rules...)
	changed, err := setRoutes(s.handle, l.table, l.routes)
	s.changed = s.changed || changed
	return err
}
