package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/overlane/overlane/lab"
)

const (
	macA, macB = "02:4f:ac:11:2a:02", "02:4f:ac:11:2a:03"
	gateway    = "02:4f:56:00:00:01"
	probeVNI   = 0xffffff
)

// intruders is a network with a and b of the blue tenant on host1 and host2, a red endpoint on host3, so that this is a
// peer as well, and a stranger: a machine of the underlay that has not joined.
func intruders(t *testing.T) *network {
	n := hosts(t, 3)
	n.endpoint("host1 a blue/web --ip 172.17.42.2")
	n.endpoint("host2 b blue/web --ip 172.17.42.3")
	n.endpoint("host1 r1 red/web --ip 172.17.42.2")
	n.endpoint("host3 r3 red/web --ip 172.17.42.3")
	server := n.Server
	n.Server = nil // so that the lab does not have it join
	_, err := n.AddHost(t.Context(), lab.HostSpec{Name: "spoofed-peer"})
	n.Server = server
	if err != nil {
		t.Fatal(err)
	}
	n.ping("host2", "b", "172.17.42.2")
	n.ping("host3", "r3", "172.17.42.2")
	return n
}

// Packets of the underlay that say VNI, addresses and MACs right, but come from the wrong machine.
func TestTunnelPacketsFromStrangers(t *testing.T) {
	t.Parallel()
	n := intruders(t)
	victim := n.uplink("host1").mac.String()
	fromB := datagram(t, hop{macB, macA, "172.17.42.3", "172.17.42.2"}, 9, []byte("TEXT"))
	fromA := datagram(t, hop{macA, macA, "172.17.42.2", "172.17.42.2"}, 9, []byte("TEXT"))
	fromNobody := datagram(t, hop{macB, macA, "172.17.42.99", "172.17.42.2"}, 9, []byte("TEXT"))
	broadcast := datagram(t, hop{macB, "ff:ff:ff:ff:ff:ff", "172.17.42.3", "172.17.42.255"}, 9, []byte("TEXT"))
	poison := arp(t, layers.ARPReply, macB, "02:00:00:00:00:66", "172.17.42.3", "172.17.42.2")
	probe := frame(t, &layers.Ethernet{SrcMAC: mac(gateway), DstMAC: mac("02:4f:56:00:00:02"), EthernetType: 0x88b5}, gopacket.Payload("TEXT-0123456789abcdef"))
	for _, tt := range []struct {
		name    string
		from    string
		vni     uint32
		inner   []byte
		counter string
	}{
		{"true VNI and inner addresses", "spoofed-peer", 100, fromB, "spoofed-peer"},
		{"broadcast", "spoofed-peer", 100, broadcast, "spoofed-peer"},
		{"VNI that is not here", "spoofed-peer", 999, fromB, "unknown-vni"},
		{"ARP", "spoofed-peer", 100, poison, "tunnel-arp"},
		{"probe between hosts", "spoofed-peer", probeVNI, probe, "unknown-probe"},
		{"host of another tenant", "host3", 100, fromB, "spoofed-peer"},
		{"member host, address of the victim", "host2", 100, fromA, "spoofed-peer"},
		{"member host, address of nobody", "host2", 100, fromNobody, "spoofed-peer"},
	} {
		n.run(tt.name, func(n *network) {
			inside, underlay := n.tapOf("host1", "a").record(), n.uplink(tt.from)
			answers := underlay.record()
			before := n.drops("host1", tt.counter)
			outer := hop{underlay.mac.String(), victim, n.Host(tt.from).Address.String(), n.Host("host1").Address.String()}
			for i := range 5 {
				text := fmt.Appendf(nil, "T%03d", i)
				underlay.send(datagram(n.t, outer, vxlanPort, vxlan(tt.vni, []byte(strings.ReplaceAll(string(tt.inner), "TEXT", string(text))))))
			}
			n.eventually("they are counted as "+tt.counter, func() error {
				if got := n.drops("host1", tt.counter) - before; got < 5 {
					return fmt.Errorf("%d of 5 are", got)
				}
				return nil
			})
			if got := inside.count("T000"); got > 0 || tt.name == "ARP" && inside.count("\x02\x00\x00\x00\x00\x66") > 0 {
				n.t.Error("they arrive")
			}
			if got := reflected(answers, "192.168.5.2"); got > 0 {
				n.t.Errorf("%d tunnel packets come back", got)
			}
		})
	}
	n.run("from the right host they arrive", func(n *network) {
		inside, underlay := n.tapOf("host1", "a").record(), n.uplink("host2")
		underlay.send(datagram(n.t, hop{underlay.mac.String(), victim, "192.168.5.3", "192.168.5.2"}, vxlanPort, vxlan(100, fromB)))
		n.eventually("it arrives", func() error {
			if inside.count("TEXT") != 1 {
				return fmt.Errorf("%d do", inside.count("TEXT"))
			}
			return nil
		})
	})
}

// A member host's address proves that a packet comes from its switch. So nothing else there may send to the tunnels of
// others: neither a process, nor a container that the host translates to its own address, as Docker does on its default
// bridge.
func TestTunnelPacketsFromAMemberHostsProcesses(t *testing.T) {
	t.Parallel()
	n := hosts(t, 2)
	n.endpoint("host1 a blue/web --ip 172.17.42.2")
	n.endpoint("host2 b blue/web --ip 172.17.42.3")
	n.ping("host1", "a", "172.17.42.3")
	inner := datagram(t, hop{gateway, macB, "172.17.42.2", "172.17.42.3"}, 9, []byte("forged"))
	script := fmt.Sprintf("printf '%s' >/dev/udp/192.168.5.3/4789", octal(vxlan(100, inner)))
	n.forwarded("host1")
	n.on("host1", "nft", "add table ip e2e; add chain ip e2e nat { type nat hook postrouting priority 100; }; add rule ip e2e nat ip saddr 10.9.9.0/24 masquerade")
	for _, from := range [][]string{{"setpriv", "--reuid=65534", "--clear-groups"}, {"ip", "netns", "exec", "nat"}} {
		n.run(strings.Join(from, " "), func(n *network) {
			inside := n.tapOf("host2", "b").record()
			forge := append(from, "bash", "-c", script)
			before := n.drops("host1", "forged-tunnel")
			_, _ = n.Host("host1").Exec(n.t.Context(), forge...) // it may be told that it must not
			n.eventually("it is counted", func() error {
				if got := n.drops("host1", "forged-tunnel") - before; got < 1 {
					return fmt.Errorf("%d were dropped", got)
				}
				return nil
			})
			if got := inside.count("forged"); got > 0 {
				n.t.Errorf("%d arrive in the endpoint", got)
			}
			n.eventually("without the table it arrives, so that the test can fail", func() error {
				_, _ = n.Host("host1").Exec(n.t.Context(), "nft", "delete", "table", "ip", "overlane") // the agent puts it back now and then
				_, _ = n.Host("host1").Exec(n.t.Context(), forge...)
				if inside.count("forged") == 0 {
					return fmt.Errorf("it does not")
				}
				return nil
			})
			n.eventually("the table is put back", func() error {
				_, err := n.Host("host1").Exec(n.t.Context(), "nft", "list", "table", "ip", "overlane")
				return err
			})
		})
	}
}

const forwardingMAC = "02:00:00:00:99:01"

// forwarded makes a namespace "nat" that the host forwards for, as it does for those on Docker's default bridge, and
// that may send in any name.
func (n *network) forwarded(host string) {
	n.t.Helper()
	n.on(host, "sh", "-ec", `ip netns add nat
ip link add nat0 address `+forwardingMAC+` type veth peer eth0 netns nat
ip address add 10.9.9.1/24 dev nat0; ip link set nat0 up
ip -n nat address add 10.9.9.2/24 dev eth0; ip -n nat link set eth0 up; ip -n nat route add default via 10.9.9.1
sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.nat0.rp_filter=0`)
}

// What a container sends in the name of another host has come from the wrong side. The host does not pass it on.
func TestTunnelPacketsInAPeersName(t *testing.T) {
	t.Parallel()
	n := hosts(t, 3)
	n.endpoint("host1 a blue/web --ip 172.17.42.2")
	n.endpoint("host2 b blue/web --ip 172.17.42.3")
	n.endpoint("host3 c blue/web --ip 172.17.42.4")
	n.ping("host1", "a", "172.17.42.3")
	n.ping("host1", "a", "172.17.42.4")
	n.forwarded("host1")
	attacker, inside := n.tapOf("host1", "nat"), n.tapOf("host2", "b").record()
	inner := datagram(t, hop{"02:4f:ac:11:2a:04", macB, "172.17.42.4", "172.17.42.3"}, 9, []byte("forged"))
	outer := hop{attacker.mac.String(), forwardingMAC, n.Host("host3").Address.String(), n.Host("host2").Address.String()}
	forge := func() { attacker.send(datagram(t, outer, vxlanPort, vxlan(100, inner))) }
	forge()
	n.eventually("it is counted", func() error {
		if got := n.drops("host1", "forged-tunnel"); got < 1 {
			return fmt.Errorf("%d were dropped", got)
		}
		return nil
	})
	if got := inside.count("forged"); got > 0 {
		t.Errorf("%d arrive in the endpoint", got)
	}
	n.eventually("without the table it arrives, so that the test can fail", func() error {
		_, _ = n.Host("host1").Exec(t.Context(), "nft", "delete", "table", "ip", "overlane") // the agent puts it back now and then
		forge()
		if inside.count("forged") == 0 {
			return fmt.Errorf("it does not")
		}
		return nil
	})
}

// octal writes bytes for printf(1).
func octal(b []byte) string {
	var s strings.Builder
	for _, c := range b {
		fmt.Fprintf(&s, `\%03o`, c)
	}
	return s.String()
}

// reflected counts our tunnel packets that a host has sent back.
func reflected(r *recording, host string) (count int) {
	for _, p := range r.with("T000") {
		if ip, ok := p.NetworkLayer().(*layers.IPv4); ok && ip.SrcIP.Equal(addr(host)) {
			count++
		}
	}
	return count
}

// What an endpoint sends in VXLAN is ordinary UDP, and gets nowhere but to its neighbours.
func TestTunnelPacketsFromAContainer(t *testing.T) {
	t.Parallel()
	n := hosts(t, 2)
	n.endpoint("host1 a blue/web --ip 172.17.42.2")
	n.endpoint("host2 b blue/web --ip 172.17.42.3")
	n.endpoint("host2 r red/web --ip 172.17.42.3")
	n.ping("host1", "a", "172.17.42.3")
	attacker := n.tapOf("host1", "a")
	neighbour, red, underlay := n.tapOf("host2", "b").record(), n.tapOf("host2", "r").record(), n.uplink("host2").record()
	// The packet inside is one that the red endpoint would take.
	inner := datagram(t, hop{gateway, macB, "172.17.42.2", "172.17.42.3"}, 9, []byte("from inside"))
	toUnderlay := func(dstMAC, dst string, vni uint32) {
		attacker.send(datagram(t, hop{macA, dstMAC, "172.17.42.2", dst}, vxlanPort, vxlan(vni, inner)))
	}
	before := n.drops("host1", "no-such-address")
	for _, vni := range []uint32{100, 200, probeVNI} {
		toUnderlay(gateway, "192.168.5.3", vni)
		toUnderlay(n.uplink("host2").mac.String(), "192.168.5.3", vni)
		toUnderlay(n.uplink("host1").mac.String(), "192.168.5.2", vni)
		toUnderlay(macB, "172.17.42.3", vni)
	}
	n.eventually("those to the underlay are counted", func() error {
		if got := n.drops("host1", "no-such-address") - before; got < 9 {
			return fmt.Errorf("%d of 9 are", got)
		}
		return nil
	})
	n.eventually("those to the neighbour arrive, as the UDP that they are", func() error {
		if got := neighbour.count("from inside"); got != 3 {
			return fmt.Errorf("%d of 3 do", got)
		}
		return nil
	})
	for _, p := range neighbour.with("from inside") {
		if p.Layer(layers.LayerTypeVXLAN) == nil {
			t.Error("the neighbour gets what was inside, unpacked")
		}
	}
	if red.count("from inside") > 0 {
		t.Error("the red endpoint gets it")
	}
	for _, p := range underlay.with("from inside") {
		if ip, ok := p.NetworkLayer().(*layers.IPv4); ok && ip.SrcIP.Equal(addr("172.17.42.2")) {
			t.Errorf("on the underlay there is a packet from a container: %s", p)
		}
	}
}

// Whatever says that it is from somebody else is dropped, and counted.
func TestSpoofing(t *testing.T) {
	t.Parallel()
	n := hosts(t, 2)
	n.endpoint("host1 a blue/web --ip 172.17.42.2")
	n.endpoint("host1 c blue/web --ip 172.17.42.4")
	n.endpoint("host2 b blue/web --ip 172.17.42.3")
	n.ping("host1", "a", "172.17.42.3")
	attacker := n.tapOf("host1", "a")
	const macC, macX = "02:4f:ac:11:2a:04", "02:00:00:00:00:66"
	for _, tt := range []struct {
		name  string
		frame []byte
	}{
		{"MAC of nobody", datagram(t, hop{macX, macB, "172.17.42.2", "172.17.42.3"}, 9, []byte("spoof"))},
		{"MAC of a neighbour", datagram(t, hop{macC, macB, "172.17.42.2", "172.17.42.3"}, 9, []byte("spoof"))},
		{"MAC of the gateway", datagram(t, hop{gateway, macB, "172.17.42.2", "172.17.42.3"}, 9, []byte("spoof"))},
		{"address of nobody", datagram(t, hop{macA, macB, "172.17.42.99", "172.17.42.3"}, 9, []byte("spoof"))},
		{"address of the gateway", datagram(t, hop{macA, macB, "172.17.42.1", "172.17.42.3"}, 9, []byte("spoof"))},
		{"address of a neighbour here", datagram(t, hop{macA, macB, "172.17.42.4", "172.17.42.3"}, 9, []byte("spoof"))},
		{"address of the receiver", datagram(t, hop{macA, macB, "172.17.42.3", "172.17.42.3"}, 9, []byte("spoof"))},
		{"both of a neighbour", datagram(t, hop{macC, macB, "172.17.42.4", "172.17.42.3"}, 9, []byte("spoof"))},
		{"broadcast", datagram(t, hop{macA, "ff:ff:ff:ff:ff:ff", "172.17.42.4", "172.17.42.255"}, 9, []byte("spoof"))},
		{"ARP, address of a neighbour", arp(t, layers.ARPRequest, macA, macA, "172.17.42.4", "172.17.42.3")},
		{"ARP, MAC of a neighbour inside", arp(t, layers.ARPRequest, macA, macC, "172.17.42.2", "172.17.42.3")},
		{"ARP, MAC of a neighbour outside", arp(t, layers.ARPRequest, macC, macA, "172.17.42.2", "172.17.42.3")},
		{"ARP, gateway", arp(t, layers.ARPReply, macA, macA, "172.17.42.1", "172.17.42.3")},
		{"ARP announcement of another one's address", arp(t, layers.ARPRequest, macA, macA, "172.17.42.3", "172.17.42.3")},
	} {
		n.run(tt.name, func(n *network) {
			b, c := n.tapOf("host2", "b").record(), n.tapOf("host1", "c").record()
			before := n.drops("host1", "spoofed")
			attacker.send(tt.frame)
			n.eventually("it is counted as spoofed", func() error {
				if got := n.drops("host1", "spoofed"); got != before+1 {
					return fmt.Errorf("were %d, are %d", before, got)
				}
				return nil
			})
			if b.count("spoof")+c.count("spoof") > 0 {
				n.t.Error("it arrives")
			}
		})
	}
	n.run("what is true arrives", func(n *network) {
		b := n.tapOf("host2", "b").record()
		attacker.send(datagram(n.t, hop{macA, macB, "172.17.42.2", "172.17.42.3"}, 9, []byte("spoof")))
		n.eventually("it arrives", func() error {
			if b.count("spoof") != 1 {
				return fmt.Errorf("%d do", b.count("spoof"))
			}
			return nil
		})
	})
}
