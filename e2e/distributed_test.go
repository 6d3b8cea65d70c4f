package e2e

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket/layers"

	"github.com/overlane/overlane/lab"
	"github.com/overlane/overlane/lab/labtest"
)

// distributed is a lab of two hosts and two edges, whose next hops the router uses side by side, with the article's
// intent. On the underlay, endpoints are known by a NAT-IP of their host's prefix, or as they are.
func distributed(t testing.TB, prefixes map[string]string) *network {
	t.Helper()
	n := up(t, lab.File{
		Hosts:  []lab.HostSpec{{Name: "host1"}, {Name: "host2"}, {Name: "edge1", Uplink: true}, {Name: "edge2", Uplink: true}},
		Server: "host1",
		Outside: &lab.Outside{Machines: []lab.MachineSpec{{Name: "client"}, {Name: "server"}},
			Routes: []lab.Route{{To: netip.MustParsePrefix("1.22.4.0/24"), Via: []netip.Addr{netip.MustParseAddr("203.0.113.21"), netip.MustParseAddr("203.0.113.22")}}}},
	})
	n.apply(article)
	for host, nextHop := range map[string]string{"edge1": "203.0.113.21/24", "edge2": "203.0.113.22/24"} {
		n.apply(fmt.Sprintf("{kind: Host, name: %s, spec: {address: %s, roles: [edge], outside: {interface: eth1, address: %s, router: 203.0.113.1}}}",
			host, n.Host(host).Address, nextHop))
	}
	for host, prefix := range prefixes {
		n.apply(fmt.Sprintf("{kind: Host, name: %s, spec: {address: %s, natPrefix: %s}}", host, n.Host(host).Address, prefix))
	}
	n.apply(`
{kind: PublicPool, name: world, spec: {cidrs: [1.22.4.0/24]}}
---
{kind: InternetGateway, name: blue, spec: {design: distributed}}
`)
	for i, name := range []string{"a", "b", "c"} {
		n.apply(fmt.Sprintf("{kind: Endpoint, name: blue/web/%s, spec: {address: 172.17.42.%d}}\n---\n{kind: PublicIP, name: blue/%s, spec: {address: 1.22.4.%d, endpoint: blue/web/%s}}",
			name, 2+i, name, 5+i, name))
	}
	n.endpoint("host1 a blue/web")
	n.endpoint("host2 b blue/web")
	n.endpoint("host1 c blue/web")
	n.awaitOpen("edge1", "edge2")
	return n
}

// talk has one place send to an address of another one, which answers. It gives the sender's address as the other side
// sees it.
func (n *network) talk(network, from, to, address string, port int) (seen string) {
	n.t.Helper()
	heard := make(chan string, 1)
	inNetns(n.t, to, func() error {
		if network == "udp4" {
			c, err := net.ListenPacket(network, fmt.Sprint(":", port))
			if err != nil {
				return err
			}
			n.t.Cleanup(func() { c.Close() })
			go func() {
				b := make([]byte, 100)
				if _, who, err := c.ReadFrom(b); err == nil {
					heard <- who.String()
					_, _ = c.WriteTo(b[:1], who)
				}
			}()
			return nil
		}
		l, err := net.Listen(network, fmt.Sprint(":", port))
		if err != nil {
			return err
		}
		n.t.Cleanup(func() { l.Close() })
		go func() {
			if c, err := l.Accept(); err == nil {
				heard <- c.RemoteAddr().String()
				_, _ = c.Write([]byte("x"))
				c.Close()
			}
		}()
		return nil
	})
	inNetns(n.t, from, func() error {
		c, err := net.DialTimeout(network, net.JoinHostPort(address, fmt.Sprint(port)), 5*time.Second)
		if err != nil {
			return err
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		if _, err := c.Write([]byte("x")); err != nil {
			return err
		}
		_, err = c.Read(make([]byte, 1))
		return err
	})
	seen, _, _ = strings.Cut(<-heard, ":")
	return seen
}

// refusal wants the sender to hear that nobody listens: an ICMP error that quotes its packet as it has sent it.
func (n *network) refusal(from, address string) {
	n.t.Helper()
	n.eventually("an ICMP error from "+address, func() (failed error) {
		inNetns(n.t, from, func() error {
			c, err := net.Dial("udp4", address+":9")
			if err != nil {
				return err
			}
			defer c.Close()
			_, _ = c.Write([]byte("x"))
			_ = c.SetDeadline(time.Now().Add(2 * time.Second))
			if _, err := c.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "refused") {
				failed = fmt.Errorf("got %w", err)
			}
			return nil
		})
		return failed
	})
}

// onUnderlay pings a public address from outside, and wants the packets on the wire to a host to be for a known
// address, without a tunnel.
func (n *network) onUnderlay(host, address, prefix string) {
	n.t.Helper()
	seen := n.uplink(host).record()
	n.at("client", "ping", "-c2", "-i0.2", "-w10", "-p", "6f7665726c616e65", address) // "overlane"
	packets := seen.with("overlaneoverlane")
	if len(packets) < 2 {
		n.t.Errorf("%d packets of %s are on %s's wire", len(packets), address, host)
	}
	for _, p := range packets {
		ip, ok := p.Layer(layers.LayerTypeIPv4).(*layers.IPv4)
		if !ok || p.Layer(layers.LayerTypeUDP) != nil || !strings.HasPrefix(ip.DstIP.String(), prefix) && !strings.HasPrefix(ip.SrcIP.String(), prefix) {
			n.t.Errorf("on %s's wire is %v", host, p)
		}
	}
}

func testDistributed(t *testing.T, prefixes map[string]string, on1, on2 string) {
	n := distributed(t, prefixes)
	client, server := n.Machine("client"), n.Machine("server")
	a, b, c := n.inside("host1", "a"), n.inside("host2", "b"), n.inside("host1", "c")
	n.run("an endpoint reaches the outside", func(n *network) {
		n.reaches("host1", "a", server.Address.String())
		n.reaches("host2", "b", server.Address.String())
		for i, network := range []string{"tcp4", "udp4"} {
			if got := n.talk(network, a, server.Netns(), server.Address.String(), 7001+i); got != "1.22.4.5" {
				n.t.Errorf("by %s, the server sees %s", network, got)
			}
		}
	})
	n.run("the outside reaches an endpoint", func(n *network) {
		for i, network := range []string{"tcp4", "udp4"} {
			for j := range 4 { // by either edge
				if got := n.talk(network, client.Netns(), a, "1.22.4.5", 7101+10*i+j); got != client.Address.String() {
					n.t.Errorf("by %s, the endpoint sees %s", network, got)
				}
			}
		}
	})
	n.run("without a tunnel", func(n *network) {
		n.onUnderlay("host1", "1.22.4.5", on1)
		n.onUnderlay("host2", "1.22.4.6", on2)
	})
	n.run("endpoints reach each other by public addresses", func(n *network) {
		if got := n.talk("tcp4", a, b, "1.22.4.6", 7201); got != "1.22.4.5" {
			n.t.Errorf("on another host, it sees %s", got)
		}
		if got := n.talk("tcp4", a, c, "1.22.4.7", 7202); got != "1.22.4.5" {
			n.t.Errorf("on the same host, it sees %s", got)
		}
	})
	n.run("ICMP errors", func(n *network) {
		n.refusal(client.Netns(), "1.22.4.5")
		n.refusal(a, server.Address.String())
		n.refusal(a, "1.22.4.6")
	})
	n.run("protocols without ports: ESP, GRE, and one for experiments", func(n *network) {
		for _, protocol := range []string{"50", "47", "253"} {
			n.carries(protocol, client.Netns(), client.Address.String(), a, "1.22.4.5")
			n.carries(protocol, a, "1.22.4.5", server.Netns(), server.Address.String())
		}
	})
	n.run("the outside learns how long a packet may be here", func(n *network) { n.learnsMTU("host1", "a", "1.22.4.5", "edge1", "edge2") })
	n.run("traceroute shows the endpoint's host", func(n *network) {
		n.showsHost("1.22.4.5")
		n.showsHost("1.22.4.6")
	})
	n.run("hosts are out of reach", func(n *network) {
		for _, host := range []string{"host1", "host2", "edge1"} {
			n.noPing("host1", "a", n.Host(host).Address.String())
		}
	})
	n.apply("{kind: InternetGateway, name: blue, spec: {design: distributed, snat: true}}")
	n.endpoint("host1 d blue/web --ip 172.17.42.9")
	n.run("an endpoint without one reaches the public addresses of its own host", func(n *network) {
		n.reaches("host1", "d", server.Address.String())
		d := n.inside("host1", "d")
		for i, network := range []string{"tcp4", "udp4"} {
			if got := n.talk(network, d, a, "1.22.4.5", 7301+i); !strings.HasPrefix(got, "100.64.") {
				n.t.Errorf("by %s, on the same host, it is seen as %s", network, got)
			}
		}
		n.refusal(d, "1.22.4.5")
		n.ping("host1", "d", "1.22.4.5")
	})
	n.run("the endpoint moves", func(n *network) {
		n.on("host1", "overlane", "detach", "--netns", "a")
		n.endpoint("host2 a blue/web")
		n.reaches("host2", "a", server.Address.String())
		n.onUnderlay("host2", "1.22.4.5", on2)
	})
}

func TestDistributed(t *testing.T) {
	t.Parallel()
	testDistributed(t, nil, "1.22.4.", "1.22.4.")
}

func TestDistributedByNATIP(t *testing.T) {
	t.Parallel()
	testDistributed(t, map[string]string{"host1": "10.200.1.0/24", "host2": "10.200.2.0/24"}, "10.200.1.", "10.200.2.")
}

// Agents are not needed for packets; an edge that dies is one that hosts and router do not send to.
func TestDistributedFailsOver(t *testing.T) {
	t.Parallel()
	n := distributed(t, map[string]string{"host1": "10.200.1.0/24"})
	client, server, a := n.Machine("client").Netns(), n.Machine("server"), n.inside("host1", "a")
	n.reaches("host1", "a", server.Address.String())
	w := watching{
		n:         n,
		streams:   []*stream{n.streaming("UDP in", client, a, 7001, "1.22.4.5"), n.streaming("UDP out", a, server.Netns(), 7002, n.manyServers()...)},
		transfers: []*transfer{n.transferring("TCP in", client, a, "1.22.4.5", 7003)},
	}
	all := []string{"host1", "edge1", "edge2"}
	w.lossless(labtest.Event{What: "agents are killed", Do: func() {
		for _, host := range all {
			n.killAgent(host)
		}
		time.Sleep(time.Second)
	}}, labtest.Event{What: "they are started again", Do: func() {
		for _, host := range all {
			n.startAgent(host)
		}
		n.awaitOpen("edge1", "edge2")
		time.Sleep(time.Second)
	}})
	w.during("edge1's underlay is pulled", func() {
		if err := n.Host("edge1").SetLink("eth0", false); err != nil {
			t.Fatal(err)
		}
	})
	w.during("it is plugged in again", func() {
		if err := n.Host("edge1").SetLink("eth0", true); err != nil {
			t.Fatal(err)
		}
		n.awaitOpen("edge1", "edge2")
	})
}
