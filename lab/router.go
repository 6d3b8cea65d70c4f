package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// startRouting makes the machine the router: it forwards, knows the file's routes, and keeps the underlay private.
func (m *Machine) startRouting() error {
	if err := m.space.enter(forward); err != nil {
		return fmt.Errorf("forward: %w", err)
	}
	if err := m.addRoutes(m.lab.File.Outside.Routes); err != nil {
		return err
	}
	if err := m.filter(); err != nil {
		return fmt.Errorf("write nftables table ip %s: %w", tableName, err)
	}
	return nil
}

// forward sets the kernel to it. A connection may come back by another interface than it went out (rp_filter, RFC
// 3704), packets never go around the router because it said so (send_redirects), and packets of one connection all take
// one of several next hops.
func forward() error {
	for _, s := range []struct{ pattern, value string }{
		{"conf/*/rp_filter", "0"},
		{"conf/*/send_redirects", "0"},
		{"fib_multipath_hash_policy", "1"}, // layer 4
		{"ip_forward", "1"},
	} {
		files, err := filepath.Glob("/proc/sys/net/ipv4/" + s.pattern)
		if err == nil && len(files) == 0 {
			err = fmt.Errorf("the kernel has no net/ipv4/%s", s.pattern)
		}
		if err != nil {
			return err
		}
		for _, file := range files {
			if err := os.WriteFile(file, []byte(s.value), 0); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *Machine) addRoutes(routes []Route) error {
	nl, err := m.space.network()
	if err != nil {
		return err
	}
	defer nl.Close()
	for _, r := range routes {
		route := &netlink.Route{Dst: ipNet(r.To)}
		for _, via := range r.Via {
			route.MultiPath = append(route.MultiPath, &netlink.NexthopInfo{Gw: via.AsSlice()})
		}
		if err := nl.RouteAdd(route); err != nil {
			return fmt.Errorf("route to %s via %v: %w", r.To, r.Via, err)
		}
	}
	return nil
}

const tableName = "lab"

// filter does what a site's router does for its private network: who is on the underlay leaves to the internet network
// in the router's name, and nobody from there reaches it unasked. All else passes as it is.
func (m *Machine) filter() error {
	ns, err := netns.GetFromPath(m.Netns())
	if err != nil {
		return fmt.Errorf("open network namespace: %w", err)
	}
	defer ns.Close()
	c, err := nftables.New(nftables.WithNetNSFd(int(ns)))
	if err != nil {
		return err
	}
	t := c.AddTable(&nftables.Table{Name: tableName, Family: nftables.TableFamilyIPv4})
	underlay, internet := m.nics[0], m.nics[2]
	c.AddRule(&nftables.Rule{
		Table: t,
		Chain: c.AddChain(&nftables.Chain{Table: t, Name: "postrouting", Type: nftables.ChainTypeNAT,
			Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource}),
		Exprs: slices.Concat(from(underlay), leavesBy(internet), []expr.Any{&expr.Masq{}}),
	})
	c.AddRule(&nftables.Rule{
		Table: t,
		Chain: c.AddChain(&nftables.Chain{Table: t, Name: "forward", Type: nftables.ChainTypeFilter,
			Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter}),
		Exprs: slices.Concat(comesBy(internet), leavesBy(underlay), unasked, []expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}}),
	})
	return c.Flush()
}

const ipSource = 12 // offset in the header of IPv4 (RFC 791 section 3.1)

// from matches packets whose source is on the network of an interface.
func from(n nic) []expr.Any {
	network := ipNet(n.address.Masked())
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: ipSource, Len: 4},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: network.Mask, Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: network.IP},
	}
}

func comesBy(n nic) []expr.Any { return by(expr.MetaKeyIIFNAME, n) }

func leavesBy(n nic) []expr.Any { return by(expr.MetaKeyOIFNAME, n) }

func by(key expr.MetaKey, n nic) []expr.Any {
	return []expr.Any{&expr.Meta{Key: key, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: append([]byte(n.name), 0)}}
}

// unasked matches what belongs to no connection that is known.
var unasked = []expr.Any{
	&expr.Ct{Key: expr.CtKeySTATE, Register: 1},
	&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Xor: make([]byte, 4),
		Mask: binaryutil.NativeEndian.PutUint32(expr.CtStateBitESTABLISHED | expr.CtStateBitRELATED)},
	&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: make([]byte, 4)},
}
