package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/overlane/overlane/lab"
	"github.com/overlane/overlane/lab/labtest"
)

// gateways is a lab of two hosts and two gateways, whose next hops the router uses side by side, with the article's
// intent.
func gateways(t testing.TB, roles string, options ...func(*lab.Options)) *network {
	t.Helper()
	n := up(t, lab.File{
		Hosts:  []lab.HostSpec{{Name: "host1"}, {Name: "host2"}, {Name: "g1", Uplink: true}, {Name: "g2", Uplink: true}},
		Server: "host1",
		Outside: &lab.Outside{Machines: []lab.MachineSpec{{Name: "client"}, {Name: "server"}},
			Routes: []lab.Route{{To: netip.MustParsePrefix("1.22.3.0/24"), Via: []netip.Addr{netip.MustParseAddr("203.0.113.11"), netip.MustParseAddr("203.0.113.12")}}}},
	}, options...)
	n.apply(article)
	for host, nextHop := range map[string]string{"g1": "203.0.113.11/24", "g2": "203.0.113.12/24"} {
		n.apply(fmt.Sprintf("{kind: Host, name: %s, spec: {address: %s, roles: [%s], outside: {interface: eth1, address: %s, router: 203.0.113.1}}}",
			host, n.Host(host).Address, roles, nextHop))
	}
	n.apply("{kind: PublicPool, name: world, spec: {cidrs: [1.22.3.0/24]}}")
	return n
}

// central is such a lab of one VPC, two endpoints of which have public addresses.
func central(t testing.TB) *network {
	t.Helper()
	n := gateways(t, "gateway")
	n.apply(`
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
			if p := s.Host.Border; p == nil || !p.Open || !slices.Equal(p.ActiveNextHops, []string{g}) {
				return fmt.Errorf("it is %+v", p)
			}
			return nil
		})
	}
}

// A public address is its endpoint's in both directions, towards the outside and towards others, wherever the endpoint
// is.
func TestCentral(t *testing.T) {
	t.Parallel()
	n := central(t)
	n.awaitOpen("g1", "g2")
	const publicA, publicB = "1.22.3.5", "1.22.3.6"
	client, server := n.Machine("client"), n.Machine("server")
	outside := server.Address.String()
	a, b := n.inside("host1", "a"), n.inside("host2", "b")
	n.reaches("host1", "a", outside)
	n.run("the outside reaches the endpoint, which sees who that is", func(n *network) {
		n.at("client", "ping", "-c1", "-W5", publicA)
		for _, protocol := range []string{"tcp4", "udp4"} {
			n.sees(client.Address.String(), protocol, client.Netns(), a, publicA)
		}
	})
	n.run("the endpoint reaches the outside, in the public address's name", func(n *network) {
		for _, protocol := range []string{"tcp4", "udp4"} {
			n.sees(publicA, protocol, a, server.Netns(), outside)
			n.sees(publicB, protocol, b, server.Netns(), outside)
		}
	})
	n.run("endpoints reach each other, and themselves, by public addresses", func(n *network) {
		for _, protocol := range []string{"tcp4", "udp4"} {
			n.sees(publicA, protocol, a, b, publicB)
			n.sees(publicB, protocol, b, a, publicA)
			n.sees(publicA, protocol, a, a, publicA)
		}
	})
	n.run("hosts are out of reach, by gateways as well", func(n *network) {
		before := n.drops("host1", "guarded-address")
		for _, host := range []string{"host1", "host2", "g1"} {
			n.noPing("host1", "a", n.Host(host).Address.String())
		}
		n.noPing("host1", "a", "169.254.169.254")
		n.eventually("they are counted", func() error { return errIf(n.drops("host1", "guarded-address") < before+4) })
		n.apply("{kind: InternetGateway, name: blue, spec: {design: central, allow: [192.168.5.3/32]}}")
		n.eventually("one is allowed", func() error {
			_, err := n.in("host1", "a", argv("ping -c1 -W1 192.168.5.3")...)
			return err
		})
		n.noPing("host1", "a", n.Host("host1").Address.String())
		n.apply("{kind: InternetGateway, name: blue, spec: {design: central}}")
	})
	n.run("protocols without ports: ESP, GRE, and one for experiments", func(n *network) {
		for _, protocol := range []string{"50", "47", "253"} {
			n.carries(protocol, client.Netns(), client.Address.String(), a, publicA)
			n.carries(protocol, a, publicA, server.Netns(), outside)
		}
	})
	n.run("an endpoint without one has no way out", func(n *network) {
		n.says("host1", "c", "Destination Net Unreachable", "ping", "-c1", "-W5", outside)
	})
	n.run("a closed port is said to be closed, both ways", func(n *network) {
		n.closed(client.Netns(), publicA+":7999")
		n.closed(a, outside+":7999")
		n.closed(a, publicB+":7999")
	})
	n.run("an endpoint learns how long a packet may be outside", func(n *network) {
		n.at("router", "ip", "link", "set", "eth2", "mtu", "1300")
		defer n.at("router", "ip", "link", "set", "eth2", "mtu", "1500")
		n.says("host1", "a", "mtu = 1300", "ping", "-c1", "-W5", "-M", "do", "-s", "1380", outside)
		if out, err := n.in("host1", "a", "ip", "route", "get", outside); err != nil || !strings.Contains(out, "mtu 1300") {
			n.t.Errorf("the endpoint's kernel has not learnt it: %v\n%s", err, out)
		}
	})
	n.run("the outside learns how long a packet may be here", func(n *network) { n.learnsMTU("host1", "a", publicA, "g1", "g2") })
	n.run("traceroute shows the endpoint's host", func(n *network) { n.showsHost(publicB) })
	n.run("traceroute shows a gateway, both ways", func(n *network) {
		const gateway = " 203.0.113.1"
		inwards := n.at("client", "busybox", "traceroute", "-n", "-q1", "-w2", "-m6", publicA)
		outwards, err := n.in("host1", "a", "busybox", "traceroute", "-n", "-q1", "-w2", "-m6", outside)
		if err != nil {
			n.t.Error(err)
		}
		if !strings.Contains(inwards, "203.0.113.11 ") && !strings.Contains(inwards, "203.0.113.12 ") || !strings.Contains(inwards, "  "+publicA) {
			n.t.Errorf("inwards:\n%s", inwards)
		}
		if !strings.Contains(outwards, "203.0.113.11 ") && !strings.Contains(outwards, "203.0.113.12 ") || !strings.Contains(outwards, gateway+" ") {
			n.t.Errorf("outwards:\n%s", outwards)
		}
	})
	n.run("a public address follows its endpoint to another host", func(n *network) {
		n.on("host1", argv("overlane detach --netns a")...)
		n.endpoint("host2 a blue/web --ip 172.17.42.2")
		n.reaches("host2", "a", outside)
		n.sees(client.Address.String(), "tcp4", client.Netns(), n.inside("host2", "a"), publicA)
		n.sees(publicA, "tcp4", n.inside("host2", "a"), server.Netns(), outside)
	})
	n.run("a host that is no gateway any more gets its interface back", func(n *network) {
		n.apply(fmt.Sprintf("{kind: Host, name: g2, spec: {address: %s, roles: [compute]}}", n.Host("g2").Address))
		n.eventually("g2's switch does not have it", func() error {
			out := n.on("g2", "ip", "link", "show", "eth1")
			if ports := n.ports("g2"); len(ports) > 0 || strings.Contains(out, "NOARP") {
				return fmt.Errorf("ports %v, %s", ports, out)
			}
			return nil
		})
		n.on("g2", "ip", "address", "add", "203.0.113.12/24", "dev", "eth1")
		n.on("g2", "ping", "-c1", "-W5", "203.0.113.1")
		n.on("g2", "ip", "address", "del", "203.0.113.12/24", "dev", "eth1")
	})
}

// sees opens a connection from one namespace to another, or sends a datagram, by an address; each hears the other, and
// the other sees it come from want.
func (n *network) sees(want, protocol, from, to, address string) {
	n.t.Helper()
	n.seesAt(want, protocol, from, to, address+":7100", ":7100")
}

// seesAt is sees by a port that leads to another one.
func (n *network) seesAt(want, protocol, from, to, address, port string) {
	n.t.Helper()
	got := make(chan string, 1)
	inNetns(n.t, to, func() error { return echo(n.t, protocol, port, got) })
	var c net.Conn
	inNetns(n.t, from, func() (err error) {
		c, err = net.DialTimeout(protocol, address, patience)
		return err
	})
	defer c.Close()
	reply := make([]byte, 5)
	n.eventually(protocol+" to "+address+" is answered", func() error {
		_ = c.SetDeadline(time.Now().Add(time.Second))
		if _, err := c.Write([]byte("hello")); err != nil {
			return err
		}
		_, err := io.ReadFull(c, reply)
		return err
	})
	if who := <-got; who != want {
		n.t.Errorf("%s to %s comes from %s, want %s", protocol, address, who, want)
	}
}

// echo sends the first five bytes back, and says who they are from once the port is free again.
func echo(t testing.TB, protocol, port string, who chan<- string) error {
	host := func(a net.Addr) string {
		h, _, _ := net.SplitHostPort(a.String())
		return h
	}
	b := make([]byte, 5)
	if protocol == "udp4" {
		socket, err := net.ListenPacket(protocol, port)
		if err != nil {
			return err
		}
		go func() {
			defer socket.Close()
			if _, from, err := socket.ReadFrom(b); err == nil {
				_, _ = socket.WriteTo(b, from)
				socket.Close()
				who <- host(from)
			}
		}()
		t.Cleanup(func() { socket.Close() })
		return nil
	}
	listener, err := net.Listen(protocol, port)
	if err != nil {
		return err
	}
	go func() {
		defer listener.Close()
		c, err := listener.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		_, _ = io.ReadFull(c, b)
		_, _ = c.Write(b)
		listener.Close()
		who <- host(c.RemoteAddr())
	}()
	t.Cleanup(func() { listener.Close() })
	return nil
}

// closed wants that a datagram to a port that nobody listens on is answered so.
func (n *network) closed(from, address string) {
	n.t.Helper()
	var c net.Conn
	inNetns(n.t, from, func() (err error) {
		c, err = net.Dial("udp4", address)
		return err
	})
	defer c.Close()
	n.eventually(address+" is said to be closed", func() error {
		_ = c.SetDeadline(time.Now().Add(time.Second))
		_, _ = c.Write([]byte("hello"))
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNREFUSED) {
			return fmt.Errorf("got %w", err)
		}
		return nil
	})
}

// What the outside and an endpoint send each other goes on whatever dies; it is printed how much is lost meanwhile, and
// how long.
func TestCentralFailsOver(t *testing.T) {
	t.Parallel()
	n := central(t)
	n.awaitOpen("g1", "g2")
	client, server, a := n.Machine("client").Netns(), n.Machine("server"), n.inside("host1", "a")
	n.reaches("host1", "a", server.Address.String())
	w := watching{
		n: n,
		streams: []*stream{
			n.streaming("UDP in", client, a, 7001, "1.22.3.5"),
			n.streaming("UDP out", a, server.Netns(), 7002, n.manyServers()...),
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
	w.lossless(labtest.Event{What: "nothing happens", Do: func() { time.Sleep(time.Second) }})
	w.lossless(labtest.Event{What: "agents of both gateways are killed", Do: func() {
		n.killAgent("g1")
		n.killAgent("g2")
		time.Sleep(2 * time.Second)
	}}, labtest.Event{What: "they are started again", Do: func() {
		n.startAgent("g1")
		n.startAgent("g2")
		n.awaitOpen("g1", "g2")
		time.Sleep(time.Second)
	}})
	w.during("g1's ovs-vswitchd is killed", func() { must(vswitchd.Kill(ctx, syscall.SIGKILL)) })
	w.during("it is started again", func() {
		must(vswitchd.Start(ctx))
		n.awaitOpen("g1", "g2")
	})
	w.during("g1's uplink is pulled", func() { must(g1.SetLink("eth1", false)) })
	w.during("it is plugged in again", func() {
		must(g1.SetLink("eth1", true))
		n.awaitOpen("g1", "g2")
	})
	w.during("g1's underlay is pulled", func() { must(g1.SetLink("eth0", false)) })
	w.during("it is plugged in again", func() {
		must(g1.SetLink("eth0", true))
		n.awaitOpen("g1", "g2")
	})
	bothAtG2 := func() {
		n.eventually("g2 holds both next hops", func() error {
			if got := n.measured("g2").Host.Border.ActiveNextHops; len(got) != 2 {
				return fmt.Errorf("it holds %v", got)
			}
			return nil
		})
	}
	w.lossless(labtest.Event{What: "the router does not hear g1 ask", Do: func() {
		n.at("router", "nft", "add table arp deaf; add chain arp deaf in { type filter hook input priority 0; }; add rule arp deaf in arp saddr ether 02:4d:cb:00:71:0b drop")
		bothAtG2()
	}}, labtest.Event{What: "it does again", Do: func() {
		n.at("router", "nft", "delete table arp deaf")
		n.awaitOpen("g1", "g2")
	}})
	w.lossless(labtest.Event{What: "g1 is drained", Do: func() {
		n.on("host1", argv("overlane host drain g1")...)
		bothAtG2()
	}}, labtest.Event{What: "it is drained no more", Do: func() {
		n.on("host1", argv("overlane host drain --undo g1")...)
		n.awaitOpen("g1", "g2")
	}})
}
