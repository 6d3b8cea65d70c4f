package e2e

import (
	"fmt"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/overlane/overlane/lab"
)

// central is a lab of two hosts and two gateways, whose next hops the router uses side by side, with the article's intent.
func central(t testing.TB) *network {
	t.Helper()
	n := up(t, lab.File{
		Hosts:  []lab.HostSpec{{Name: "host1"}, {Name: "host2"}, {Name: "g1", Uplink: true}, {Name: "g2", Uplink: true}},
		Server: "host1",
		Outside: &lab.Outside{Machines: []lab.MachineSpec{{Name: "client"}, {Name: "server"}},
			Routes: []lab.Route{{To: netip.MustParsePrefix("1.22.3.0/24"), Via: []netip.Addr{netip.MustParseAddr("203.0.113.11"), netip.MustParseAddr("203.0.113.12")}}}},
	})
	n.apply(article)
	for host, nextHop := range map[string]string{"g1": "203.0.113.11/24", "g2": "203.0.113.12/24"} {
		n.apply(fmt.Sprintf("{kind: Host, name: %s, spec: {address: %s, roles: [gateway], outside: {interface: eth1, address: %s, router: 203.0.113.1}}}",
			host, n.Host(host).Address, nextHop))
	}
	n.apply(`
{kind: PublicPool, name: world, spec: {cidrs: [1.22.3.0/24]}}
---
{kind: InternetGateway, name: blue, spec: {design: central}}
---
{kind: PublicIP, name: blue/a, spec: {address: 1.22.3.5, endpoint: blue/web/a}}
---
{kind: PublicIP, name: blue/b, spec: {address: 1.22.3.6, endpoint: blue/web/b}}
`)
	n.endpoint("host1 a blue/web --ip 172.17.42.2")
	n.endpoint("host2 b blue/web --ip 172.17.42.3")
	n.endpoint("host1 c blue/web --ip 172.17.42.4")
	return n
}

// awaitOpen waits until a gateway takes public traffic, and holds its own next hop only.
func (n *network) awaitOpen(gateways ...string) {
	n.t.Helper()
	for _, g := range gateways {
		n.eventually(g+" is open", func() error {
			s, err := n.tryMeasured(g)
			if err != nil {
				return err
			}
			if p := s.Host.Passage; p == nil || !p.Open || !slices.Equal(p.Holds, []string{g}) {
				return fmt.Errorf("it is %+v", p)
			}
			return nil
		})
	}
}

func TestCentral(t *testing.T) {
	t.Parallel()
	n := central(t)
	n.awaitOpen("g1", "g2")
	n.reaches("host1", "a", n.Machine("server").Address.String())
}

// What the outside and an endpoint send each other goes on whatever dies; it is printed how much is lost meanwhile, and how long.
func TestCentralFailsOver(t *testing.T) {
	t.Parallel()
	n := central(t)
	n.awaitOpen("g1", "g2")
	client, server, a := n.Machine("client").Netns(), n.Machine("server"), n.inside("host1", "a")
	n.reaches("host1", "a", server.Address.String())
	w := watching{
		n: n,
		streams: []*stream{
			n.streaming("UDP in", client, a, "1.22.3.5", 7001),
			n.streaming("UDP out", a, server.Netns(), server.Address.String(), 7002),
		},
		transfers: []*transfer{
			n.transferring("TCP in", client, a, "1.22.3.5", 7003),
			n.transferring("TCP out", a, server.Netns(), server.Address.String(), 7004),
		},
	}
	ctx, g1 := t.Context(), n.Host("g1")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	vswitchd := g1.Daemons()["ovs-vswitchd"]
	w.during("nothing happens", true, func() { time.Sleep(time.Second) })
	w.during("agents of both gateways are killed", true, func() {
		n.killAgent("g1")
		n.killAgent("g2")
		time.Sleep(2 * time.Second)
	})
	w.during("they are started again", true, func() {
		n.startAgent("g1")
		n.startAgent("g2")
		n.awaitOpen("g1", "g2")
		time.Sleep(time.Second)
	})
	w.during("g1's ovs-vswitchd is killed", false, func() { must(vswitchd.Kill(ctx, syscall.SIGKILL)) })
	w.during("it is started again", false, func() {
		must(vswitchd.Start(ctx))
		n.awaitOpen("g1", "g2")
	})
	w.during("g1's uplink is pulled", false, func() { must(g1.SetLink("eth1", false)) })
	w.during("it is plugged in again", false, func() {
		must(g1.SetLink("eth1", true))
		n.awaitOpen("g1", "g2")
	})
	w.during("g1's underlay is pulled", false, func() { must(g1.SetLink("eth0", false)) })
	w.during("it is plugged in again", false, func() {
		must(g1.SetLink("eth0", true))
		n.awaitOpen("g1", "g2")
	})
	w.during("g1 is drained", true, func() {
		n.on("host1", argv("overlane host drain g1")...)
		n.eventually("g2 holds both next hops", func() error {
			if got := n.measured("g2").Host.Passage.Holds; len(got) != 2 {
				return fmt.Errorf("it holds %v", got)
			}
			return nil
		})
	})
	w.during("it is drained no more", true, func() {
		n.on("host1", argv("overlane host drain --undo g1")...)
		n.awaitOpen("g1", "g2")
	})
}

// watching is traffic that goes on.
type watching struct {
	n         *network
	streams   []*stream
	transfers []*transfer
}

// during does something to the network, waits until all flows again, and prints what was lost; lossless wants that nothing was.
func (w *watching) during(what string, lossless bool, do func()) {
	w.n.t.Helper()
	for _, s := range w.streams {
		s.begin()
	}
	for _, x := range w.transfers {
		x.begin()
	}
	time.Sleep(200 * time.Millisecond)
	w.n.t.Log(time.Now().Format(clock), what)
	do()
	time.Sleep(time.Second)
	for _, s := range w.streams {
		s.flowing()
	}
	for _, x := range w.transfers {
		x.alive()
		x.mu.Lock()
		w.n.t.Logf("%s: %s: longest pause %v", what, x.name, x.gap.Round(time.Millisecond))
		x.mu.Unlock()
	}
	for _, s := range w.streams {
		lost, sent, gap := s.lost()
		w.n.t.Logf("%s: %s: lost %d of %d, longest pause %v", what, s.name, lost, sent, gap.Round(time.Millisecond))
		if lossless && lost > 0 {
			w.n.t.Errorf("%s: %s has lost %d of %d", what, s.name, lost, sent)
		}
	}
}
