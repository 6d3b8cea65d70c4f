package e2e

import (
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/overlane/overlane/lab"
	"github.com/overlane/overlane/lab/labtest"
)

// Where every host is an edge, what an endpoint sends leaves by its own host while that can, and by another one else;
// what is for it comes by either.
func TestHostsThatAreEdges(t *testing.T) {
	t.Parallel()
	n := up(t, lab.File{
		Hosts:  []lab.HostSpec{{Name: "host1", Uplink: true}, {Name: "host2", Uplink: true}},
		Server: "host1",
		Outside: &lab.Outside{Machines: []lab.MachineSpec{{Name: "client"}, {Name: "server"}},
			Routes: []lab.Route{{To: netip.MustParsePrefix("1.22.4.0/24"), Via: []netip.Addr{netip.MustParseAddr("203.0.113.21"), netip.MustParseAddr("203.0.113.22")}}}},
	})
	n.apply(article)
	// One is known by a NAT-IP on the underlay, the other as it is.
	n.apply(fmt.Sprintf(`
{kind: Host, name: host1, spec: {address: %s, roles: [compute, edge], natPrefix: 10.200.1.0/24, outside: {interface: eth1, address: 203.0.113.21/24, router: 203.0.113.1}}}
---
{kind: Host, name: host2, spec: {address: %s, roles: [compute, edge], outside: {interface: eth1, address: 203.0.113.22/24, router: 203.0.113.1}}}
---
{kind: PublicPool, name: world, spec: {cidrs: [1.22.4.0/24]}}
---
{kind: InternetGateway, name: blue}
---
{kind: PublicIP, name: blue/a, spec: {address: 1.22.4.5, endpoint: blue/web/a}}
---
{kind: PublicIP, name: blue/b, spec: {address: 1.22.4.6, endpoint: blue/web/b}}
`, n.Host("host1").Address, n.Host("host2").Address))
	n.endpoint("host1 a blue/web --ip 172.17.42.2")
	n.endpoint("host2 b blue/web --ip 172.17.42.3")
	n.awaitOpen("host1", "host2")
	client, server := n.Machine("client").Netns(), n.Machine("server")
	a, b := n.inside("host1", "a"), n.inside("host2", "b")
	n.reaches("host1", "a", server.Address.String())
	n.reaches("host2", "b", server.Address.String())
	n.run("both ways", func(n *network) {
		atRouter := n.upstream()
		port := 7001
		for i, network := range []string{"tcp4", "udp4"} {
			for from, want := range map[string]string{a: "1.22.4.5", b: "1.22.4.6"} {
				port++
				if got := n.talk(network, from, server.Netns(), server.Address.String(), port); got != want {
					n.t.Errorf("by %s, the server sees %s, not %s", network, got, want)
				}
				for j := range 4 { // by either edge
					if got := n.talk(network, client, from, want, 7101+10*i+j); got != n.addressOf("client") {
						n.t.Errorf("by %s, %s sees %s", network, want, got)
					}
				}
			}
		}
		by := atRouter.senders()
		if len(by["1.22.4.5"]) != 1 || by["1.22.4.5"]["02:4d:cb:00:71:15"] == 0 || len(by["1.22.4.6"]) != 1 || by["1.22.4.6"]["02:4d:cb:00:71:16"] == 0 {
			n.t.Errorf("the endpoints' packets leave by %v", by)
		}
	})
	n.run("each other, by public address", func(n *network) {
		if got := n.talk("tcp4", a, b, "1.22.4.6", 7201); got != "1.22.4.5" {
			n.t.Errorf("b sees %s", got)
		}
		if got := n.talk("tcp4", b, a, "1.22.4.5", 7202); got != "1.22.4.6" {
			n.t.Errorf("a sees %s", got)
		}
	})
	n.run("ICMP errors", func(n *network) {
		n.refusal(client, "1.22.4.5")
		n.refusal(a, server.Address.String())
		n.refusal(a, "1.22.4.6")
		for _, address := range []string{"1.22.4.5", "1.22.4.6"} { // by the other edge there are that one's kernel and the host's between
			out := n.at("client", append(argv("busybox traceroute -n -w5 -q1"), address)...)
			if lines := strings.Split(strings.TrimSpace(out), "\n"); len(lines) < 4 || !strings.Contains(lines[2], " 203.0.113.2") || !strings.Contains(lines[len(lines)-1], " "+address+" ") {
				n.t.Errorf("to %s:\n%s", address, out)
			}
		}
	})
	n.run("the outside learns how long a packet may be here", func(n *network) { n.learnsMTU("host1", "a", "1.22.4.5", "host1", "host2") })
	w := watching{
		n:         n,
		streams:   []*stream{n.streaming("UDP in", client, a, 7301, "1.22.4.5"), n.streaming("UDP out", a, server.Netns(), 7302, n.manyServers()...)},
		transfers: []*transfer{n.transferring("TCP in", client, a, "1.22.4.5", 7303)},
	}
	w.lossless(labtest.Event{What: "host1's agent is killed and started", Do: func() {
		n.killAgent("host1")
		time.Sleep(time.Second)
		n.startAgent("host1")
		n.awaitOpen("host1", "host2")
	}})
	w.lossless(labtest.Event{What: "host1 is drained", Do: func() {
		n.on("host1", argv("overlane host drain host1")...)
		n.eventually("all leaves by host2", func() error {
			atRouter := n.upstream()
			n.reaches("host1", "a", server.Address.String())
			if by := atRouter.senders()["1.22.4.5"]; by["02:4d:cb:00:71:16"] == 0 || len(by) != 1 {
				return fmt.Errorf("it leaves by %v", by)
			}
			return nil
		})
	}}, labtest.Event{What: "it is drained no more", Do: func() {
		n.on("host1", argv("overlane host drain --undo host1")...)
		n.awaitOpen("host1", "host2")
	}})
	for _, up := range []bool{false, true} {
		w.during(fmt.Sprintf("the link of host1 to the upstream network becomes %v", up), func() {
			if err := n.Host("host1").SetLink("eth1", up); err != nil {
				t.Fatal(err)
			}
		})
	}
	n.awaitOpen("host1", "host2")
	holds := func(host string, want int) {
		n.eventually(fmt.Sprintf("%s holds %d next hops", host, want), func() error {
			if p := n.measured(host).Host.Border; len(p.ActiveNextHops) != want || p.Open != (want > 0) {
				return fmt.Errorf("it is %+v", p)
			}
			return nil
		})
	}
	w.during("host1 is cut off from the other", func() {
		if err := n.Host("host1").SetLink("eth0", false); err != nil {
			t.Fatal(err)
		}
		holds("host1", 0)
		holds("host2", 2)
		if err := n.Host("host1").SetLink("eth0", true); err != nil {
			t.Fatal(err)
		}
		n.awaitOpen("host1", "host2")
	})
	w.during("the other is dead", func() {
		n.killAgent("host2")
		if err := n.Host("host2").Daemons()["ovs-vswitchd"].Kill(t.Context(), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		holds("host1", 2)
	})
}

// senders are the MACs by which packets of each source were sent, with how many.
func (r *recording) senders() map[string]map[string]int {
	by := map[string]map[string]int{}
	for ethernet, ip := range r.ipv4() {
		source := ip.SrcIP.String()
		if by[source] == nil {
			by[source] = map[string]int{}
		}
		by[source][ethernet.SrcMAC.String()]++
	}
	return by
}
