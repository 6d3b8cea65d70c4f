package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"

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
		before := n.drops("host1", "dhcp")
		n.says("host1", "d", "lease of", "env", "netns=d", "busybox", "udhcpc", "-i", "eth0", "-s", "/run/udhcpc.sh", "-n", "-q", "-t", "5", "-V", "who-hears-me")
		n.tapOf("host1", "b").send(datagramFrom(n.t, 67, hop{"02:4f:ac:11:2a:14", "ff:ff:ff:ff:ff:ff", "172.17.42.20", "255.255.255.255"}, 68, []byte("who-hears-me")))
		n.eventually("the answer is counted", func() error {
			if got := n.drops("host1", "dhcp") - before; got < 1 {
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
