package e2e

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/gopacket/gopacket/layers"

	"github.com/overlane/overlane/lab"
)

// Each VPC leaves by the host that its endpoint is on, in the host's name and then the site's: the article's double NAT.
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
						return fmt.Errorf("it says %v", err)
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
	n.run("an endpoint that moves opens new connections from there", func(n *network) {
		n.on("host1", "overlane", "detach", "--netns", "a")
		n.endpoint("host2 a blue/web --ip 172.17.42.2")
		n.reaches("host2", "a", server)
		n.sideBySide(map[string]string{"blue, moved": n.inside("host2", "a"), "red on host1": n.inside("host1", "ra")})
	})
}

// sideBySide has namespaces talk with the server by TCP and UDP at the same time, from the same ports, and each hear its own answers.
func (n *network) sideBySide(netns map[string]string) {
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
				for _, size := range []int{10, 1000, 1400, 8000} {
					if err := k.echo(size); err != nil {
						n.t.Errorf("%s, %s, %d bytes: %v", name, network, size, err)
					}
				}
				mu.Lock()
				defer mu.Unlock()
				if other := known[network+k.seen.String()]; other != "" || k.seen.Addr() != netip.MustParseAddr("198.51.100.1") {
					n.t.Errorf("the server sees %s as %s by %s, and by that %q, too", name, k.seen, network, other)
				}
				known[network+k.seen.String()] = name
			})
		}
	}
	all.Wait()
}

// wireOf is an interface of a machine outside.
func (n *network) wireOf(machine, nic string) *tap { return openTap(n.t, n.Machine(machine).Netns(), nic) }

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
