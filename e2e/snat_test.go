package e2e

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/vishvananda/netlink"
	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"github.com/overlane/overlane/lab"
)

// Each VPC leaves by the host that its endpoint is on, in the host's name and then the site's: the article's double
// NAT.
func TestSNAT(t *testing.T) {
	t.Parallel()
	n := outside(t, lab.HostSpec{Name: "host1", Docker: true}, lab.HostSpec{Name: "host2"})
	server := n.addressOf("server")
	n.stockDocker("host1")
	n.endpoint("host1 a blue/web --ip 172.17.42.2")
	n.endpoint("host1 ra red/web --ip 172.17.42.2")
	n.endpoint("host2 b blue/web --ip 172.17.42.10")
	container := n.attached("host1", "rc", "red/web", "--ip", "172.17.42.3")
	n.run("off by default", func(n *network) {
		n.says("host1", "a", "Destination Net Unreachable", "ping", "-c1", "-W5", server)
	})
	n.apply(snatOfBlue)
	n.run("on for one VPC, on every host", func(n *network) {
		n.reaches("host1", "a", server)
		n.reaches("host2", "b", server)
		n.says("host1", "ra", "Destination Net Unreachable", "ping", "-c1", "-W5", server)
	})
	n.apply(snatOfRed)
	n.reaches("host1", "ra", server)
	n.teller("server")
	n.run("VPCs with the same addresses and ports, at the same time", func(n *network) {
		n.sideBySide(map[string]string{"blue on host1": n.inside("host1", "a"), "red on host1": n.inside("host1", "ra"),
			"red in a container": container, "blue on host2": n.inside("host2", "b")})
	})
	n.run("double NAT", func(n *network) {
		atRouter, atServer := n.wireOf("router", "eth0").record(), n.wireOf("server", "eth0").record()
		for netns, host := range map[string]string{"a": "192.168.5.2", "ra": "192.168.5.2", "b": "192.168.5.3"} {
			name := map[string]string{"192.168.5.2": "host1", "192.168.5.3": "host2"}[host]
			c, err := n.dial(n.inside(name, netns), "udp4", 0, server+":9")
			if err != nil {
				n.t.Fatal(err)
			}
			fmt.Fprintf(c, "from %s.", netns)
			n.eventually(netns+" is the host for the router, and the router for the server", func() error {
				return errors.Join(atRouter.heard("from "+netns+".", host), atServer.heard("from "+netns+".", "198.51.100.1"))
			})
		}
	})
	n.run("traceroute shows the gateway, the host, the router and the server", func(n *network) {
		for _, flags := range []string{"-n -w5 -q1", "-I -n -w5 -q1"} {
			out, err := n.in("host1", "a", append(argv("busybox traceroute "+flags), server)...)
			at := 0
			for i, hop := range []string{"172.17.42.1", "100.64.0.0", "192.168.5.1", server} {
				line := fmt.Sprintf("\n %d  %s ", i+1, hop)
				if found := strings.Index(out[at:], line); found >= 0 {
					at += found
				} else {
					n.t.Errorf("hop %d is not %s: %v\n%s", i+1, hop, err, out)
				}
			}
		}
	})
	n.run("a closed port says so", func(n *network) {
		for _, network := range []string{"tcp4", "udp4"} {
			for _, netns := range []string{n.inside("host1", "a"), container} {
				n.eventually(network+" is refused", func() error { // Linux sends an error to an address once a second
					c, err := n.dial(netns, network, 0, server+":9999")
					if err == nil {
						err = (&talk{Conn: c}).echo(1)
					}
					if err == nil || !strings.Contains(err.Error(), "refused") {
						return errors.Join(errors.New("it is not"), err)
					}
					return nil
				})
			}
		}
	})
	n.run("fragments, both ways", func(n *network) {
		n.says("host1", "a", " 0% packet loss", "ping", "-c3", "-i0.2", "-W5", "-s4000", server)
		for netns, size := range map[string]int{n.inside("host1", "a"): 4000, container: 9000} {
			k, err := n.talks(netns, "udp4", 0)
			if err == nil {
				err = k.echo(size)
			}
			if err != nil {
				n.t.Errorf("%d bytes: %v", size, err)
			}
		}
	})
	n.run("protocols without ports: ESP, GRE, and one for experiments", func(n *network) {
		for _, protocol := range []string{"50", "47", "253"} {
			n.carries(protocol, n.inside("host1", "a"), "198.51.100.1", n.Machine("server").Netns(), server)
		}
		for _, other := range []string{n.inside("host1", "ra"), container} { // nothing tells their answers from a's
			if n.asks("253", other, server) {
				n.t.Errorf("%s sends to the same server", other)
			}
		}
	})
	n.run("an endpoint that moves opens new connections from there", func(n *network) {
		if zones := n.zonesWith("host1", "172.17.42.2"); len(zones) != 2 {
			n.t.Errorf("connections are in the zones %v, want blue's and red's", zones)
		}
		n.on("host1", "overlane", "detach", "--netns", "a")
		n.eventually("its connections are forgotten, and red's are not", func() error {
			return errIf(len(n.zonesWith("host1", "172.17.42.2")) != 1)
		})
		n.endpoint("host2 a blue/web --ip 172.17.42.2")
		n.reaches("host2", "a", server)
		n.sideBySide(map[string]string{"blue, moved": n.inside("host2", "a"), "red on host1": n.inside("host1", "ra")})
	})
}

// zonesWith are the conntrack zones of a host with connections that an address has opened.
func (n *network) zonesWith(host, address string) map[string]bool {
	n.t.Helper()
	zones := map[string]bool{}
	for line := range strings.Lines(n.on(host, "ovs-appctl", "dpctl/dump-conntrack")) {
		if _, after, ok := strings.Cut(line, "zone="); ok && strings.Contains(line, "orig=(src="+address+",") {
			zone, _, _ := strings.Cut(after, ",")
			zones[strings.TrimSpace(zone)] = true
		}
	}
	return zones
}

// sideBySide has namespaces talk with the server by TCP and UDP at the same time, from the same ports, and each hear
// its own answers.
func (n *network) sideBySide(netns map[string]string) {
	n.t.Helper()
	n.sideBySideAs(netns, 8000, func(_ string, seen netip.AddrPort) bool { return seen.Addr() == netip.MustParseAddr("198.51.100.1") })
}

// sideBySideAs has them send up to so many bytes at once, and judges by what name the server knows each.
func (n *network) sideBySideAs(netns map[string]string, most int, right func(name string, seen netip.AddrPort) bool) {
	n.t.Helper()
	var (
		all   sync.WaitGroup
		mu    sync.Mutex
		known = map[string]string{}
	)
	for name, path := range netns {
		for _, network := range []string{"tcp4", "udp4"} {
			k, err := n.talks(path, network, 40000)
			if err != nil {
				n.t.Errorf("%s, %s: %v", name, network, err)
				continue
			}
			all.Go(func() {
				for _, size := range []int{10, 1000, 1400, most} {
					if err := k.echo(size); err != nil {
						n.t.Errorf("%s, %s, %d bytes: %v", name, network, size, err)
					}
				}
				mu.Lock()
				defer mu.Unlock()
				if other := known[network+k.seen.String()]; other != "" || !right(name, k.seen) {
					n.t.Errorf("the server sees %s as %s by %s, and by that %q, too", name, k.seen, network, other)
				}
				known[network+k.seen.String()] = name
			})
		}
	}
	all.Wait()
}

// wireOf is an interface of a machine outside.
func (n *network) wireOf(machine, nic string) *tap {
	return openTap(n.t, n.Machine(machine).Netns(), nic)
}

// heard wants that a text has been seen, and always from a source.
func (r *recording) heard(text, source string) error {
	found := r.with(text)
	for _, p := range found {
		if ip, ok := p.NetworkLayer().(*layers.IPv4); !ok || ip.SrcIP.String() != source {
			return fmt.Errorf("%q comes from %v", text, ip.SrcIP)
		}
	}
	return errIf(len(found) == 0)
}

// The kernels on the way tell both ends what is too long for it.
func TestSNATPathMTU(t *testing.T) {
	t.Parallel()
	n := outside(t, lab.HostSpec{Name: "host1", Docker: true}, lab.HostSpec{Name: "host2"})
	server := n.addressOf("server")
	n.endpoint("host1 a blue/web --ip 172.17.42.2")
	container := n.attached("host1", "c1", "blue/web", "--ip", "172.17.42.3")
	n.apply(snatOfBlue)
	n.reaches("host1", "a", server)
	n.teller("server")
	n.run("what is too long for an endpoint", func(n *network) {
		var flow *net.UDPConn
		inNetns(n.t, n.Machine("server").Netns(), func() error {
			c, err := net.ListenPacket("udp4", server+":7001")
			flow, _ = c.(*net.UDPConn)
			return err
		})
		defer flow.Close()
		dontFragment(n.t, flow)
		c, err := n.dial(container, "udp4", 0, server+":7001")
		if err != nil {
			n.t.Fatal(err)
		}
		fmt.Fprint(c, "give me a lot")
		_ = flow.SetDeadline(time.Now().Add(patience))
		_, from, err := flow.ReadFromUDPAddrPort(make([]byte, 100))
		if err != nil {
			n.t.Fatal(err)
		}
		_, _ = flow.WriteToUDPAddrPort(make([]byte, 1500-ipAndUDP), from)
		n.eventually("the server has heard of the MTU", func() error { return n.mtuTo(n.Machine("server").Netns(), from.Addr().String(), 1450) })
		if _, err := flow.WriteToUDPAddrPort(make([]byte, 1450-ipAndUDP), from); err != nil {
			n.t.Error(err)
		}
		_ = c.SetReadDeadline(time.Now().Add(patience))
		if size, err := c.Read(make([]byte, 2000)); err != nil || size != 1450-ipAndUDP {
			n.t.Errorf("%d bytes arrive, %v", size, err)
		}
	})
	n.at("router", "ip", "link", "set", "eth2", "mtu", "1300")
	n.run("what is too long for a link outside, datagrams", func(n *network) {
		c, err := n.dial(container, "udp4", 0, server+":9")
		if err != nil {
			n.t.Fatal(err)
		}
		dontFragment(n.t, c.(*net.UDPConn))
		if _, err := c.Write(make([]byte, 1400)); err != nil {
			n.t.Fatal(err)
		}
		n.eventually("the container's kernel has heard of the MTU", func() error { return n.mtuTo(container, server, 1300) })
		if _, err := c.Write(make([]byte, 1400)); !errors.Is(err, unix.EMSGSIZE) {
			n.t.Errorf("the socket is told %v", err)
		}
	})
	n.run("what is too long for a link outside, TCP", func(n *network) {
		k, err := n.talks(n.inside("host1", "a"), "tcp4", 0)
		if err == nil {
			_, err = k.Write(make([]byte, 1<<20))
		}
		if err != nil {
			n.t.Fatal(err)
		}
		n.eventually("the endpoint's kernel has heard of the MTU", func() error { return n.mtuTo(n.inside("host1", "a"), server, 1300) })
	})
}

const ipAndUDP = 28

// mtuTo wants that a namespace's kernel has learnt the MTU of a path.
func (n *network) mtuTo(netns, to string, want uint32) error {
	var routes []netlink.Route
	inNetns(n.t, netns, func() (err error) {
		routes, err = netlink.RouteGet(addr(to))
		return err
	})
	if len(routes) != 1 || routes[0].MTU != int(want) {
		return fmt.Errorf("the routes to %s are %v", to, routes)
	}
	return nil
}

// A quote of 8 bytes is all that an ICMP error must have (RFC 792), and less than a header of TCP: connections live on,
// and so does the switch.
func TestSNATShortErrors(t *testing.T) {
	t.Parallel()
	n := outside(t, lab.HostSpec{Name: "host1"}, lab.HostSpec{Name: "host2"})
	n.endpoint("host1 a blue/web --ip 172.17.42.2")
	n.apply(snatOfBlue)
	n.reaches("host1", "a", n.addressOf("server"))
	n.teller("server")
	k, err := n.talks(n.inside("host1", "a"), "tcp4", 0)
	if err != nil {
		t.Fatal(err)
	}
	vswitchd := n.Host("host1").Daemons()["ovs-vswitchd"].PID()
	inside := n.tapOf("host1", "a").record()
	var socket net.PacketConn
	inNetns(t, n.Machine("server").Netns(), func() (err error) {
		socket, err = net.ListenPacket("ip4:icmp", "0.0.0.0")
		return err
	})
	defer socket.Close()
	for i := range 500 {
		for _, size := range []int{0, 4, 8, 12, 17, 18, 20} {
			if _, err := socket.WriteTo(quoting(k.seen, n.addressOf("server"), uint16(i), size), &net.IPAddr{IP: k.seen.Addr().AsSlice()}); err != nil {
				t.Fatal(err)
			}
		}
		if i%100 == 99 {
			if err := k.echo(1000); err != nil {
				t.Fatal(err)
			}
		}
	}
	n.eventually("those of 8 bytes and more arrive, and quote what the endpoint has sent", func() error {
		if got := quotes(inside, "172.17.42.2"); got < 5*500/2 { // of so many in a row some may be lost
			return fmt.Errorf("%d of %d do", got, 5*500)
		}
		return nil
	})
	if now := n.Host("host1").Daemons()["ovs-vswitchd"].PID(); now != vswitchd || !n.Host("host1").Daemons()["ovs-vswitchd"].Running() {
		t.Error("ovs-vswitchd has ended")
	}
	if err := k.echo(100_000); err != nil {
		t.Error(err)
	}
}

// quotes counts the ICMP errors about packets of a sender.
func quotes(r *recording, sender string) (count int) {
	for _, f := range r.all() {
		p := gopacket.NewPacket(f, layers.LayerTypeEthernet, gopacket.NoCopy)
		if i, ok := p.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4); ok && unreachable(f) && net.IP(i.Payload[12:16]).Equal(addr(sender)) {
			count++
		}
	}
	return count
}

// quoting is an ICMP error about a packet of a TCP connection, with so many bytes of TCP.
func quoting(from netip.AddrPort, to string, id uint16, size int) []byte {
	inner := []byte{0x45, 0, 0, 60, byte(id >> 8), byte(id), 0x40, 0, 60, unix.IPPROTO_TCP, 0, 0}
	inner = append(append(inner, from.Addr().AsSlice()...), addr(to).To4()...)
	header := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, from.Port()), tellerPort)
	inner = append(inner, append(header, make([]byte, 16)...)[:size]...)
	m := icmp.Message{Type: ipv4.ICMPTypeDestinationUnreachable, Code: 13, Body: &icmp.RawBody{Data: append(make([]byte, 4), inner...)}}
	packet, _ := m.Marshal(nil)
	return packet
}

// Endpoints reach the outside, and nothing of the hosts that they pass, unless they are allowed to.
func TestSNATGuardsHosts(t *testing.T) {
	t.Parallel()
	n := outside(t, lab.HostSpec{Name: "host1", Docker: true}, lab.HostSpec{Name: "host2"})
	server := n.addressOf("server")
	n.stockDocker("host1")
	n.on("host1", "docker", "run", "-d", "--name", "published", "-p", "8080:80", lab.Image, "httpd", "-f")
	published := strings.TrimSpace(n.on("host1", "docker", "inspect", "-f", "{{.NetworkSettings.IPAddress}}", "published"))
	n.endpoint("host1 a blue/web --ip 172.17.42.2")
	n.endpoint("host1 ra red/web --ip 172.17.42.2")
	n.endpoint("host2 b blue/web --ip 172.17.42.3")
	n.apply(snatOfBlue + "\n---\n" + snatOfRed)
	n.reaches("host1", "a", server)
	n.reaches("host1", "ra", server)
	n.reaches("host2", "b", server)
	n.run("all of it is there for others", func(n *network) {
		for from, to := range map[string]string{n.Machine("router").Netns(): "192.168.5.2:8080", n.Host("host1").Netns(): published + ":80", n.Host("host2").Netns(): "192.168.5.2:7443"} {
			if _, err := n.dial(from, "tcp4", 0, to); err != nil {
				n.t.Error(err)
			}
		}
	})
	ofBlue, ofRed := n.translationOf("host1", "a"), n.translationOf("host1", "ra")
	for _, tt := range []struct{ what, host, netns, to, counter string }{
		{"the server's API", "host1", "a", "192.168.5.2:7443", "guarded-address"},
		{"the server's API, from another host", "host2", "b", "192.168.5.2:7443", "guarded-address"},
		{"the tunnel of another host", "host1", "a", "192.168.5.3:4789", "guarded-address"},
		{"a published port", "host1", "a", "192.168.5.2:8080", "guarded-address"},
		{"the address of docker0", "host1", "a", "172.17.0.1:22", "guarded-address"},
		{"a container of the host's", "host1", "a", published + ":80", "no-exit"},
		{"the host's end", "host1", "a", "100.64.0.0:22", "guarded-address"},
		{"another VPC's translation", "host1", "a", ofRed + ":40000", "guarded-address"},
		{"its own", "host1", "a", ofBlue + ":40000", "guarded-address"},
		{"loopback", "host1", "a", "127.0.0.1:22", ""},
		{"a cloud's metadata", "host1", "a", "169.254.169.254:80", "guarded-address"},
	} {
		n.run(tt.what+" is out of reach", func(n *network) {
			before := n.drops(tt.host, tt.counter)
			if _, err := n.dial(n.inside(tt.host, tt.netns), "tcp4", 0, tt.to); err == nil || tt.counter != "" && !strings.Contains(err.Error(), "timeout") {
				n.t.Errorf("to %s: %v", tt.to, err)
			}
			if tt.counter == "" {
				return
			}
			n.eventually("it is counted", func() error { return errIf(n.drops(tt.host, tt.counter) == before) })
		})
	}
	n.on("host2", argv("ip addr add 192.168.5.203/32 dev lo")...)
	n.run("another address of another host is out of reach, once that has told of it", func(n *network) {
		n.at("router", argv("ping -c1 -W5 192.168.5.203")...)
		before := n.drops("host1", "guarded-address")
		n.eventually("it is counted", func() error {
			if out, err := n.in("host1", "a", argv("ping -c1 -W1 192.168.5.203")...); err == nil {
				return errors.New(out)
			}
			return errIf(n.drops("host1", "guarded-address") == before)
		})
	})
	n.run("and status says so", func(n *network) {
		n.eventually("the server has been told", func() error {
			out := n.on("host1", "overlane", "status")
			return errIf(!strings.Contains(out, "guarded-address") || !strings.Contains(out, "no-exit"))
		})
	})
	n.apply("{kind: InternetGateway, name: blue, spec: {snat: true, allow: [192.168.5.2/32]}}")
	n.run("one VPC is allowed one address", func(n *network) {
		n.eventually("it reaches that", func() error {
			_, err := n.dial(n.inside("host1", "a"), "tcp4", 0, "192.168.5.2:7443")
			return err
		})
		n.eventually("from another host, too", func() error {
			_, err := n.dial(n.inside("host2", "b"), "tcp4", 0, "192.168.5.2:7443")
			return err
		})
		n.noPing("host1", "a", "192.168.5.3")
		n.noPing("host1", "ra", "192.168.5.2")
		if _, err := n.dial(n.inside("host1", "a"), "tcp4", 0, published+":80"); err == nil {
			n.t.Error("it reaches a container of the host's")
		}
	})
	n.run("nothing comes in unasked", func(n *network) { n.unasked(ofBlue) })
}

// translationOf is the address by which a namespace's VPC is known to its host.
func (n *network) translationOf(host, netns string) (address string) {
	n.t.Helper()
	seen := openTap(n.t, n.Host(host).Netns(), "ovl-outside").record()
	n.eventually("a packet of "+netns+" is seen", func() error {
		text := "translated " + netns
		c, err := n.dial(n.inside(host, netns), "udp4", 0, n.addressOf("server")+":9")
		if err != nil {
			return err
		}
		fmt.Fprint(c, text)
		for _, p := range seen.with(text) {
			address = p.NetworkLayer().NetworkFlow().Src().String()
		}
		return errIf(address == "")
	})
	return address
}

// unasked sends to a's translation what looks like an answer, as the neighbour of the host that routes the range to it.
func (n *network) unasked(translation string) {
	n.t.Helper()
	n.teller("server")
	k, err := n.talks(n.inside("host1", "a"), "udp4", 40001)
	if err == nil {
		err = k.echo(10)
	}
	if err != nil {
		n.t.Fatal(err)
	}
	inside, wire := n.tapOf("host1", "a").record(), n.wireOf("router", "eth0")
	before := n.drops("host1", "no-connection")
	for _, port := range []uint16{40001, k.seen.Port(), 40002} {
		for _, source := range []string{n.addressOf("server"), n.addressOf("client")} {
			h := hop{wire.mac.String(), n.uplink("host1").mac.String(), source, translation}
			wire.send(datagramFrom(n.t, tellerPort, h, port, []byte("no-connection")))
		}
	}
	n.eventually("they are counted", func() error {
		if got := n.drops("host1", "no-connection") - before; got < 6 {
			return fmt.Errorf("%d of 6 are", got)
		}
		return nil
	})
	if got := inside.count("no-connection"); got > 0 {
		n.t.Errorf("%d arrive", got)
	}
	if err := k.echo(10); err != nil {
		n.t.Error(err)
	}
}

// Once it is off nothing is left of it.
func TestSNATOff(t *testing.T) {
	t.Parallel()
	n := outside(t, lab.HostSpec{Name: "host1", Docker: true}, lab.HostSpec{Name: "host2"})
	server := n.addressOf("server")
	n.stockDocker("host1")
	n.endpoint("host1 a blue/web --ip 172.17.42.2")
	n.endpoint("host1 ra red/web --ip 172.17.42.2")
	n.endpoint("host2 b blue/web --ip 172.17.42.3")
	before := map[string]string{"host1": n.wayOutside("host1"), "host2": n.wayOutside("host2")}
	n.apply(snatOfBlue)
	n.reaches("host1", "a", server)
	n.reaches("host2", "b", server)
	n.teller("server")
	k, err := n.talks(n.inside("host1", "a"), "tcp4", 40001)
	if err == nil {
		err = k.echo(10_000)
	}
	if err != nil {
		t.Fatal(err)
	}
	if got := n.wayOutside("host1"); !strings.Contains(got, "ovl-outside") || !strings.Contains(got, "OVERLANE") {
		t.Fatalf("while it is on there is\n%s", got)
	}
	n.apply(noneOfBlue)
	n.run("everything is gone", func(n *network) {
		for host, was := range before {
			n.eventually(host+" is as before", func() error {
				if diff := cmp.Diff(was, n.wayOutside(host)); diff != "" {
					return errors.New(diff)
				}
				return nil
			})
		}
		n.eventually("connections are forgotten", func() error {
			return errIf(strings.Contains(n.on("host1", "ovs-appctl", "dpctl/dump-conntrack"), "172.17.42.2"))
		})
		_ = k.SetDeadline(time.Now().Add(time.Second))
		if _, err := k.Write([]byte("anybody there?")); err == nil {
			if size, err := k.Read(make([]byte, 100)); err == nil {
				n.t.Errorf("the connection goes on: %d bytes", size)
			}
		}
	})
	n.run("another VPC inherits nothing", func(n *network) {
		inside := n.tapOf("host1", "a").record()
		n.apply(snatOfRed)
		n.reaches("host1", "ra", server)
		n.sideBySide(map[string]string{"red": n.inside("host1", "ra")})
		if _, err := n.in("host1", "a", "ping", "-c1", "-W1", server); err == nil {
			n.t.Error("blue reaches the server")
		}
		for _, f := range inside.all() {
			if p := gopacket.NewPacket(f, layers.LayerTypeEthernet, gopacket.NoCopy); p.NetworkLayer() != nil && p.NetworkLayer().NetworkFlow().Src().String() == server {
				n.t.Errorf("blue hears %v", p)
			}
		}
	})
	n.run("and on again", func(n *network) {
		n.apply(noneOfRed + "\n---\n" + snatOfBlue)
		n.reaches("host1", "a", server)
		n.sideBySide(map[string]string{"blue": n.inside("host1", "a")})
	})
}

// wayOutside is what a host has of it.
func (n *network) wayOutside(host string) string {
	n.t.Helper()
	return n.on(host, "sh", "-ec", `
ip -o link show | grep -o 'ovl-outside' || true
ip route show table all | grep '^[a-z ]*100\.64' || true
nft list table ip overlane | grep chain || true
grep . /proc/sys/net/ipv4/conf/*/forwarding | grep -v ovl || true
iptables -S | grep -e DOCKER-USER -e OVERLANE | grep -v RETURN || true`)
}

// What runs goes on while what controls it is away.
func TestSNATGoesOn(t *testing.T) {
	t.Parallel()
	n := outside(t, lab.HostSpec{Name: "host1"}, lab.HostSpec{Name: "host2"})
	server := n.addressOf("server")
	n.endpoint("host1 a blue/web --ip 172.17.42.2")
	n.endpoint("host2 b blue/web --ip 172.17.42.3")
	n.apply(snatOfBlue)
	n.reaches("host2", "b", server)
	n.teller("server")
	k, err := n.talks(n.inside("host2", "b"), "udp4", 40000)
	if err == nil {
		err = k.echo(10)
	}
	if err != nil {
		t.Fatal(err)
	}
	before := k.seen
	running, stream := n.pinging("host2", "b", server), n.conversing("host2", "b")
	n.eventually("the view is on disk", func() error {
		_, err := n.try("host2", "grep", "-rq", "172.17.42.3", "/var/lib/overlane")
		return err
	})
	goesOn := func(n *network) {
		n.t.Helper()
		running.more(60)
		stream.more(60)
		n.eventually("datagrams come back", func() error { return k.echo(1000) })
		if k.seen != before {
			n.t.Errorf("the server knows it as %s, not %s", k.seen, before)
		}
	}
	n.lossless([]*pings{running}, func() {
		n.run("the agent killed and started", func(n *network) {
			n.killAgent("host2")
			goesOn(n)
			n.startAgent("host2")
			goesOn(n)
			n.awaitHostReady("host2")
			goesOn(n)
		})
		n.killServer()
		n.run("the server killed", goesOn)
		startsAlone := func(n *network) {
			n.startAgent("host2")
			n.eventually("the agent says what it waits for", func() error {
				s, err := n.tryMeasured("host2")
				return errors.Join(err, errIf(!strings.Contains(s.Host.Reason, "server has not been reached")))
			})
			goesOn(n)
			goesOn(n)
		}
		n.killAgent("host2")
		n.run("the agent started without it", startsAlone)
		n.killAgent("host2")
		n.on("host2", "sh", "-c", "rm -f /var/lib/overlane/view*")
		n.run("nor has it its last view", startsAlone)
		n.startServer()
		n.awaitHostReady("host2")
		goesOn(n)
	})
	stream.stop()
}

// conversation is a TCP connection with the server that is in use until it is stopped.
type conversation struct {
	n       *network
	stop    func()
	echoes  atomic.Int64
	stopped chan struct{}
}

func (n *network) conversing(host, netns string) *conversation {
	n.t.Helper()
	k, err := n.talks(n.inside(host, netns), "tcp4", 0)
	if err != nil {
		n.t.Fatal(err)
	}
	s := &conversation{n: n, stopped: make(chan struct{})}
	ended := make(chan struct{})
	s.stop = sync.OnceFunc(func() {
		close(s.stopped)
		<-ended
	})
	n.t.Cleanup(s.stop)
	go func() {
		defer close(ended)
		for {
			select {
			case <-s.stopped:
				return
			case <-time.After(5 * time.Millisecond):
			}
			if err := k.echo(5000); err != nil {
				n.t.Errorf("a TCP connection, after %d echoes: %v", s.echoes.Load(), err)
				return
			}
			s.echoes.Add(1)
		}
	}()
	return s
}

// more waits until so many more have come back.
func (s *conversation) more(echoes int64) {
	s.n.t.Helper()
	want := s.echoes.Load() + echoes
	s.n.eventually("the TCP connection goes on", func() error { return errIf(s.echoes.Load() < want) })
}

// What somebody breaks of the host's part is repaired, and what was open goes on.
func TestSNATIsRepaired(t *testing.T) {
	t.Parallel()
	n := outside(t, lab.HostSpec{Name: "host1", Docker: true}, lab.HostSpec{Name: "host2"})
	server := n.addressOf("server")
	n.stockDocker("host1")
	n.endpoint("host1 a blue/web --ip 172.17.42.2")
	n.apply(snatOfBlue)
	n.reaches("host1", "a", server)
	n.teller("server")
	k, err := n.talks(n.inside("host1", "a"), "tcp4", 0)
	if err != nil {
		t.Fatal(err)
	}
	want := n.wayOutside("host1")
	for _, harm := range []string{
		"nft delete table ip overlane",
		"nft flush table ip overlane",
		"iptables -F DOCKER-USER",
		"iptables -F OVERLANE",
		"ip route flush dev ovl-outside",
		"ip link set ovl-outside down",
		"ovs-vsctl del-port ovl-outside",
	} {
		n.run(harm, func(n *network) {
			n.on("host1", argv(harm)...)
			n.eventually("it is put back", func() error {
				if diff := cmp.Diff(want, n.wayOutside("host1")); diff != "" {
					return errors.New(diff)
				}
				return nil
			})
			n.reaches("host1", "a", server)
			if err := k.echo(10_000); err != nil {
				n.t.Errorf("what was open: %v", err)
			}
		})
	}
	n.run("ovs-vswitchd killed", func(n *network) {
		daemon := n.Host("host1").Daemons()["ovs-vswitchd"]
		if err := errors.Join(daemon.Kill(n.t.Context(), syscall.SIGKILL), daemon.Start(n.t.Context())); err != nil {
			n.t.Fatal(err)
		}
		n.awaitHostReady("host1")
		n.reaches("host1", "a", server) // what was open is lost with the userspace datapath's conntrack
		n.sideBySide(map[string]string{"anew": n.inside("host1", "a")})
	})
}

// Where a host cannot be a way outside it says why, and everything else goes on.
func TestSNATWithoutAWay(t *testing.T) {
	t.Parallel()
	n := outside(t, lab.HostSpec{Name: "host1"}, lab.HostSpec{Name: "host2"}, lab.HostSpec{Name: "host3"})
	server := n.addressOf("server")
	n.endpoint("host1 a blue/web --ip 172.17.42.2")
	n.endpoint("host2 b blue/web --ip 172.17.42.3")
	n.endpoint("host3 c blue/web --ip 172.17.42.4")
	n.on("host1", "ip", "route", "del", "default")
	n.on("host2", "ip", "route", "add", "100.100.0.0/16", "via", "192.168.5.1")
	n.killAgent("host3")
	n.on("host3", "sh", "-c", "echo 'noFirewall: true' >>/etc/overlane/agent.yaml")
	n.startAgent("host3")
	n.awaitHostReady("host3")
	n.apply(snatOfBlue)
	for _, tt := range []struct{ host, netns, why string }{
		{"host1", "a", "no default route"},
		{"host2", "b", "a route to 100.100.0.0/16"},
		{"host3", "c", "noFirewall"},
	} {
		n.run(tt.why, func(n *network) {
			n.eventually("status says why", func() error {
				s, err := n.tryMeasured(tt.host)
				if all := strings.Join(s.Host.Warnings, "; "); err == nil && (!strings.Contains(all, "endpoints do not reach the outside") || !strings.Contains(all, tt.why)) {
					err = fmt.Errorf("the warnings are %q", all)
				}
				return err
			})
			n.eventually("the server has been told", func() error {
				out := n.on("host1", "overlane", "status")
				return errIf(!strings.Contains(out, tt.why))
			})
			n.awaitHostReady(tt.host)
			n.says(tt.host, tt.netns, "Destination Net Unreachable", "ping", "-c1", "-W5", server)
			n.ping(tt.host, tt.netns, "172.17.42.1")
			for _, other := range []string{"172.17.42.2", "172.17.42.3", "172.17.42.4"} {
				n.ping(tt.host, tt.netns, other)
			}
		})
	}
	n.run("once that is put right", func(n *network) {
		n.on("host1", argv("ip route add default via 192.168.5.1")...)
		n.reaches("host1", "a", server)
		n.on("host2", argv("ip route del 100.100.0.0/16")...)
		n.reaches("host2", "b", server)
		n.eventually("there is no warning", func() error {
			return errIf(len(n.measured("host1").Host.Warnings)+len(n.measured("host2").Host.Warnings) > 0)
		})
	})
}
