package model

import (
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// Whatever is asked for, in whatever order: what is admitted breaks no rule, what breaks none is admitted, nothing is
// changed on the way, and whoever is refused is told what to do.
func TestAdmitKeepsEveryRule(t *testing.T) {
	refused, admitted := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		state := furnished(t)
		for range 40 {
			request := someRequest(t, state)
			before, asked := dump(state), Request{clone(request.Put), slices.Clone(request.Delete)}
			changes, err := Admit(state, request)
			if diff := cmp.Diff(before, dump(state)); diff != "" {
				t.Fatalf("Admit changed the state:\n%s", diff)
			}
			if !reflect.DeepEqual(asked, request) {
				t.Fatalf("Admit changed the request %v to %v", asked, request)
			}
			wrong := judge(state, request)
			if err != nil {
				refused++
				explained(t, err)
				if len(wrong) == 0 {
					t.Fatalf("refused without need: %v", err)
				}
				continue
			}
			admitted++
			if len(wrong) > 0 {
				t.Fatalf("admitted in spite of: %s", strings.Join(wrong, "; "))
			}
			old := state
			state = commit(state, changes)
			undisturbed(t, old, state)
			if broken := brokenRules(state); len(broken) > 0 {
				t.Fatalf("after %s\nrules are broken: %s", describe(changes), strings.Join(broken, "; "))
			}
			indexed(t, state)
			if again, err := Admit(state, Request{Put: request.Put}); err != nil || slices.ContainsFunc(again, func(c Change) bool { return c.Action != None }) {
				t.Fatalf("the same again is not the same: %v %s", err, describe(again))
			}
		}
	})
	if t.Logf("%d refused, %d admitted", refused, admitted); refused < admitted/10 || admitted < refused/10 {
		t.Errorf("%d refused, %d admitted: the requests prove little", refused, admitted)
	}
}

// furnished is a state in which most of what someObject refers to exists.
func furnished(t *rapid.T) *State {
	objects, err := DecodeYAML([]byte(`
- {kind: Host, name: h1, spec: {address: 192.0.2.1, roles: [compute, edge, gateway], natPrefix: 10.200.0.0/32}}
- {kind: Host, name: h2, spec: {address: 192.0.2.2, mtu: 9000}}
- {kind: VPC, name: v1}
- {kind: VPC, name: v2, spec: {mtu: 1350}}
- {kind: Subnet, name: v1/s1, spec: {cidr: 10.0.0.0/29, dhcp: {dynamic: true, dynamicPerPort: 1}}}
- {kind: Subnet, name: v2/s1, spec: {cidr: 10.0.0.0/28, vni: 5}}
- {kind: Endpoint, name: v1/s1/e1, spec: {host: h1, attachment: {netns: /n}}}
- {kind: Endpoint, name: v1/s1/e2}
- {kind: Endpoint, name: v1/s1/e3, spec: {host: h1}}
- {kind: InternetGateway, name: v1}
- {kind: PublicPool, name: p1, spec: {cidrs: [203.0.113.0/30]}}
- {kind: PublicIP, name: v1/i1, spec: {endpoint: v1/s1/e1}}
- {kind: PublicIP, name: v1/i2, spec: {endpoint: v1/s1/e3}}
- {kind: InternetGateway, name: v2, spec: {design: central}}
- {kind: PublicIP, name: v2/i1}
- {kind: Forward, name: v2/f1, spec: {publicIP: v2/i1, port: 80, endpoint: v2/s1/e1}}
`), "furniture")
	if err != nil {
		t.Fatal(err)
	}
	changes, err := Admit(NewState(), Request{Put: objects})
	if err != nil {
		t.Fatal(err)
	}
	return commit(NewState(), changes)
}

// someRequest draws from few names and values, so that most things exist and many clash.
func someRequest(t *rapid.T, state *State) Request {
	var r Request
	seen := map[Key]bool{}
	for range pick(t, "objects", 1, 1, 2, 2, 3, 6) {
		o := someObject(t)
		if seen[o.Key()] {
			continue
		}
		seen[o.Key()] = true
		if rapid.IntRange(0, 3).Draw(t, "delete") == 0 {
			if state.Get(o.Key()) != nil {
				r.Delete = append(r.Delete, o.Key())
			}
		} else {
			r.Put = append(r.Put, o)
		}
	}
	return r
}

func someObject(t *rapid.T) Object {
	var (
		host     = pick(t, "host", "h1", "h2", "h3")
		vpc      = pick(t, "vpc", "v1", "v2")
		subnet   = vpc + "/" + pick(t, "subnet", "s1", "s2")
		endpoint = subnet + "/" + pick(t, "endpoint", "e1", "e2", "e3", "e4", "e5", "e6")
	)
	switch pick(t, "kind", "Host", "VPC", "Subnet", "Subnet", "Endpoint", "Endpoint", "Endpoint", "Endpoint", "Endpoint",
		"InternetGateway", "InternetGateway", "PublicPool", "PublicIP", "PublicIP", "PublicIP", "PortBlock",
		"Forward", "Forward") {
	case "Forward":
		return someForward(t, vpc, endpoint)
	case "Host":
		return Object{Kind: "Host", Name: host, Spec: &HostSpec{
			Address:   netip.MustParseAddr(pick(t, "address", "192.0.2.1", "192.0.2.2", "192.0.2.3")),
			MTU:       pick(t, "mtu", 0, 1400, 1500, 9000),
			Roles:     pick(t, "roles", nil, nil, []string{"edge"}, []string{"compute", "gateway"}),
			NATPrefix: somePrefix(t, "nat", "", "10.200.0.0/32", "10.200.0.0/31", "10.200.0.2/31", "10.200.0.0/30"),
			Outside:   pick(t, "outside", nil, nil, someOutside(t))}}
	case "InternetGateway":
		return Object{Kind: "InternetGateway", Name: vpc, Spec: &InternetGatewaySpec{
			Design: pick(t, "design", "", Distributed, Central, Central), SNAT: pick(t, "snat", true, true, false), Hosts: pick(t, "over", nil, nil, nil, []string{host}, []string{"h1", "h2"}),
			Pool: pick(t, "pool", "", "", "p1", "p2"), PortsPerHost: pick(t, "ports", 0, 0, 16384, 16384, 32768, 32768, 96)}}
	case "PortBlock":
		return Object{Kind: "PortBlock", Name: vpc + "/" + host, Spec: &PortBlockSpec{Pool: "p1", Address: addressOf(0xcb007100), First: 1024, Last: 2047}}
	case "PublicPool":
		return Object{Kind: "PublicPool", Name: pick(t, "pool", "p1", "p2"), Spec: &PublicPoolSpec{CIDRs: []netip.Prefix{
			somePrefix(t, "cidr", "203.0.113.0/31", "203.0.113.0/30", "203.0.113.3/32", "192.0.2.2/31", "10.200.0.2/31"),
			somePrefix(t, "cidr", "203.0.113.4/32", "203.0.113.2/32", "203.0.112.0/31")}}}
	case "PublicIP":
		return Object{Kind: "PublicIP", Name: vpc + "/" + pick(t, "public", "i1", "i2", "i3", "i4"), Spec: &PublicIPSpec{
			Pool:     pick(t, "pool", "", "", "p1", "p2"),
			Address:  pick(t, "ip", netip.Addr{}, netip.Addr{}, addressOf(0xcb007100+rapid.Uint32Range(0, 4).Draw(t, "ip"))),
			Endpoint: pick(t, "for", "", endpoint, endpoint),
			NATIP:    pick(t, "natIP", netip.Addr{}, addressOf(0x0ac80000))}}
	case "VPC":
		return Object{Kind: "VPC", Name: vpc, Spec: &VPCSpec{
			MTU: pick(t, "mtu", 0, 1350, 1450, 8950), TransitVNI: pick[VNI](t, "transit", 0, 0, 7, 8)}}
	case "Subnet":
		return Object{Kind: "Subnet", Name: subnet, Spec: &SubnetSpec{
			CIDR:    netip.MustParsePrefix(pick(t, "cidr", "10.0.0.0/29", "10.0.0.8/29", "10.0.0.0/28")),
			VNI:     pick[VNI](t, "vni", 0, 0, 4096, 4097, 5),
			DHCP:    pick(t, "dhcp", nil, &DHCP{Dynamic: true}, &DHCP{Dynamic: true, PerPort: 1}),
			Gateway: pick(t, "gateway", netip.Addr{}, netip.Addr{}, netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.9"))}}
	}
	return Object{Kind: "Endpoint", Name: endpoint, Spec: &EndpointSpec{
		Host:       pick(t, "on", "", host),
		Address:    pick(t, "ip", netip.Addr{}, netip.Addr{}, netip.Addr{}, addressOf(0x0a000002+rapid.Uint32Range(0, 7).Draw(t, "ip"))),
		MAC:        pick(t, "mac", MAC{}, MAC{}, MAC{}, MAC{2, 0, 0, 0, 0, 1}, MAC{2, 0x4f, 10, 0, 0, 3}),
		Attachment: pick(t, "attachment", nil, nil, &Attachment{}, &Attachment{Netns: "/n"}, &Attachment{Via: subnet + "/" + pick(t, "via", "e1", "e2", "e3")}),
		Ephemeral:  rapid.Bool().Draw(t, "ephemeral")}}
}

func someOutside(t *rapid.T) *HostOutside {
	return &HostOutside{Interface: "eth1",
		Address: somePrefix(t, "next hop", "198.51.100.2/24", "198.51.100.3/24", "198.51.100.4/24", "198.51.100.3/29", "192.0.2.3/24", "10.200.0.2/24", "203.0.113.1/24"),
		Router:  netip.MustParseAddr(pick(t, "router", "198.51.100.1", "198.51.100.1", "198.51.100.6", "192.0.2.9", "10.200.0.9", "203.0.113.9"))}
}

func somePrefix(t *rapid.T, what string, among ...string) (p netip.Prefix) {
	if text := pick(t, what, among...); text != "" {
		p = netip.MustParsePrefix(text)
	}
	return p
}

func pick[T any](t *rapid.T, what string, among ...T) T {
	return rapid.SampledFrom(among).Draw(t, what)
}

func clone(objects []Object) (c []Object) {
	for _, o := range objects {
		o.Spec = o.Spec.copy()
		c = append(c, o)
	}
	return c
}

// judge is Admit the slow way: it says what the request breaks, by comparing everything with everything.
func judge(s *State, r Request) (wrong []string) {
	after := map[Key]Object{}
	for o := range everything(s) {
		after[o.Key()] = *o
	}
	for _, k := range r.Delete {
		delete(after, k)
		if k.Kind == "PortBlock" {
			wrong = append(wrong, k.Name+" is not the user's")
		}
	}
	leastMTU := MaxMTU
	for _, o := range r.Put {
		for _, p := range o.Spec.Check(o.Name) {
			wrong = append(wrong, p.String())
		}
		stored := s.Get(o.Key())
		o.Spec = o.Spec.copy()
		if stored == nil {
			o.Spec.setDefaults(nil)
		} else {
			o.Spec.setDefaults(stored.Spec)
		}
		after[o.Key()] = o
	}
	if len(wrong) > 0 {
		return wrong
	}
	hosts := 0
	for _, o := range after {
		if h, ok := o.Spec.(*HostSpec); ok {
			hosts++
			leastMTU = min(leastMTU, h.MTU-50)
		}
	}
	if hosts == 0 {
		leastMTU = 1450
	}
	for _, o := range after {
		if v, ok := o.Spec.(*VPCSpec); ok && v.MTU == 0 {
			v.MTU = leastMTU
		}
	}
	for _, o := range after {
		if p, ok := o.Spec.(*PublicIPSpec); ok && p.Pool == "" {
			p.Pool = poolFor(after, p.Address)
		}
		if g, ok := o.Spec.(*InternetGatewaySpec); ok && g.Pool == "" && g.Design == Central && g.SNAT {
			g.Pool = poolFor(after, netip.Addr{})
		}
	}
	for o := range s.List("PortBlock") {
		if !owed(after, o) {
			delete(after, o.Key())
		}
	}
	for _, o := range after {
		wrong = append(wrong, dangling(after, o)...)
		wrong = append(wrong, danglingPublic(after, o)...)
		wrong = append(wrong, danglingForward(after, o)...)
		wrong = append(wrong, tooMany(after, o)...)
		wrong = append(wrong, misplaced(s, after, o)...)
		for _, p := range after {
			wrong = append(wrong, clash(o, p)...)
			wrong = append(wrong, clashOutside(o, p)...)
		}
		if stored := s.Get(o.Key()); stored != nil {
			wrong = append(wrong, forbidden(s, after, stored.Spec, o)...)
		}
	}
	return wrong
}

// dangling: references to what is not there, or does not fit.
func dangling(all map[Key]Object, o Object) (wrong []string) {
	if s, ok := o.Spec.(*SubnetSpec); ok {
		if _, ok := all[Key{"VPC", Parent(o.Name)}]; !ok {
			wrong = append(wrong, o.Name+" is in no VPC")
		}
		if s.unusable(s.Gateway) != "" {
			wrong = append(wrong, o.Name+" has a gateway elsewhere")
		}
	}
	e, ok := o.Spec.(*EndpointSpec)
	if !ok {
		return wrong
	}
	subnet, ok := all[Key{"Subnet", Parent(o.Name)}]
	if !ok {
		return append(wrong, o.Name+" is in no subnet")
	}
	if s := subnet.Spec.(*SubnetSpec); e.Address.IsValid() && (s.unusable(e.Address) != "" || e.Address == s.Gateway) {
		wrong = append(wrong, o.Name+" has an address that nobody may have")
	}
	if e.Host == "" {
		return wrong
	}
	host, ok := all[Key{"Host", e.Host}]
	if !ok {
		return append(wrong, o.Name+" is on no host")
	}
	if vpc, ok := all[Key{"VPC", VPCOf(o.Name)}]; ok && vpc.Spec.(*VPCSpec).MTU+50 > host.Spec.(*HostSpec).MTU {
		wrong = append(wrong, o.Name+" does not fit through the underlay of "+e.Host)
	}
	return wrong
}

// misplaced: endpoints that are put behind a port which does not lead to them, or to too many.
func misplaced(s *State, all map[Key]Object, o Object) []string {
	e, ok := o.Spec.(*EndpointSpec)
	if !ok {
		return nil
	}
	if was := s.Endpoint(o.Name); was != nil && was.Host != "" && was.Host == e.Host {
		if was.Via() != e.Via() {
			return []string{o.Name + " goes behind another port"}
		}
		return nil
	}
	if e.Via() == "" {
		return nil
	}
	front, there := all[Key{"Endpoint", e.Via()}]
	subnet, placed := all[Key{"Subnet", Parent(o.Name)}]
	if !there || !placed {
		return []string{o.Name + " is behind nothing"}
	}
	n := 0
	for _, other := range all {
		if b, ok := other.Spec.(*EndpointSpec); ok && b.Via() == e.Via() && b.Host == e.Host {
			n++
		}
	}
	f := front.Spec.(*EndpointSpec)
	if f.Host != e.Host || f.Attachment == nil || f.Via() != "" || n > subnet.Spec.(*SubnetSpec).DHCP.DynamicPerPort() {
		return []string{o.Name + " is behind a port that does not lead to it"}
	}
	return nil
}

// poolFor is the pool that a public IP which names none is of; empty if there is none.
func poolFor(all map[Key]Object, address netip.Addr) (only string) {
	pools := 0
	for _, o := range all {
		if p, ok := o.Spec.(*PublicPoolSpec); ok {
			if pools, only = pools+1, o.Name; p.contains(address) {
				return o.Name
			}
		}
	}
	if pools > 1 {
		return ""
	}
	return only
}

// danglingPublic: references of what joins a VPC to the world.
func danglingPublic(all map[Key]Object, o Object) (wrong []string) {
	switch s := o.Spec.(type) {
	case *HostSpec:
		if s.Outside == nil {
			return nil
		}
		if !slices.Contains(s.Roles, RoleEdge) && !slices.Contains(s.Roles, RoleGateway) {
			wrong = append(wrong, o.Name+" has no use for its outside")
		}
		if s.NATPrefix.IsValid() && s.NATPrefix.Contains(s.Outside.Address.Addr()) {
			wrong = append(wrong, o.Name+" has its next hop as a NAT address")
		}
	case *InternetGatewaySpec:
		if _, ok := all[Key{"VPC", o.Name}]; !ok {
			wrong = append(wrong, "gateway "+o.Name+" is of no VPC")
		}
		for _, name := range s.Hosts {
			if h, ok := all[Key{"Host", name}]; !ok || !slices.Contains(h.Spec.(*HostSpec).Roles, s.Role()) {
				wrong = append(wrong, "gateway "+o.Name+" leads over "+name)
			}
		}
		if _, ok := all[Key{"PublicPool", s.Pool}]; !ok && (s.Pool != "" || s.Design == Central && s.SNAT) {
			wrong = append(wrong, "gateway "+o.Name+" has no pool")
		}
	case *PortBlockSpec:
		if pool, ok := all[Key{"PublicPool", s.Pool}]; !ok || !pool.Spec.(*PublicPoolSpec).contains(s.Address) {
			wrong = append(wrong, o.Name+" is of no pool")
		}
	case *PublicIPSpec:
		if _, ok := all[Key{"InternetGateway", Parent(o.Name)}]; !ok {
			wrong = append(wrong, o.Name+" has no gateway")
		}
		pool, ok := all[Key{"PublicPool", s.Pool}]
		if !ok || s.Address.IsValid() && !pool.Spec.(*PublicPoolSpec).contains(s.Address) {
			wrong = append(wrong, o.Name+" is of no pool")
		}
	}
	return wrong
}

// outer is the CIDRs of the world outside that an object has.
func outer(o Object) (cidrs []netip.Prefix) {
	switch s := o.Spec.(type) {
	case *HostSpec:
		cidrs = append(cidrs, netip.PrefixFrom(s.Address, 32))
		if s.NATPrefix.IsValid() {
			cidrs = append(cidrs, s.NATPrefix)
		}
		if s.Outside != nil {
			cidrs = append(cidrs, netip.PrefixFrom(s.Outside.Address.Addr(), 32))
		}
	case *PublicPoolSpec:
		cidrs = s.CIDRs
	}
	return cidrs
}

// clashOutside: two objects with one address of the world outside.
func clashOutside(x, y Object) []string {
	if x.Key() == y.Key() {
		return nil
	}
	for _, a := range outer(x) {
		for _, b := range outer(y) {
			if a.Overlaps(b) {
				return []string{fmt.Sprintf("%s and %s have %s and %s", x.Key(), y.Key(), a, b)}
			}
		}
	}
	return nil
}

// natHost is the host whose NAT prefix a public IP needs an address of.
func natHost(all map[Key]Object, o Object) string {
	endpoint, ok := all[Key{"Endpoint", o.Spec.(*PublicIPSpec).Endpoint}]
	gateway, joined := all[Key{"InternetGateway", Parent(o.Name)}]
	if !ok || !joined || gateway.Spec.(*InternetGatewaySpec).Design != Distributed {
		return ""
	}
	return endpoint.Spec.(*EndpointSpec).Host
}

// lostNAT: a host whose NAT prefix has lost an address that is in use.
func lostNAT(s *State, all map[Key]Object, was *HostSpec, host Object) (wrong []string) {
	for o := range s.List("PublicIP") {
		nat := o.Spec.(*PublicIPSpec).NATIP
		now, stays := all[o.Key()]
		if stays && nat.IsValid() && was.NATPrefix.Contains(nat) && !host.Spec.(*HostSpec).NATPrefix.Contains(nat) && natHost(all, now) == host.Name {
			wrong = append(wrong, host.Name+" has lost "+nat.String())
		}
	}
	return wrong
}

// untranslated: public IPs with a NAT address that they do not need, or without one that there is.
func untranslated(s *State) (broken []string) {
	all, taken := map[Key]Object{}, map[netip.Addr]bool{}
	for o := range everything(s) {
		all[o.Key()] = *o
		if p, ok := o.Spec.(*PublicIPSpec); ok && p.NATIP.IsValid() {
			if taken[p.NATIP] {
				broken = append(broken, o.Name+" has the NAT address of another")
			}
			taken[p.NATIP] = true
		}
	}
	for o := range s.List("PublicIP") {
		nat, prefix := o.Spec.(*PublicIPSpec).NATIP, netip.Prefix{}
		if host := natHost(all, *o); host != "" {
			prefix = s.Host(host).NATPrefix
		}
		free := false
		for a := prefix.Addr(); prefix.Contains(a); a = a.Next() {
			free = free || !taken[a]
		}
		if nat.IsValid() && !prefix.Contains(nat) || !nat.IsValid() && free {
			broken = append(broken, fmt.Sprintf("%s has the NAT address %s of %s", o.Name, nat, prefix))
		}
	}
	return broken
}

// owed reports whether a port block is still what its VPC's gateway leases to its host.
func owed(all map[Key]Object, block *Object) bool {
	gateway, ok := all[Key{"InternetGateway", VPCOf(block.Name)}]
	if !ok {
		return false
	}
	g, b := gateway.Spec.(*InternetGatewaySpec), block.Spec.(*PortBlockSpec)
	return g.Design == Central && g.SNAT && g.Pool == b.Pool && g.PortsPerHost == b.size() && slices.Contains(hostsOf(all, gateway.Name), HostOf(block.Name))
}

// hostsOf is the hosts with endpoints of a VPC.
func hostsOf(all map[Key]Object, vpc string) (hosts []string) {
	for _, o := range all {
		if e, ok := o.Spec.(*EndpointSpec); ok && VPCOf(o.Name) == vpc && e.Host != "" && !slices.Contains(hosts, e.Host) {
			hosts = append(hosts, e.Host)
		}
	}
	return hosts
}

// unleased: port blocks that nobody is to have, or that are none, and hosts without one although there is one.
func unleased(s *State) (broken []string) {
	all := map[Key]Object{}
	for o := range everything(s) {
		all[o.Key()] = *o
	}
	for o := range s.List("PortBlock") {
		if b := o.Spec.(*PortBlockSpec); !owed(all, o) || b.First < 1024 || int(b.First)%b.size() != 0 {
			broken = append(broken, fmt.Sprintf("%s has the ports %+v", o.Name, b))
		}
	}
	for o := range s.List("InternetGateway") {
		g := o.Spec.(*InternetGatewaySpec)
		if g.Design != Central || !g.SNAT {
			continue
		}
		waiting := slices.Sorted(slices.Values(hostsOf(all, o.Name)))
		waiting = slices.DeleteFunc(waiting, func(host string) bool { return s.PortBlock(o.Name+"/"+host) != nil })
		if len(waiting) > 0 && anyFree(s, g) {
			broken = append(broken, fmt.Sprintf("%v of %s have no ports though there are some", waiting, o.Name))
		}
		status := Summarise(s, o.Key(), Measured{}).(*InternetGatewayStatus)
		if told := strings.HasSuffix(status.Reason, strings.Join(waiting, ", ")); len(status.Hosts) > 0 && !told {
			broken = append(broken, fmt.Sprintf("%s says %q, and %v wait", o.Name, status.Reason, waiting))
		}
	}
	return broken
}

// anyFree reports whether a gateway's pool has a block for it, the slow way.
func anyFree(s *State, g *InternetGatewaySpec) bool {
	for _, c := range s.PublicPool(g.Pool).CIDRs {
		for address := c.Addr(); c.Contains(address); address = address.Next() {
			if s.PublicIPAt(address) != nil {
				continue
			}
			for first := g.PortsPerHost; first < 65536; first += g.PortsPerHost {
				free := first >= 1024
				for o := range s.List("PortBlock") {
					b := o.Spec.(*PortBlockSpec)
					free = free && (b.Address != address || int(b.Last) < first || int(b.First) >= first+g.PortsPerHost)
				}
				if free {
					return true
				}
			}
		}
	}
	return false
}

// undisturbed fails if a port block has changed that its VPC is still to have.
func undisturbed(t *rapid.T, was, now *State) {
	all := map[Key]Object{}
	for o := range everything(now) {
		all[o.Key()] = *o
	}
	for o := range was.List("PortBlock") {
		if owed(all, o) && now.Get(o.Key()) != o {
			t.Fatalf("%s has changed from %+v to %+v", o.Name, o.Spec, now.PortBlock(o.Name))
		}
	}
}

// tooMany: more endpoints, or public IPs, than addresses.
func tooMany(all map[Key]Object, o Object) []string {
	if p, ok := o.Spec.(*PublicPoolSpec); ok {
		n, leased := 0, map[netip.Addr]bool{}
		for _, other := range all {
			if i, ok := other.Spec.(*PublicIPSpec); ok && i.Pool == o.Name {
				n++
			}
			if b, ok := other.Spec.(*PortBlockSpec); ok && b.Pool == o.Name {
				leased[b.Address] = true
			}
		}
		if n+len(leased) > p.capacity() {
			return []string{o.Name + " is full"}
		}
		return nil
	}
	s, ok := o.Spec.(*SubnetSpec)
	if !ok {
		return nil
	}
	n := 0
	for k := range all {
		if k.Kind == "Endpoint" && Parent(k.Name) == o.Name {
			n++
		}
	}
	if n > s.capacity() {
		return []string{o.Name + " is full"}
	}
	return nil
}

// clash: two objects with what only one may have.
func clash(x, y Object) []string {
	if b, ok := x.Spec.(*PortBlockSpec); ok {
		if p, ok := y.Spec.(*PublicIPSpec); ok && p.Address == b.Address {
			return []string{fmt.Sprintf("%s and %s have %s", x.Name, y.Name, b.Address)}
		}
	}
	if x.Kind != y.Kind || x.Name >= y.Name {
		return nil
	}
	both := func(what any) []string { return []string{fmt.Sprintf("%s and %s have %v", x.Name, y.Name, what)} }
	switch a := x.Spec.(type) {
	case *HostSpec:
		b := y.Spec.(*HostSpec)
		if a.Address == b.Address {
			return both(a.Address)
		}
		if a.Outside != nil && b.Outside != nil && a.Outside.Address.Overlaps(b.Outside.Address) &&
			(a.Outside.Address.Bits() != b.Outside.Address.Bits() || a.Outside.Router != b.Outside.Router) {
			return both(a.Outside.Address)
		}
	case *VPCSpec:
		if b := y.Spec.(*VPCSpec); a.TransitVNI == b.TransitVNI && a.TransitVNI != 0 {
			return both(a.TransitVNI)
		}
	case *SubnetSpec:
		b := y.Spec.(*SubnetSpec)
		if a.VNI == b.VNI && a.VNI != 0 {
			return both(a.VNI)
		}
		if Parent(x.Name) == Parent(y.Name) && a.CIDR.Overlaps(b.CIDR) {
			return both(a.CIDR)
		}
	case *PublicIPSpec:
		b := y.Spec.(*PublicIPSpec)
		if a.Address == b.Address && a.Address.IsValid() || a.Endpoint == b.Endpoint && a.Endpoint != "" {
			return both(a.Address)
		}
	case *ForwardSpec:
		if b := y.Spec.(*ForwardSpec); a.PublicIP == b.PublicIP && a.Protocol == b.Protocol && a.Port == b.Port {
			return both(a.Port)
		}
	case *PortBlockSpec:
		if b := y.Spec.(*PortBlockSpec); a.Address == b.Address && a.First <= b.Last && b.First <= a.Last {
			return both(a.Address)
		}
	case *EndpointSpec:
		b := y.Spec.(*EndpointSpec)
		if Parent(x.Name) != Parent(y.Name) {
			return nil
		}
		if a.Address == b.Address && a.Address.IsValid() || a.MAC == b.MAC && a.MAC != (MAC{}) {
			return both(a.Address)
		}
	}
	return nil
}

// forbidden: changes that cut off what is running.
func forbidden(s *State, after map[Key]Object, stored Spec, o Object) []string {
	switch was := stored.(type) {
	case *HostSpec:
		return lostNAT(s, after, was, o)
	case *VPCSpec:
		if now := o.Spec.(*VPCSpec); was.MTU != now.MTU || was.TransitVNI != now.TransitVNI {
			return underPlugged(s, after, o)
		}
	case *SubnetSpec:
		now := o.Spec.(*SubnetSpec)
		if was.CIDR == now.CIDR && was.Gateway != now.Gateway {
			if wrong := underPlugged(s, after, o); len(wrong) > 0 {
				return wrong
			}
		}
		if was.CIDR == now.CIDR && was.VNI == now.VNI {
			return nil
		}
		for e := range everything(s) {
			if _, stays := after[e.Key()]; stays && e.Kind == "Endpoint" && Parent(e.Name) == o.Name {
				return []string{o.Name + " changes under " + e.Name}
			}
		}
	case *EndpointSpec:
		now := o.Spec.(*EndpointSpec)
		if was.Host != "" && now.Host != "" && (was.Address != now.Address || was.MAC != now.MAC) {
			return []string{o.Name + " changes while it is plugged in"}
		}
	}
	return nil
}

// underPlugged: a change under endpoints that are where they were.
func underPlugged(s *State, after map[Key]Object, o Object) []string {
	for e := range everything(s) {
		was, ok := e.Spec.(*EndpointSpec)
		now, stays := after[e.Key()]
		if ok && stays && was.Host != "" && strings.HasPrefix(e.Name, o.Name+"/") && now.Spec.(*EndpointSpec).Host == was.Host {
			return []string{o.Name + " changes under " + e.Name + " on " + was.Host}
		}
	}
	return nil
}

func everything(s *State) iter.Seq[*Object] {
	return func(yield func(*Object) bool) {
		for _, k := range Kinds {
			for o := range s.List(k.Name) {
				if !yield(o) {
					return
				}
			}
		}
	}
}

// brokenRules judges a stored state, in which nothing may be left open.
func brokenRules(s *State) (broken []string) {
	for o := range everything(s) {
		open := false
		switch spec := o.Spec.(type) {
		case *HostSpec:
			open = spec.MTU == 0 || len(spec.Roles) == 0
		case *VPCSpec:
			open = spec.MTU == 0
		case *SubnetSpec:
			open = spec.VNI == 0 || !spec.Gateway.IsValid()
		case *InternetGatewaySpec:
			open = spec.Design == ""
		case *PublicIPSpec:
			open = spec.Pool == "" || !spec.Address.IsValid()
		case *ForwardSpec:
			open = spec.Protocol == "" || spec.TargetPort == 0
		case *EndpointSpec:
			open = !spec.Address.IsValid() || spec.MAC == MAC{} || spec.MAC == GatewayMAC || spec.MAC.Multicast()
		}
		if open || o.Revision == 0 {
			broken = append(broken, o.Name+" is incomplete")
		}
	}
	return slices.Concat(broken, untranslated(s), unleased(s), judge(s, Request{}))
}

// indexed compares every index with what a walk over all objects finds.
func indexed(t *rapid.T, s *State) {
	fresh := NewState()
	for o := range everything(s) {
		fresh = fresh.With(s.Revision(), []Change{ChangeTo(o.Key(), o)})
	}
	if diff := cmp.Diff(dump(fresh), dump(s)); diff != "" {
		t.Fatalf("indexes differ from those of a fresh state (-fresh +grown):\n%s", diff)
	}
	indexedPublic(t, s)
	indexedForwards(t, s)
	for o := range s.List("Endpoint") {
		spec, subnet := o.Spec.(*EndpointSpec), Parent(o.Name)
		if s.EndpointAt(subnet, spec.Address) != o || s.EndpointWithMAC(subnet, spec.MAC) != o {
			t.Fatalf("%s is not found by address and MAC", o.Name)
		}
	}
	for o := range s.List("Subnet") {
		if s.SubnetOf(o.Spec.(*SubnetSpec).VNI) != o {
			t.Fatalf("%s is not found by VNI", o.Name)
		}
		counted(t, s.CountUnder("Endpoint", o.Name), s.EndpointsOf(o.Name), s, func(e *Object) bool { return Parent(e.Name) == o.Name })
	}
	for o := range s.List("Host") {
		if s.HostAt(o.Spec.(*HostSpec).Address) != o {
			t.Fatalf("%s is not found by address", o.Name)
		}
		counted(t, s.CountOn(o.Name), s.EndpointsOn(o.Name), s, func(e *Object) bool { return e.Spec.(*EndpointSpec).Host == o.Name })
		on := s.EndpointsOnOf(o.Name, "v1")
		counted(t, len(slices.Collect(on)), on, s, func(e *Object) bool { return e.Spec.(*EndpointSpec).Host == o.Name && VPCOf(e.Name) == "v1" })
	}
}

// indexedPublic compares the indexes of what joins VPCs to the world.
func indexedPublic(t *rapid.T, s *State) {
	used := map[string]int{}
	for o := range s.List("PublicIP") {
		spec := o.Spec.(*PublicIPSpec)
		used[spec.Pool]++
		if s.PublicIPAt(spec.Address) != o || spec.Endpoint != "" && s.PublicIPOf(spec.Endpoint) != o || spec.NATIP.IsValid() && s.PublicIPWithNAT(spec.NATIP) != o {
			t.Fatalf("%s is not found by address, endpoint and NAT address", o.Name)
		}
	}
	leased := map[addressKey]bool{}
	for o := range s.List("PortBlock") {
		leased[addressKey{o.Spec.(*PortBlockSpec).Pool, o.Spec.(*PortBlockSpec).Address}] = true
		host, vpc := HostOf(o.Name), VPCOf(o.Name)
		if got := slices.Collect(s.EndpointsOnOf(host, vpc)); s.CountOnOf(host, vpc) != len(got) || !slices.Contains(slices.Collect(s.hostsWith(vpc)), host) {
			t.Fatalf("counted %d of %v on %s", s.CountOnOf(host, vpc), got, o.Name)
		}
	}
	for o := range s.List("PublicPool") {
		got, want := Summarise(s, o.Key(), Measured{}).(*PublicPoolStatus), used[o.Name]
		for at := range leased {
			if at.in == o.Name {
				want++
			}
		}
		if got.Used != want || got.SNAT != want-used[o.Name] || len(slices.Collect(s.publicIn(o.Name))) != used[o.Name] {
			t.Fatalf("%s has %+v, want %d used, %d by public IPs", o.Name, got, want, used[o.Name])
		}
	}
	for _, role := range hostRoles {
		var want []*Object
		for o := range s.List("Host") {
			if slices.Contains(o.Spec.(*HostSpec).Roles, role) {
				want = append(want, o)
			}
		}
		if got := slices.Collect(s.HostsWithRole(role)); !slices.Equal(got, want) {
			t.Fatalf("%v have the role %s, want %v", got, role, want)
		}
	}
}

func counted(t *rapid.T, count int, got iter.Seq[*Object], s *State, belongs func(*Object) bool) {
	var want []*Object
	for e := range s.List("Endpoint") {
		if belongs(e) {
			want = append(want, e)
		}
	}
	if found := slices.Collect(got); !slices.Equal(found, want) || count != len(want) {
		t.Fatalf("found %v, counted %d; want %v", found, count, want)
	}
}

// dump is everything in a state, but for the cursors: those depend on what is gone.
func dump(s *State) (lines []string) {
	for i, kind := range s.kinds {
		for name, o := range kind.all() {
			lines = append(lines, fmt.Sprint(i, name, o.Kind, o.Name, o.Revision, o.Spec))
		}
	}
	return slices.Concat(lines, index(s.hostAt), index(s.vniHolder), index(s.cidrs), index(s.endpointAt), index(s.endpointWithMAC), seats(s.onHost),
		seats(s.hostsByRole), seats(s.gatewaysByHost), index(s.ownedPrefixes), index(s.nextHops), index(s.publicIPAt), index(s.publicIPOf), index(s.publicIPByNAT),
		seats(s.gatewaysByPool), index(s.blockAt), index(s.freeRoom), index(s.blockRequests), counts(s.usedPorts),
		index(s.forwardAt), seats(s.forwardsTo))
}

func index[K, V any](t tree[K, V]) (lines []string) {
	for k, v := range t.all() {
		lines = append(lines, fmt.Sprint(k, " -> ", v))
	}
	return lines
}

// counts is how many blocks have each 1024 ports of an address.
func counts(t tree[addressKey, *ports]) (lines []string) {
	for at, p := range t.all() {
		line := fmt.Sprint(at, " ->")
		for n := range slices.Chunk(p[:], DefaultPortsPerHost/MinPortsPerHost) {
			line += fmt.Sprint(" ", slices.Max(n))
		}
		lines = append(lines, line)
	}
	return lines
}

func seats[K any](t tree[K, *Object]) (lines []string) {
	for at, o := range t.all() {
		lines = append(lines, fmt.Sprint(at, " -> ", o.Name, " ", o.Revision))
	}
	return lines
}

func explained(t *rapid.T, err error) {
	var problems Problems
	if !errors.As(err, &problems) {
		t.Fatalf("refused with %T: %v", err, err)
	}
	for _, p := range problems {
		if p.Object == "" || p.Reason == "" || p.Remedy == "" {
			t.Fatalf("problem without object, reason or remedy: %+v", p)
		}
	}
}

func TestOldStatesStayAsTheyWere(t *testing.T) {
	state := stateOf(t, network(500))
	before := dump(state)
	changes, err := Admit(state, Request{Put: []Object{endpointIn(500, 1)}, Delete: []Key{endpointIn(7, 1).Key()}})
	if err != nil {
		t.Fatal(err)
	}
	next := commit(state, changes)
	if diff := cmp.Diff(before, dump(state)); diff != "" {
		t.Errorf("the old state changed:\n%s", diff)
	}
	if got := next.Len("Endpoint"); got != 500 {
		t.Errorf("the new state has %d endpoints, want 500: one more, one less", got)
	}
}

// Counted instead of timed: the work for one more endpoint grows with the logarithm of what there is, not with it.
func TestCostOfOneMore(t *testing.T) {
	cost := func(n int) float64 {
		state := stateOf(t, network(n))
		one := Request{Put: []Object{endpointIn(n, 1)}}
		return testing.AllocsPerRun(10, func() {
			changes, err := Admit(state, one)
			if err != nil {
				t.Fatal(err)
			}
			commit(state, changes)
		})
	}
	few, many := cost(100), cost(10_000)
	if many > 2*few {
		t.Errorf("one more endpoint takes %v allocations among 100, and %v among 10,000", few, many)
	}
}
