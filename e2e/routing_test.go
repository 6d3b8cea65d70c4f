package e2e

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// The subnets of a VPC are routed by every host for its own endpoints, and two VPCs with the same addresses know
// nothing of each other.
func TestRouting(t *testing.T) {
	t.Parallel()
	n := hosts(t, 3)
	n.apply("{kind: Subnet, name: blue/db, spec: {cidr: 172.17.50.0/24, vni: 101}}\n---\n{kind: Subnet, name: red/db, spec: {cidr: 172.17.50.0/24, vni: 201}}")
	n.endpoint("host1 a blue/web --ip 172.17.42.2")
	n.endpoint("host1 c blue/db --ip 172.17.50.2")
	n.endpoint("host2 b blue/db --ip 172.17.50.3")
	n.endpoint("host1 ra red/web --ip 172.17.42.2")
	n.endpoint("host3 rb red/db --ip 172.17.50.3")
	n.endpoint("host3 rc red/db --ip 172.17.50.9")
	n.run("on the same host, and to others, both ways", func(n *network) {
		n.ping("host1", "a", "172.17.50.2")
		n.ping("host1", "a", "172.17.50.3")
		n.ping("host2", "b", "172.17.42.2")
		n.ping("host1", "ra", "172.17.50.3")
		n.ping("host3", "rc", "172.17.42.2")
	})
	n.run("the TTL is counted down once", func(n *network) {
		n.says("host1", "a", "ttl=63", "ping", "-c1", "-W5", "172.17.50.3")
	})
	n.run("under the VNI of the destination's subnet, to the right host only", func(n *network) {
		second, third := n.uplink("host2").record(), n.uplink("host3").record()
		n.says("host1", "a", " 0% packet loss", "ping", "-c10", "-i0.01", "-W5", "172.17.50.3")
		n.eventually("host2 sees them", func() error {
			if there, back := second.inVNI(101), second.inVNI(100); there < 10 || back < 10 {
				return fmt.Errorf("%d of 10 in VNI 101, %d answers in 100", there, back)
			}
			return nil
		})
		if got := third.inVNI(101) + third.inVNI(100); got > 0 {
			n.t.Errorf("host3, which has none of it, sees %d", got)
		}
	})
	n.run("every gateway address of the VPC answers", func(n *network) {
		for _, gateway := range []string{"172.17.42.1", "172.17.50.1"} {
			n.ping("host1", "a", gateway)
			n.ping("host2", "b", gateway)
		}
	})
	n.run("a packet whose TTL is used up, traceroute's way", func(n *network) {
		n.says("host1", "a", "From 172.17.42.1 icmp_seq=1 Time to live exceeded", "ping", "-c1", "-t1", "-W5", "172.17.50.3")
		n.says("host2", "b", "From 172.17.50.1 icmp_seq=1 Time to live exceeded", "ping", "-c1", "-t1", "-W5", "172.17.42.2")
		n.says("host1", "a", "\n 2  172.17.50.3 ", "busybox", "traceroute", "-n", "-w5", "-q1", "172.17.50.3")
	})
	n.run("nobody has the address", func(n *network) {
		n.says("host1", "a", "From 172.17.42.1 icmp_seq=1 Destination Host Unreachable", "ping", "-c1", "-W5", "172.17.50.99")
		n.says("host1", "a", "From 172.17.42.1 icmp_seq=1 Destination Net Unreachable", "ping", "-c1", "-W5", "8.8.8.8")
		n.says("host1", "a", "refused", "busybox", "nc", "-w5", "172.17.50.1", "80")
	})
	n.run("the other VPC's are out of reach", func(n *network) {
		n.ping("host1", "ra", "172.17.50.9")
		n.says("host1", "a", "Destination Host Unreachable", "ping", "-c1", "-W5", "172.17.50.9")
		n.noPing("host2", "b", "172.17.50.9")
	})
	n.run("without the agent", func(n *network) {
		if err := n.Host("host1").StopAgent(n.t.Context()); err != nil {
			n.t.Fatal(err)
		}
		n.ping("host1", "a", "172.17.50.3")
		if err := n.Host("host1").StartAgent(n.t.Context()); err != nil {
			n.t.Fatal(err)
		}
		n.eventually("the agent follows again", func() error {
			s, err := n.tryMeasured("host1")
			return errors.Join(err, errIf(!s.Host.Ready))
		})
	})
	n.run("a subnet and its first endpoint that come later", func(n *network) {
		n.apply("{kind: Subnet, name: blue/new, spec: {cidr: 172.17.60.0/24, vni: 102}}")
		n.endpoint("host2 d blue/new --ip 172.17.60.2")
		n.ping("host1", "a", "172.17.60.2")
	})
}

// says runs a command in a namespace and wants the words in its output, however it ends.
func (n *network) says(host, netns, words string, argv ...string) {
	n.t.Helper()
	out, err := n.in(host, netns, append([]string{"sh", "-c", `exec "$@" 2>&1`, "sh"}, argv...)...)
	if err != nil {
		out += err.Error()
	}
	if !strings.Contains(out, words) {
		n.t.Errorf("%s in %s on %s does not say %q:\n%s", strings.Join(argv, " "), netns, host, words, out)
	}
}
