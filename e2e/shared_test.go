package e2e

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/overlane/overlane/lab"
	"github.com/overlane/overlane/lab/labtest"
	"github.com/overlane/overlane/model"
)

const (
	sharedOfBlue = "{kind: InternetGateway, name: blue, spec: {design: central, snat: true}}"
	sharedOfRed  = "{kind: InternetGateway, name: red, spec: {design: central, snat: true}}"
)

// shared is a lab of two gateways and two VPCs with the same addresses on both hosts, whose endpoints share public
// ones.
func shared(t testing.TB, options ...func(*lab.Options)) *network {
	t.Helper()
	n := gateways(t, "gateway", options...)
	n.apply(sharedOfBlue + "\n---\n" + sharedOfRed)
	n.endpoint("host1 a blue/web --ip 172.17.42.2")
	n.endpoint("host1 ra red/web --ip 172.17.42.2")
	n.endpoint("host2 b blue/web --ip 172.17.42.3")
	n.endpoint("host2 rb red/web --ip 172.17.42.3")
	n.awaitOpen("g1", "g2")
	n.teller("server")
	for _, netns := range n.sharing() {
		n.leaves(netns)
	}
	return n
}

// sharing are the namespaces of shared's endpoints, by the port block that each leaves by.
func (n *network) sharing() map[string]string {
	return map[string]string{"blue/host1": n.inside("host1", "a"), "red/host1": n.inside("host1", "ra"), "blue/host2": n.inside("host2", "b"), "red/host2": n.inside("host2", "rb")}
}

// leaves waits until the server answers a namespace, and gives what that is known by.
func (n *network) leaves(netns string) (seen netip.AddrPort) {
	n.t.Helper()
	n.eventually(netns+" is answered", func() error {
		k, err := n.talks(netns, "udp4", 0)
		if err != nil {
			return err
		}
		defer k.Close()
		err = k.echo(10)
		seen = k.seen
		return err
	})
	return seen
}

// block is a port block; nil if there is none of that name.
func (n *network) block(name string) *model.PortBlockSpec {
	n.t.Helper()
	list, err := n.api().List(n.t.Context(), "PortBlock", "")
	if err != nil {
		n.t.Fatal(err)
	}
	for _, o := range list.Items {
		if o.Name == name {
			return o.Spec.(*model.PortBlockSpec)
		}
	}
	return nil
}

func within(b *model.PortBlockSpec, seen netip.AddrPort) bool {
	return b != nil && seen.Addr() == b.Address && b.First <= seen.Port() && seen.Port() <= b.Last
}

// upstream records what is on the router's wire to the gateways.
func (n *network) upstream() *recording { return n.wireOf("router", "eth1").record() }

// passes counts the packets that each gateway has sent there, and got from there.
func (r *recording) passes(proto layers.IPProtocol) (out, in map[string]int) {
	out, in = map[string]int{}, map[string]int{}
	for ethernet, ip := range r.ipv4() {
		if ip.Protocol != proto {
			continue
		}
		for gateway, last := range map[string]string{"g1": "cb:00:71:0b", "g2": "cb:00:71:0c"} {
			if ethernet.SrcMAC.String() == "02:4d:"+last {
				out[gateway]++
			}
			if ethernet.DstMAC.String() == "02:4e:"+last {
				in[gateway]++
			}
		}
	}
	return out, in
}

// private counts the packets that have an endpoint's private address.
func (r *recording) private() (count int) {
	for _, ip := range r.ipv4() {
		if strings.HasPrefix(ip.SrcIP.String(), "172.17.") || strings.HasPrefix(ip.DstIP.String(), "172.17.") {
			count++
		}
	}
	return count
}

// Endpoints without a public address share one with those of other VPCs and hosts, each by ports of its own.
func TestShared(t *testing.T) {
	t.Parallel()
	n := shared(t)
	a := n.inside("host1", "a")
	n.run("blocks of one address are of different hosts and VPCs", func(n *network) {
		all := map[uint16]string{}
		for name := range n.sharing() {
			b := n.block(name)
			if b == nil || b.Address.String() != "1.22.3.0" || b.Last-b.First != 1023 || all[b.First] != "" {
				n.t.Fatalf("%s has %+v, beside %v", name, b, all)
			}
			all[b.First] = name
		}
		out := n.on("host1", argv("overlane get portblocks")...)
		for name := range n.sharing() {
			if b := n.block(name); !strings.Contains(out, name) || !strings.Contains(out, fmt.Sprintf("%d-%d", b.First, b.Last)) {
				n.t.Errorf("overlane get does not show %s:\n%s", name, out)
			}
		}
	})
	n.run("all at the same time, from the same addresses and ports", func(n *network) {
		n.sideBySideAs(n.sharing(), 1400, func(name string, seen netip.AddrPort) bool { return within(n.block(name), seen) })
	})
	n.run("by either gateway, there and back", func(n *network) {
		seen := n.upstream()
		for i, address := range n.manyServers() {
			for j, netns := range []string{a, n.inside("host2", "rb")} {
				n.transferring(fmt.Sprintf("TCP %d.%d", i, j), netns, n.Machine("server").Netns(), address, 7200+10*i+j)
			}
		}
		n.eventually("both are used", func() error {
			if out, in := seen.passes(layers.IPProtocolTCP); len(out) != 2 || len(in) != 2 {
				return fmt.Errorf("out by %v, in by %v", out, in)
			}
			return nil
		})
	})
	n.run("nothing comes in unasked", func(n *network) {
		k, err := n.talks(a, "udp4", 40002)
		if err == nil {
			err = k.echo(10)
		}
		if err != nil {
			n.t.Fatal(err)
		}
		block := n.block("blue/host1")
		var inside []*recording
		for name := range n.sharing() {
			host := strings.Split(name, "/")[1]
			inside = append(inside, n.tapOf(host, map[string]string{"blue/host1": "a", "red/host1": "ra", "blue/host2": "b", "red/host2": "rb"}[name]).record())
		}
		before := n.drops("host1", "no-connection")
		for _, port := range []uint16{block.First, k.seen.Port(), block.Last} {
			c, err := n.dial(n.Machine("client").Netns(), "udp4", 0, netip.AddrPortFrom(block.Address, port).String())
			if err != nil {
				n.t.Fatal(err)
			}
			fmt.Fprint(c, "no-connection")
		}
		if _, err := n.dial(n.Machine("client").Netns(), "tcp4", 0, netip.AddrPortFrom(block.Address, block.First).String()); err == nil || !strings.Contains(err.Error(), "timeout") {
			n.t.Errorf("a connection to a block's port: %v", err)
		}
		n.eventually("it is counted", func() error {
			if got := n.drops("host1", "no-connection") - before; got < 4 {
				return fmt.Errorf("%d are", got)
			}
			return nil
		})
		unassigned := n.drops("g1", "no-public-ip") + n.drops("g2", "no-public-ip")
		c, err := n.dial(n.Machine("client").Netns(), "udp4", 0, block.Address.String()+":80")
		if err != nil {
			n.t.Fatal(err)
		}
		fmt.Fprint(c, "no-connection")
		n.eventually("what is for no block is counted at a gateway", func() error {
			return errIf(n.drops("g1", "no-public-ip")+n.drops("g2", "no-public-ip") == unassigned)
		})
		for _, r := range inside {
			if got := r.count("no-connection"); got > 0 {
				n.t.Errorf("%d arrive", got)
			}
		}
		if err := k.echo(10); err != nil {
			n.t.Error(err)
		}
	})
	n.run("side by side with an endpoint of its VPC that has a public address", func(n *network) {
		n.apply(`
{kind: PublicIP, name: blue/p, spec: {address: 1.22.3.5, endpoint: blue/web/p}}
---
{kind: PublicIP, name: red/p, spec: {address: 1.22.3.6, endpoint: red/web/rp}}
`)
		n.endpoint("host1 p blue/web --ip 172.17.42.4")
		n.endpoint("host2 rp red/web --ip 172.17.42.4")
		p, rp := n.inside("host1", "p"), n.inside("host2", "rp")
		n.reaches("host1", "p", n.addressOf("server"))
		n.reaches("host2", "rp", n.addressOf("server"))
		public := map[string]string{"p": "1.22.3.5", "rp": "1.22.3.6"}
		n.sideBySideAs(map[string]string{"blue/host1": a, "red/host2": n.inside("host2", "rb"), "p": p, "rp": rp}, 1400, func(name string, seen netip.AddrPort) bool {
			return public[name] == seen.Addr().String() || within(n.block(name), seen)
		})
		block := n.block("blue/host1").Address.String()
		for _, protocol := range []string{"tcp4", "udp4"} {
			n.sees(block, protocol, a, p, public["p"])
			n.sees(block, protocol, a, rp, public["rp"])
			n.sees(block, protocol, n.inside("host2", "b"), p, public["p"])
		}
		n.closed(a, public["p"]+":7999")
		n.closed(a, public["rp"]+":7999")
	})
	n.run("what finds no port goes nowhere", func(n *network) {
		lasting, err := n.talks(a, "udp4", 40003)
		if err == nil {
			err = lasting.echo(10)
		}
		if err != nil {
			n.t.Fatal(err)
		}
		n.apply("{kind: InternetGateway, name: blue, spec: {design: central, snat: true, portsPerHost: 64}}")
		n.eventually("it has the smaller block", func() error { return errIf(!within(n.block("blue/host1"), n.leaves(a))) })
		n.eventually("so has what has been using another one", func() error {
			return errors.Join(lasting.echo(10), errIf(!within(n.block("blue/host1"), lasting.seen)))
		})
		k, err := n.talks(a, "tcp4", 0)
		if err != nil {
			n.t.Fatal(err)
		}
		seen, before := n.upstream(), n.untranslated("host1")
		var many []net.Conn
		for range 100 {
			c, err := n.dial(a, "udp4", 0, n.addressOf("server")+":9")
			if err != nil {
				n.t.Fatal(err)
			}
			many = append(many, c)
		}
		n.eventually("what is too many is counted", func() error {
			for _, c := range many { // again each time, for a busy machine loses some: who has a port keeps it
				fmt.Fprint(c, "one of many")
			}
			if got := n.untranslated("host1") - before; got < 36 {
				return fmt.Errorf("%d are", got)
			}
			return nil
		})
		ports := map[uint16]bool{}
		for _, p := range seen.with("one of many") {
			ports[uint16(p.TransportLayer().(*layers.UDP).SrcPort)] = true
			if source := p.NetworkLayer().NetworkFlow().Src().String(); source != n.block("blue/host1").Address.String() {
				n.t.Errorf("upstream is a packet from %s", source)
			}
		}
		if len(ports) != 64 || seen.private() > 0 {
			n.t.Errorf("%d ports are used, want 64; %d packets have private addresses", len(ports), seen.private())
		}
		n.leaves(a) // another destination has ports of its own
		n.leaves(n.inside("host2", "b"))
		if err := k.echo(10_000); err != nil {
			n.t.Errorf("what was open: %v", err)
		}
	})
}

// untranslated counts what finds no port on a host. The kernel's datapath drops it before any flow sees it.
func (n *network) untranslated(host string) uint64 {
	n.t.Helper()
	return n.drops(host, "snat-failed") + n.drops(host, "conntrack-full")
}

// What endpoints that share addresses have open goes on whatever dies of the gateways.
func TestSharedFailsOver(t *testing.T) {
	t.Parallel()
	n := shared(t)
	server, a, rb := n.Machine("server").Netns(), n.inside("host1", "a"), n.inside("host2", "rb")
	many := n.manyServers()
	w := watching{n: n, streams: []*stream{n.streaming("UDP of blue", a, server, 7001, many...), n.streaming("UDP of red", rb, server, 7002, many...)}}
	for i, address := range many {
		w.transfers = append(w.transfers, n.transferring(fmt.Sprintf("TCP of blue to %s", address), a, server, address, 7010+i),
			n.transferring(fmt.Sprintf("TCP of red to %s", address), rb, server, address, 7020+i))
	}
	g1, ctx := n.Host("g1"), t.Context()
	vswitchd := g1.Daemons()["ovs-vswitchd"]
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	w.lossless(labtest.Event{What: "agents are killed and started", Do: func() {
		for _, host := range []string{"host1", "g1", "g2"} {
			n.killAgent(host)
		}
		time.Sleep(time.Second)
		for _, host := range []string{"host1", "g1", "g2"} {
			n.startAgent(host)
		}
		n.awaitOpen("g1", "g2")
	}})
	w.during("g1's ovs-vswitchd is killed", func() { must(vswitchd.Kill(ctx, syscall.SIGKILL)) })
	w.during("it is started again", func() {
		must(vswitchd.Start(ctx))
		n.awaitOpen("g1", "g2")
	})
	w.lossless(labtest.Event{What: "g1 is drained", Do: func() {
		n.on("host1", argv("overlane host drain g1")...)
		n.eventually("g2 holds both next hops", func() error { return errIf(len(n.measured("g2").Host.Border.ActiveNextHops) != 2) })
	}}, labtest.Event{What: "it is drained no more", Do: func() {
		n.on("host1", argv("overlane host drain --undo g1")...)
		n.awaitOpen("g1", "g2")
	}})
}

// Errors about what has left by a shared address come to the endpoint that sent it, by whichever gateway.
func TestSharedICMP(t *testing.T) {
	t.Parallel()
	n := shared(t)
	outside, many := n.addressOf("server"), n.manyServers()
	n.run("an echo leaves by the host's kernel", func(n *network) {
		n.reaches("host1", "a", outside)
		n.reaches("host2", "rb", outside)
		n.says("host1", "a", " 0% packet loss", "ping", "-c2", "-i0.2", "-W5", "-s4000", outside)
	})
	n.run("traceroute shows the gateway and the router", func(n *network) {
		for _, netns := range []string{"host1 a", "host2 rb"} {
			f := strings.Fields(netns)
			out, err := n.in(f[0], f[1], "busybox", "traceroute", "-n", "-q1", "-w5", "-m6", outside)
			lines := strings.Split(out, "\n")
			for i, want := range []string{"172.17.42.1 ", "203.0.113.1", "203.0.113.1 ", outside + " "} {
				if len(lines) < i+2 || !strings.Contains(lines[i+1], "  "+want) {
					n.t.Errorf("hop %d from %s is not %s: %v\n%s", i+1, netns, want, err, out)
				}
			}
		}
	})
	n.at("router", "ip", "link", "set", "eth2", "mtu", "1300")
	n.at("server", "sysctl", "-qw", "net.ipv4.icmp_ratelimit=0")
	for i, gateway := range []string{"203.0.113.11", "203.0.113.12"} {
		n.at("router", "ip", "route", "replace", "1.22.3.0/24", "via", gateway)
		n.run("by "+gateway, func(n *network) {
			seen := n.upstream()
			for _, netns := range n.sharing() {
				n.closed(netns, outside+":7999")
				n.hearsOfMTU(netns, many[i], 1300)
				k, err := n.talks(netns, "tcp4", 0)
				if err == nil {
					_, err = k.Write(make([]byte, 1<<15)) // what comes back is too long for the router, and lost
				}
				if err != nil {
					n.t.Fatal(err)
				}
				n.eventually("TCP has heard of the MTU", func() error { return n.mtuTo(netns, outside, 1300) })
			}
			if _, in := seen.passes(layers.IPProtocolICMPv4); len(in) != 1 {
				n.t.Errorf("errors come by %v", in)
			}
		})
	}
}

// hearsOfMTU sends what is too long for the way to an address, until a namespace's kernel has learnt how long it may
// be.
func (n *network) hearsOfMTU(netns, to string, want uint32) {
	n.t.Helper()
	c, err := n.dial(netns, "udp4", 0, to+":9")
	if err != nil {
		n.t.Fatal(err)
	}
	dontFragment(n.t, c.(*net.UDPConn))
	n.eventually(netns+" has heard of the MTU", func() error {
		if _, err := c.Write(make([]byte, 1400)); err != nil && !errors.Is(err, syscall.EMSGSIZE) && !errors.Is(err, syscall.ECONNREFUSED) {
			return err
		}
		return n.mtuTo(netns, to, want)
	})
}

// A port of a public address leads to an endpoint's, which has it in common with others, and with what it opens itself
// by shared ports.
func TestForwards(t *testing.T) {
	t.Parallel()
	n := shared(t)
	const public = "1.22.3.7"
	n.apply(`
{kind: PublicIP, name: blue/f, spec: {address: 1.22.3.7}}
---
{kind: Forward, name: blue/www, spec: {publicIP: blue/f, port: 8080, endpoint: blue/web/b, targetPort: 80}}
---
{kind: Forward, name: blue/dns, spec: {publicIP: blue/f, protocol: udp, port: 8080, endpoint: blue/web/a, targetPort: 53}}
`)
	client, a, b := n.Machine("client"), n.inside("host1", "a"), n.inside("host2", "b")
	who := client.Address.String()
	n.eventually("they are there", func() error {
		return errIf(strings.Count(n.on("host1", argv("overlane get forwards")...), string(model.PublicReady)) != 2)
	})
	n.run("each leads to its endpoint, which sees the client", func(n *network) {
		for range 4 { // by either gateway
			n.seesAt(who, "tcp4", client.Netns(), b, public+":8080", ":80")
			n.seesAt(who, "udp4", client.Netns(), a, public+":8080", ":53")
		}
	})
	n.run("others are closed", func(n *network) {
		before := n.drops("g1", "no-public-ip") + n.drops("g2", "no-public-ip")
		for _, network := range []string{"tcp4", "udp4"} {
			c, err := n.dial(client.Netns(), network, 0, public+":8081")
			if network == "udp4" {
				fmt.Fprint(c, "hello")
			} else if err == nil || !strings.Contains(err.Error(), "timeout") {
				n.t.Errorf("a port that is not forwarded: %v", err)
			}
		}
		n.eventually("it is counted", func() error { return errIf(n.drops("g1", "no-public-ip")+n.drops("g2", "no-public-ip") < before+2) })
	})
	n.run("a closed port of the endpoint is said to be", func(n *network) { n.closed(client.Netns(), public+":8080") })
	n.run("what is too long for the way to the client", func(n *network) {
		n.at("router", "ip", "link", "set", "eth2", "mtu", "1300")
		defer n.at("router", "ip", "link", "set", "eth2", "mtu", "1500")
		for i, gateway := range []string{"203.0.113.11", "203.0.113.12"} {
			n.at("router", "ip", "route", "replace", "1.22.3.0/24", "via", gateway)
			from := fmt.Sprintf("198.51.100.%d", 240+i)
			n.at("client", "ip", "address", "add", from+"/24", "dev", "eth0")
			c, answering := n.answersTo(from, public+":8080", a, ":53")
			dontFragment(n.t, answering)
			n.eventually("the endpoint has heard of the MTU", func() error {
				_, _ = answering.WriteTo(make([]byte, 1400), c.LocalAddr())
				return n.mtuTo(a, from, 1300)
			})
			answering.Close()
		}
	})
	n.run("what the endpoints open themselves leaves by shared ports", func(n *network) {
		n.sideBySideAs(n.sharing(), 1400, func(name string, seen netip.AddrPort) bool { return within(n.block(name), seen) })
	})
	n.run("an endpoint that shares an address reaches it", func(n *network) {
		n.seesAt(n.block("blue/host1").Address.String(), "tcp4", a, b, public+":8080", ":80")
		n.seesAt(n.block("red/host2").Address.String(), "tcp4", n.inside("host2", "rb"), b, public+":8080", ":80")
		n.seesAt(n.block("blue/host1").Address.String(), "udp4", a, a, public+":8080", ":53")
	})
	n.run("without SNAT", func(n *network) {
		n.apply("{kind: InternetGateway, name: blue, spec: {design: central}}")
		n.eventually("it is off", func() error { return errIf(n.block("blue/host1") != nil) })
		n.seesAt(who, "tcp4", client.Netns(), b, public+":8080", ":80")
		n.seesAt(who, "udp4", client.Netns(), a, public+":8080", ":53")
		n.closed(client.Netns(), public+":8080")
		n.apply(sharedOfBlue)
		n.leaves(a)
	})
	n.run("it follows the endpoint", func(n *network) {
		n.on("host2", argv("overlane detach --netns b")...)
		n.endpoint("host1 b blue/web --ip 172.17.42.3")
		n.leaves(n.inside("host1", "b"))
		n.seesAt(who, "tcp4", client.Netns(), n.inside("host1", "b"), public+":8080", ":80")
		n.seesAt(who, "udp4", client.Netns(), a, public+":8080", ":53")
	})
}

// answersTo has the client send a datagram from an address to one, and gives the socket of a namespace that gets it,
// too.
func (n *network) answersTo(from, address, to, port string) (client net.Conn, answering *net.UDPConn) {
	n.t.Helper()
	inNetns(n.t, to, func() error {
		c, err := net.ListenPacket("udp4", port)
		answering, _ = c.(*net.UDPConn)
		return err
	})
	n.t.Cleanup(func() { answering.Close() })
	inNetns(n.t, n.Machine("client").Netns(), func() (err error) {
		d := net.Dialer{LocalAddr: &net.UDPAddr{IP: addr(from)}}
		client, err = d.DialContext(n.t.Context(), "udp4", address)
		return err
	})
	n.t.Cleanup(func() { client.Close() })
	n.eventually("a datagram from "+from+" arrives", func() error {
		fmt.Fprint(client, "hello")
		_ = answering.SetReadDeadline(time.Now().Add(time.Second))
		_, who, err := answering.ReadFromUDPAddrPort(make([]byte, 100))
		return errors.Join(err, errIf(who.String() != client.LocalAddr().String()))
	})
	return client, answering
}

// Ports are leased to a host with a VPC's first endpoint, and given back with its last.
func TestLeases(t *testing.T) {
	t.Parallel()
	n := shared(t)
	n.run("the last endpoint's end is the block's", func(n *network) {
		first := n.block("blue/host2")
		n.endpoint("host2 b2 blue/web --ip 172.17.42.5")
		n.on("host2", argv("overlane detach --netns b")...)
		if got := n.block("blue/host2"); got == nil || *got != *first {
			n.t.Errorf("with an endpoint left it is %+v, not %+v", got, first)
		}
		n.on("host2", argv("overlane detach --netns b2")...)
		if got := n.block("blue/host2"); got != nil {
			n.t.Errorf("with none left it is %+v", got)
		}
		n.attach("host2", argv("--netns b --subnet blue/web --ip 172.17.42.3")...)
		second := n.block("blue/host2")
		if second == nil || *second == *first {
			n.t.Errorf("the next one is %+v after %+v", second, first)
		}
		n.eventually("it is what is used", func() error { return errIf(!within(second, n.leaves(n.inside("host2", "b")))) })
	})
	n.run("also while the agent is dead", func(n *network) {
		n.killAgent("host2")
		n.on("host2", argv("ip netns del b")...)
		n.startAgent("host2")
		n.eventually("it is released", func() error { return errIf(n.block("blue/host2") != nil) })
	})
	n.run("where there is none left, endpoints wait", func(n *network) {
		n.apply(`
{kind: PublicPool, name: small, spec: {cidrs: [1.22.3.200/32]}}
---
{kind: PublicPool, name: world, spec: {cidrs: [1.22.3.0/25]}}
---
{kind: InternetGateway, name: blue, spec: {design: central, snat: true, pool: small, portsPerHost: 32768}}
---
{kind: InternetGateway, name: red, spec: {design: central, snat: true, pool: small, portsPerHost: 32768}}
`)
		a, ra := n.inside("host1", "a"), n.inside("host1", "ra")
		n.on("host2", argv("overlane detach --netns rb")...)
		n.eventually("blue has it", func() error { return errIf(!within(n.block("blue/host1"), n.leaves(a))) })
		n.endpoint("host1 late red/web --ip 172.17.42.9")
		n.eventually("status says why", func() error {
			out := n.on("host1", argv("overlane get internetgateway red")...)
			return errIf(!strings.Contains(out, "no ports left in PublicPool small for 1 host: host1"))
		})
		seen := n.upstream()
		for _, netns := range []string{ra, n.inside("host1", "late")} {
			n.eventually("it is told at once", func() error {
				if _, err := n.dial(netns, "tcp4", 0, n.addressOf("server")+":80"); !errors.Is(err, syscall.ENETUNREACH) {
					return fmt.Errorf("got %w", err)
				}
				return nil
			})
		}
		n.reaches("host1", "ra", n.addressOf("server")) // echoes need no ports
		n.leaves(a)
		for _, p := range seen.all() {
			if p := gopacket.NewPacket(p, layers.LayerTypeEthernet, gopacket.NoCopy); p.TransportLayer() != nil && p.TransportLayer().TransportFlow().Dst().String() == "80" {
				n.t.Errorf("upstream is %v", p)
			}
		}
		if seen.private() > 0 {
			n.t.Errorf("%d packets upstream have private addresses", seen.private())
		}
		n.on("host1", argv("overlane detach --netns a")...)
		if got := n.leaves(ra); !within(n.block("red/host1"), got) {
			n.t.Errorf("it leaves by %s, of %+v", got, n.block("red/host1"))
		}
		n.leaves(n.inside("host1", "late"))
	})
}

// A VPC may change the design, and SNAT, while it is in use; plan says before what that disturbs.
func TestDesignChanges(t *testing.T) {
	t.Parallel()
	n := gateways(t, "gateway, edge")
	n.apply(sharedOfBlue + "\n---\n{kind: PublicIP, name: blue/p, spec: {address: 1.22.3.5, endpoint: blue/web/p}}")
	n.endpoint("host1 p blue/web --ip 172.17.42.4")
	n.endpoint("host1 a blue/web --ip 172.17.42.2")
	n.endpoint("host2 b blue/web --ip 172.17.42.3")
	n.awaitOpen("g1", "g2")
	n.teller("server")
	client, a, b, p := n.Machine("client"), n.inside("host1", "a"), n.inside("host2", "b"), n.inside("host1", "p")
	lasting, err := n.talks(a, "udp4", 40003)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		spec     string
		snat     string // how those without one leave
		disturbs []string
	}{
		{"{design: central, snat: true}", "by its block", nil},
		{"{design: distributed, snat: true}", "by its host", []string{
			"public address 1.22.3.5 (PublicIP blue/p) of Endpoint blue/web/p: is reached in another design: distributed, not central",
			"connections of 2 endpoints of VPC blue by SNAT: it is reached in another design: distributed, not central"}},
		{"{design: central, snat: true}", "by its block", []string{
			"public address 1.22.3.5 (PublicIP blue/p) of Endpoint blue/web/p: is reached in another design: central, not distributed",
			"connections of 2 endpoints of VPC blue by SNAT: it is reached in another design: central, not distributed"}},
		{"{design: central, snat: false}", "not at all", []string{"connections of 2 endpoints of VPC blue by SNAT: it is turned off"}},
		{"{design: central, snat: true}", "by its block", nil},
		{"{design: distributed, snat: false}", "not at all", []string{
			"public address 1.22.3.5 (PublicIP blue/p) of Endpoint blue/web/p: is reached in another design: distributed, not central",
			"connections of 2 endpoints of VPC blue by SNAT: it is turned off"}},
		{"{design: central, snat: true}", "by its block", []string{"public address 1.22.3.5 (PublicIP blue/p) of Endpoint blue/web/p: is reached in another design: central, not distributed"}},
	} {
		n.run(step.spec, func(n *network) {
			intent := "{kind: InternetGateway, name: blue, spec: " + step.spec + "}"
			var disturbs []string
			for line := range strings.Lines(n.give("plan", intent)) {
				if what, ok := strings.CutPrefix(strings.TrimSpace(line), "disturbs "); ok {
					disturbs = append(disturbs, what)
				}
			}
			if !slices.Equal(disturbs, step.disturbs) {
				n.t.Errorf("plan says that it disturbs %q, want %q", disturbs, step.disturbs)
			}
			n.apply(intent)
			for host, netns := range map[string]string{"host1": a, "host2": b} {
				n.eventually(netns+" leaves "+step.snat, func() error {
					if _, err := n.dial(netns, "tcp4", 0, n.addressOf("server")+":80"); step.snat == "not at all" || errors.Is(err, syscall.ENETUNREACH) {
						return errIf(step.snat != "not at all" || !errors.Is(err, syscall.ENETUNREACH))
					}
					switch seen, err := n.leavesAs(netns); {
					case step.snat == "by its host" && seen.Addr() == netip.MustParseAddr("198.51.100.1"),
						step.snat == "by its block" && within(n.block("blue/"+host), seen):
						return nil
					default:
						return fmt.Errorf("the server sees %s, %w", seen, err)
					}
				})
			}
			if step.snat != "not at all" {
				n.eventually("so do datagrams that have gone another way before", func() error { return lasting.echo(10) })
			}
			n.eventually("the public address is the endpoint's", func() error {
				seen, err := n.leavesAs(p)
				return errors.Join(err, errIf(seen.Addr() != netip.MustParseAddr("1.22.3.5")))
			})
			for _, protocol := range []string{"tcp4", "udp4"} {
				n.sees(client.Address.String(), protocol, client.Netns(), p, "1.22.3.5")
			}
		})
	}
}

// leavesAs is how the server knows a namespace that connects to it.
func (n *network) leavesAs(netns string) (seen netip.AddrPort, err error) {
	k, err := n.talks(netns, "tcp4", 0)
	if err == nil {
		defer k.Close()
		seen, err = k.seen, k.echo(1000)
	}
	return seen, err
}
