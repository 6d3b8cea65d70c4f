package e2e

import (
	"strings"
	"testing"
)

func TestCapture(t *testing.T) {
	t.Parallel()
	n := hosts(t, 2)
	n.endpoint("host1 a blue/web --ip 172.17.42.2")
	n.endpoint("host2 b blue/web --ip 172.17.42.3")
	n.endpoint("host1 r1 red/web --ip 172.17.42.2")
	n.endpoint("host2 r2 red/web --ip 172.17.42.3")
	n.ping("host1", "a", "172.17.42.3")
	n.ping("host1", "r1", "172.17.42.3")
	running := []*pings{n.pinging("host1", "a", "172.17.42.3"), n.pinging("host1", "r1", "172.17.42.3")}
	n.lossless(running, func() {
		for _, tt := range []struct {
			name, flags   string
			shown, hidden string // words, with | between them
		}{
			{"of a subnet", "--subnet blue/web", "VNI 100|blue/web|172.17.42.2|host1|host2", "VNI 200|red"},
			{"of another one with the same addresses", "--subnet red/web", "VNI 200|red/web|172.17.42.2", "VNI 100|blue"},
			{"of a VPC", "--vpc blue", "VNI 100", "VNI 200"},
			{"of an endpoint", "--endpoint red/web/r1", "VNI 200|r1", "VNI 100"},
			{"layer by layer", "--subnet blue/web --verbose", "Ethernet|IPv4|UDP|VXLAN|ICMP|100", "VNI 200"},
		} {
			n.run(tt.name, func(n *network) {
				out := n.on("host1", append([]string{"overlane", "capture", "--count", "6", "--timeout", "20s"}, strings.Fields(tt.flags)...)...)
				for word := range strings.SplitSeq(tt.shown, "|") {
					if !strings.Contains(out, word) {
						n.t.Errorf("it does not show %q:\n%s", word, out)
					}
				}
				for word := range strings.SplitSeq(tt.hidden, "|") {
					if strings.Contains(out, word) {
						n.t.Errorf("it shows %q:\n%s", word, out)
					}
				}
			})
		}
		n.run("as a file that tshark reads", func(n *network) {
			n.on("host1", "overlane", "capture", "--vpc", "blue", "--count", "6", "--timeout", "20s", "--write", "/run/blue.pcapng")
			out := n.on("host1", "tshark", "-r", "/run/blue.pcapng", "-T", "fields", "-e", "vxlan.vni", "-e", "icmp.type", "-e", "frame.comment")
			lines := strings.Split(strings.TrimSpace(out), "\n")
			if len(lines) != 6 {
				n.t.Errorf("%d packets:\n%s", len(lines), out)
			}
			for _, line := range lines {
				if !strings.HasPrefix(line, "100\t") {
					n.t.Errorf("not of VNI 100: %s", line)
				}
			}
			if back := n.on("host1", "overlane", "capture", "--read", "/run/blue.pcapng"); !strings.Contains(back, "blue/web") {
				n.t.Errorf("read back:\n%s", back)
			}
		})
		n.run("of what nobody has", func(n *network) {
			n.refused("host1", argv("overlane capture --subnet blue/none --count 1 --timeout 5s"), "blue/none")
		})
	})
}
