package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/overlane/overlane/model"
)

// The third host of the overlay's tests has an endpoint of another tenant only, so that every host is a peer of the
// others.
func TestOverlay(t *testing.T) {
	t.Parallel()
	n := hosts(t, 3)
	n.endpoint("host1 r1 red/web --ip 172.17.42.2")
	n.endpoint("host3 r3 red/web --ip 172.17.42.3")
	n.endpoint("host1 a blue/web --ip 172.17.42.2")
	n.endpoint("host2 b blue/web --ip 172.17.42.3")
	n.ping("host1", "r1", "172.17.42.3")
	n.run("endpoints of different hosts reach each other both ways", func(n *network) {
		n.ping("host1", "a", "172.17.42.3")
		n.ping("host2", "b", "172.17.42.2")
	})
	n.run("ARP tables have what intent says", func(n *network) {
		for _, line := range []string{"host1 a 172.17.42.3 02:4f:ac:11:2a:03", "host2 b 172.17.42.2 02:4f:ac:11:2a:02", "host2 b 172.17.42.1 " + model.GatewayMAC.String()} {
			f := strings.Fields(line)
			n.ping(f[0], f[1], f[2])
			out, err := n.in(f[0], f[1], "ip", "neigh", "show", f[2])
			if err != nil || !strings.Contains(out, "lladdr "+f[3]) {
				n.t.Errorf("%s: %v, want %s, got %q", f[1], err, f[3], out)
			}
		}
	})
	n.run("known unicast goes to the right host only", func(n *network) {
		second, third := n.uplink("host2").record(), n.uplink("host3").record()
		if out, err := n.in("host1", "a", "ping", "-c10", "-i0.01", "172.17.42.3"); err != nil {
			n.t.Fatalf("%v\n%s", err, out)
		}
		n.eventually("host2 sees them", func() error {
			if got := second.inVNI(100); got < 20 {
				return fmt.Errorf("%d packets", got)
			}
			return nil
		})
		if got := third.inVNI(100); got > 0 {
			n.t.Errorf("host3 sees %d packets that are not for it", got)
		}
	})
	n.run("broadcast goes to the hosts with members only", broadcast)
	n.run("each host answers ARP and ping for the gateway", func(n *network) {
		underlay := n.uplink("host1").record()
		n.ping("host1", "a", "172.17.42.1")
		n.ping("host2", "b", "172.17.42.1")
		if got := underlay.inVNI(100); got > 0 {
			n.t.Errorf("%d packets went out for it", got)
		}
	})
	n.run("duplicate address detection", func(n *network) {
		// arping -D sends probes of RFC 5227 and fails when somebody answers.
		if out, err := n.in("host1", "a", "busybox", "arping", "-D", "-c2", "-w3", "-I", "eth0", "172.17.42.2"); err != nil {
			n.t.Errorf("its own address is said to be taken: %v\n%s", err, out)
		}
		if out, err := n.in("host1", "a", "busybox", "arping", "-D", "-c2", "-w3", "-I", "eth0", "172.17.42.3"); err == nil {
			n.t.Errorf("another one's address is said to be free:\n%s", out)
		}
		if out, err := n.in("host1", "a", "busybox", "arping", "-D", "-c2", "-w3", "-I", "eth0", "172.17.42.77"); err != nil {
			n.t.Errorf("nobody's address is said to be taken: %v\n%s", err, out)
		}
	})
	n.run("TCP has correct checksums", tcp)
	n.run("a packet of full size passes", func(n *network) {
		const ipAndICMP = 28
		out, err := n.in("host1", "a", "ip", "-o", "link", "show", "eth0")
		if err != nil || !strings.Contains(out, "mtu 1450 ") {
			n.t.Errorf("want the underlay's 1500 less 50: %v, %s", err, out)
		}
		if out, err := n.in("host1", "a", "ping", "-c2", "-i0.2", "-W5", "-M", "do", "-s", fmt.Sprint(1450-ipAndICMP), "172.17.42.3"); err != nil {
			n.t.Errorf("%v\n%s", err, out)
		}
		if out, err := n.in("host1", "a", "ping", "-c1", "-W1", "-M", "do", "-s", fmt.Sprint(1451-ipAndICMP), "172.17.42.3"); err == nil {
			n.t.Errorf("a longer one passes too:\n%s", out)
		}
	})
}

// broadcast wants that a broadcast of host1 reaches the member on host2, once, and not host3.
func broadcast(n *network) {
	member, third := n.tapOf("host2", "b").record(), n.uplink("host3").record()
	n.tapOf("host1", "a").send(datagram(n.t, hop{"02:4f:ac:11:2a:02", "ff:ff:ff:ff:ff:ff", "172.17.42.2", "172.17.42.255"}, 9, []byte("to everybody")))
	n.eventually("the member on host2 hears it", func() error {
		if member.count("to everybody") == 0 {
			return fmt.Errorf("it does not")
		}
		return nil
	})
	n.tapOf("host1", "r1").send(datagram(n.t, hop{"02:4f:ac:11:2a:02", "ff:ff:ff:ff:ff:ff", "172.17.42.2", "172.17.42.255"}, 9, []byte("to the reds")))
	n.eventually("the red member on host3 hears a red one", func() error {
		if third.count("to the reds") == 0 {
			return fmt.Errorf("it does not")
		}
		return nil
	})
	if got := member.count("to everybody"); got != 1 {
		n.t.Errorf("the member on host2 hears it %d times", got)
	}
	if got := third.count("to everybody"); got > 0 {
		n.t.Errorf("host3 gets %d copies", got)
	}
	if got := member.count("to the reds"); got > 0 {
		n.t.Errorf("a blue endpoint hears a red broadcast")
	}
}

// tcp moves some megabytes and computes the checksum of every segment that arrives.
func tcp(n *network) {
	arrived := n.tapOf("host2", "b").record()
	var listener net.Listener
	var sender net.Conn
	inNetns(n.t, n.inside("host2", "b"), func() (err error) {
		listener, err = net.Listen("tcp4", ":5000")
		return err
	})
	defer listener.Close()
	inNetns(n.t, n.inside("host1", "a"), func() (err error) {
		sender, err = net.DialTimeout("tcp4", "172.17.42.3:5000", patience)
		return err
	})
	defer sender.Close()
	receiver, err := listener.Accept()
	if err != nil {
		n.t.Fatal(err)
	}
	defer receiver.Close()
	sent := bytes.Repeat([]byte("three megabytes of this. "), 120_000)
	go func() {
		_, _ = sender.Write(sent) // what is missing is seen below
		_ = sender.Close()
	}()
	_ = receiver.SetReadDeadline(time.Now().Add(patience))
	received, err := io.ReadAll(receiver)
	if err != nil || !bytes.Equal(received, sent) {
		n.t.Errorf("sent %d bytes, received %d: %v", len(sent), len(received), err)
	}
	segments := 0
	for _, f := range arrived.all() {
		p := gopacket.NewPacket(f, layers.LayerTypeEthernet, gopacket.Default)
		l, ok := p.Layer(layers.LayerTypeTCP).(*layers.TCP)
		if !ok || l.DstPort != 5000 {
			continue
		}
		segments++
		_ = l.SetNetworkLayerForChecksum(p.NetworkLayer()) // it is IPv4
		if err, bad := l.VerifyChecksum(); err != nil || !bad.Valid {
			n.t.Fatalf("segment %d has checksum %#x, which should be %#x (%v)", segments, bad.Actual, bad.Correct, err)
		}
	}
	if segments == 0 {
		n.t.Error("no segment was seen")
	}
}
