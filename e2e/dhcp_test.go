package e2e

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/overlane/overlane/agent/local"
	"github.com/overlane/overlane/model"
)

// udhcpcScript does what an installed client's script would, and keeps what it was told (udhcpc's environment).
const udhcpcScript = `#!/bin/sh
env | sort >/run/udhcpc.$netns.$1
case $1 in
bound | renew)
	ip address replace "$ip/$mask" dev "$interface"
	ip route replace default via "$router" ;;
deconfig) ip address flush dev "$interface" ;;
esac
`

// Real clients, on a host with its agent; and what each must not get.
func TestDHCP(t *testing.T) {
	t.Parallel()
	n := hosts(t, 2)
	n.apply(`{kind: Subnet, name: blue/web, spec: {cidr: 172.17.42.0/24, vni: 100,
  dhcp: {lease: 600, dns: [172.17.42.53, 172.17.42.54], domain: web.example, routes: [10.9.0.0/16 via 172.17.42.7]}}}`)
	n.endpoint("host2 peer blue/web --ip 172.17.42.100")
	for _, h := range n.Hosts() {
		if err := os.WriteFile(h.Root()+"/run/udhcpc.sh", []byte(udhcpcScript), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	n.run("udhcpc gets address, gateway and options", func(n *network) {
		n.endpoint("host1 a blue/web --ip 172.17.42.9 --dhcp")
		if s := n.state("blue/web/a"); s != nil && s.State == model.Ready {
			n.t.Error("it is ready without an address")
		}
		n.says("host1", "a", "lease of 172.17.42.9 obtained", "env", "netns=a", "busybox", "udhcpc", "-i", "eth0", "-s", "/run/udhcpc.sh", "-O", "staticroutes", "-O", "mtu", "-n", "-q", "-t", "5")
		told := n.on("host1", "cat", "/run/udhcpc.a.bound")
		for _, line := range []string{"ip=172.17.42.9", "mask=24", "router=172.17.42.1", "dns=172.17.42.53 172.17.42.54", "domain=web.example",
			"lease=600", "mtu=1450", "serverid=172.17.42.1", "staticroutes=0.0.0.0/0 172.17.42.1 10.9.0.0/16 172.17.42.7"} {
			if !strings.Contains(told, line+"\n") {
				n.t.Errorf("it is not told %q:\n%s", line, told)
			}
		}
		n.ping("host1", "a", "172.17.42.100")
		n.awaitState("blue/web/a", model.Ready)
	})
	n.run("attaching it again leaves what the client has set", func(n *network) {
		if again := n.attach("host1", "--netns", "a", "--subnet", "blue/web", "--dhcp"); !again.Unchanged {
			n.t.Error("it is a change")
		}
		n.ping("host1", "a", "172.17.42.100")
	})
	n.run("dhclient gets its own, and renews and releases it", func(n *network) {
		n.endpoint("host1 b blue/web --ip 172.17.42.20 --dhcp")
		files := []string{"-sf", "/bin/true", "-lf", "/run/b.leases", "-pf", "/run/b.pid"}
		n.says("host1", "b", "bound to 172.17.42.20 ", append([]string{"dhclient", "-v", "-1"}, append(files, "eth0")...)...)
		leases := n.on("host1", "cat", "/run/b.leases")
		for _, line := range []string{"option interface-mtu 1450;", "option dhcp-server-identifier 172.17.42.1;", `option domain-name "web.example";`, "option dhcp-lease-time 600;"} {
			if !strings.Contains(leases, line) {
				n.t.Errorf("it is not told %q:\n%s", line, leases)
			}
		}
		n.says("host1", "b", "DHCPRELEASE", append([]string{"dhclient", "-v", "-r"}, append(files, "eth0")...)...)
		n.says("host1", "b", "bound to 172.17.42.20 ", append([]string{"dhclient", "-v", "-1"}, append(files, "eth0")...)...) // asks for the same once more
		n.on("host1", "sh", "-c", "kill $(cat /run/b.pid)")
	})
	n.run("another MAC than the endpoint's gets nothing", func(n *network) {
		n.endpoint("host1 c blue/web --dhcp")
		if out, err := n.in("host1", "c", "ip", "link", "set", "eth0", "address", "02:00:00:00:00:77"); err != nil {
			n.t.Fatal(err, out)
		}
		n.says("host1", "c", "no lease", "env", "netns=c", "busybox", "udhcpc", "-i", "eth0", "-s", "/run/udhcpc.sh", "-n", "-q", "-t", "2", "-T", "1")
	})
	n.run("no endpoint hears another one ask, and none is heard to answer", func(n *network) {
		n.endpoint("host1 d blue/web --dhcp")
		near, far, underlay := n.tapOf("host1", "a").record(), n.tapOf("host2", "peer").record(), n.uplink("host2").record()
		before := n.drops("host1", "dhcp-server")
		n.says("host1", "d", "lease of", "env", "netns=d", "busybox", "udhcpc", "-i", "eth0", "-s", "/run/udhcpc.sh", "-n", "-q", "-t", "5", "-V", "who-hears-me")
		n.tapOf("host1", "b").send(datagramFrom(n.t, 67, hop{"02:4f:ac:11:2a:14", "ff:ff:ff:ff:ff:ff", "172.17.42.20", "255.255.255.255"}, 68, []byte("who-hears-me")))
		n.eventually("the answer is counted", func() error {
			if got := n.drops("host1", "dhcp-server") - before; got < 1 {
				return fmt.Errorf("%d are", got)
			}
			return nil
		})
		for name, r := range map[string]*recording{"its neighbour": near, "one on another host": far, "the underlay": underlay} {
			if got := r.count("who-hears-me"); got > 0 {
				n.t.Errorf("%s hears %d of them", name, got)
			}
		}
	})
}

// machine makes a namespace on a bridge inside another one, as a nested VM would be.
func (n *network) machine(host, outer, name, mac string) {
	n.t.Helper()
	n.on(host, "ip", "netns", "add", name)
	n.on(host, "ip", "link", "add", "p-"+name, "netns", outer, "type", "veth", "peer", "name", "eth0", "address", mac, "netns", name)
	n.on(host, "ip", "-n", outer, "link", "set", "p-"+name, "master", "br0", "up")
	n.on(host, "ip", "-n", name, "link", "set", "eth0", "up")
}

// bridged puts an attached namespace's interface into a bridge, which takes over its MAC and its address.
func (n *network) bridged(host string, r local.AttachReply, netns string) {
	n.t.Helper()
	for _, line := range []string{
		"link add br0 address " + r.MAC.String() + " type bridge", "link set br0 up", "addr flush dev eth0", "link set eth0 master br0",
		"addr add " + r.Address.String() + " dev br0", "route add default via " + r.Gateway.String(),
	} {
		n.on(host, append([]string{"ip", "-n", netns}, argv(line)...)...)
	}
}

func udhcpc(netns string, more ...string) []string {
	return append([]string{"env", "netns=" + netns, "busybox", "udhcpc", "-i", "eth0", "-s", "/run/udhcpc.sh", "-n", "-q"}, more...)
}

// awaitKnown waits until the server has these endpoints of blue/dyn, and no others.
func (n *network) awaitKnown(want ...string) {
	n.t.Helper()
	n.eventually("the server has "+strings.Join(want, ", "), func() error {
		var have []string
		for _, name := range n.known() {
			if last, ok := strings.CutPrefix(name, "blue/dyn/"); ok {
				have = append(have, last)
			}
		}
		if !slices.Equal(have, want) {
			return fmt.Errorf("it has %v", have)
		}
		return nil
	})
}

// addressIn is the address that intent has for an endpoint.
func (n *network) addressIn(endpoint string) string {
	n.t.Helper()
	o, err := n.api().Get(n.t.Context(), model.Key{Kind: "Endpoint", Name: endpoint})
	if err != nil {
		n.t.Fatal(err)
	}
	return o.Spec.(*model.EndpointSpec).Address.String()
}

// Machines behind the port of an endpoint, by real clients: what they get, and what they must not.
func TestDHCPBehindAPort(t *testing.T) {
	t.Parallel()
	n := hosts(t, 2)
	n.apply(`
{kind: Subnet, name: blue/dyn, spec: {cidr: 172.17.50.0/24, vni: 300, dhcp: {lease: 600, dynamic: true, dynamicPerPort: 3}}}
---
{kind: Subnet, name: blue/db, spec: {cidr: 172.17.51.0/24, vni: 301}}`)
	if err := os.WriteFile(n.Host("host1").Root()+"/run/udhcpc.sh", []byte(udhcpcScript), 0o755); err != nil {
		t.Fatal(err)
	}
	n.endpoint("host2 far blue/dyn --ip 172.17.50.100")
	n.endpoint("host2 db blue/db --ip 172.17.51.2")
	n.endpoint("host1 near blue/dyn --ip 172.17.50.50")
	n.bridged("host1", n.endpoint("host1 vm blue/dyn --ip 172.17.50.60"), "vm")
	n.ping("host1", "vm", "172.17.50.100")
	const m1, m2, m3, m4 = "dhcp-02-00-00-00-00-01", "dhcp-02-00-00-00-00-02", "dhcp-02-00-00-00-00-03", "dhcp-02-00-00-00-00-04"
	for i := 1; i <= 4; i++ {
		n.machine("host1", "vm", fmt.Sprint("m", i), fmt.Sprint("02:00:00:00:00:0", i))
	}
	files := []string{"-sf", "/bin/true", "-lf", "/run/m2.leases", "-pf", "/run/m2.pid"}
	dhclient := func(flags ...string) []string {
		return append(append([]string{"dhclient", "-v"}, flags...), append(files, "eth0")...)
	}

	n.run("udhcpc and dhclient get addresses, and are reached", func(n *network) {
		n.says("host1", "m1", "obtained", udhcpc("m1", "-t", "5")...)
		n.says("host1", "m2", "bound to ", dhclient("-1")...)
		n.awaitKnown(m1, m2, "far", "near", "vm")
		n.says("host1", "m1", n.addressIn("blue/dyn/"+m1)+"/24", "ip", "-4", "-br", "addr", "show", "dev", "eth0")
		n.on("host1", "ip", "-n", "m2", "addr", "add", n.addressIn("blue/dyn/"+m2)+"/24", "dev", "eth0")
		for _, m := range []string{m1, m2} {
			n.ping("host2", "far", n.addressIn("blue/dyn/"+m))
			n.ping("host1", "near", n.addressIn("blue/dyn/"+m))
			n.ping("host1", "vm", n.addressIn("blue/dyn/"+m))
			n.ping("host2", "db", n.addressIn("blue/dyn/"+m1)) // routed
			n.awaitState("blue/dyn/"+m, model.Ready)
		}
		n.ping("host1", "m1", "172.17.50.100")
		n.ping("host1", "m1", "172.17.51.2")
		n.ping("host1", "m1", n.addressIn("blue/dyn/"+m2))
	})
	n.run("a restart of the agent is not noticed", func(n *network) {
		running := []*pings{n.pinging("host1", "m1", "172.17.50.100"), n.pinging("host2", "far", n.addressIn("blue/dyn/"+m2))}
		n.lossless(running, func() {
			n.killAgent("host1")
			n.startAgent("host1")
			n.awaitHostReady("host1")
			running[0].more(200)
		})
		n.awaitKnown(m1, m2, "far", "near", "vm")
	})
	n.run("a broadcast comes once", func(n *network) {
		heard, underlay := n.tapOf("host1", "m1").record(), n.tapOf("host1", "near").record()
		far := n.tapOf("host2", "far")
		far.send(datagram(n.t, hop{far.mac.String(), "ff:ff:ff:ff:ff:ff", "172.17.50.100", "172.17.50.255"}, 9, []byte("to-all-of-you")))
		n.eventually("it is heard", func() error { return errIf(heard.count("to-all-of-you") == 0 || underlay.count("to-all-of-you") == 0) })
		if got := heard.count("to-all-of-you"); got != 1 {
			n.t.Errorf("a machine hears it %d times", got)
		}
	})
	n.run("an unknown MAC sends nothing else, and takes nobody's", func(n *network) {
		heard, m3, near := n.tapOf("host2", "far").record(), n.tapOf("host1", "m3"), n.tapOf("host1", "near")
		before := n.drops("host1", "spoofed")
		m3.send(datagram(n.t, hop{"02:00:00:00:00:03", "ff:ff:ff:ff:ff:ff", "172.17.50.77", "172.17.50.255"}, 9, []byte("unknown-mac")))
		m3.send(datagram(n.t, hop{"02:00:00:00:00:03", "ff:ff:ff:ff:ff:ff", n.addressIn("blue/dyn/" + m1), "172.17.50.255"}, 9, []byte("unknown-mac")))
		near.send(datagram(n.t, hop{"02:00:00:00:00:01", "ff:ff:ff:ff:ff:ff", n.addressIn("blue/dyn/" + m1), "172.17.50.255"}, 9, []byte("unknown-mac")))
		n.eventually("they are counted", func() error {
			return errIf(n.drops("host1", "spoofed")-before < 3)
		})
		if got := heard.count("unknown-mac"); got > 0 {
			n.t.Errorf("%d of them are heard", got)
		}
		if out, err := n.in("host1", "near", "ip", "link", "set", "eth0", "address", "02:00:00:00:00:01"); err != nil {
			n.t.Fatal(err, out)
		}
		n.says("host1", "near", "no lease", udhcpc("near", "-t", "2", "-T", "1")...)
		n.awaitKnown(m1, m2, "far", "near", "vm")
		n.ping("host2", "far", n.addressIn("blue/dyn/"+m1))
	})
	n.run("a port has as many as the subnet allows; a release makes room", func(n *network) {
		was := n.addressIn("blue/dyn/" + m2)
		n.says("host1", "m3", "obtained", udhcpc("m3", "-t", "5")...)
		n.says("host1", "m4", "no lease", udhcpc("m4", "-t", "2", "-T", "1")...)
		n.awaitKnown(m1, m2, m3, "far", "near", "vm")
		n.says("host1", "m2", "DHCPRELEASE", dhclient("-r")...)
		n.awaitKnown(m1, m3, "far", "near", "vm")
		n.noPing("host2", "far", was)
		n.says("host1", "m4", "obtained", udhcpc("m4", "-t", "5")...)
		n.awaitKnown(m1, m3, m4, "far", "near", "vm")
		if is := n.addressIn("blue/dyn/" + m4); is == was {
			n.t.Errorf("the address %s, which was released last, is another's at once", is)
		}
		n.ping("host2", "far", n.addressIn("blue/dyn/"+m4))
	})
	n.run("a renewal keeps the address, and a declined one is not given again", func(n *network) {
		was := n.addressIn("blue/dyn/" + m1)
		n.says("host1", "m1", "lease of "+was+" obtained", udhcpc("m1", "-t", "5", "-r", was)...)
		n.tapOf("host1", "m1").send(decline(n.t, "02:00:00:00:00:01", was))
		n.awaitKnown(m3, m4, "far", "near", "vm")
		n.says("host1", "m1", "obtained", udhcpc("m1", "-t", "5")...)
		if is := n.addressIn("blue/dyn/" + m1); is == was {
			n.t.Errorf("it gets %s again", is)
		}
	})
	n.run("macvlan", func(n *network) {
		n.endpoint("host1 mv blue/dyn --ip 172.17.50.70")
		n.on("host1", "ip", "netns", "add", "mv1")
		n.on("host1", "ip", "-n", "mv", "link", "add", "mv1", "link", "eth0", "address", "02:00:00:00:01:01", "type", "macvlan", "mode", "bridge")
		n.on("host1", "ip", "-n", "mv", "link", "set", "mv1", "name", "eth0", "netns", "mv1")
		n.on("host1", "ip", "-n", "mv1", "link", "set", "eth0", "up")
		n.says("host1", "mv1", "obtained", udhcpc("mv1", "-t", "5")...)
		n.ping("host1", "mv1", "172.17.50.100")
		n.on("host1", "ip", "netns", "del", "mv1")
		n.on("host1", "ip", "netns", "del", "mv")
		n.awaitKnown(m1, m3, m4, "far", "near", "vm")
	})
	n.run("another subnet gives nothing", func(n *network) {
		n.bridged("host1", n.endpoint("host1 plain blue/db"), "plain")
		n.machine("host1", "plain", "p1", "02:00:00:00:02:01")
		n.says("host1", "p1", "no lease", udhcpc("p1", "-t", "2", "-T", "1")...)
	})
	n.run("detach releases those behind", func(n *network) {
		n.on("host1", "overlane", "detach", "--netns", "vm")
		n.awaitKnown("far", "near")
	})
}

// decline is a client's message that somebody else has the address (RFC 2131 section 4.4.1).
func decline(t testing.TB, client, address string) []byte {
	t.Helper()
	m, err := dhcpv4.New(dhcpv4.WithHwAddr(mac(client)), dhcpv4.WithMessageType(dhcpv4.MessageTypeDecline), dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(addr(address))))
	if err != nil {
		t.Fatal(err)
	}
	return datagramFrom(t, 68, hop{client, "ff:ff:ff:ff:ff:ff", "0.0.0.0", "255.255.255.255"}, 67, m.ToBytes())
}
