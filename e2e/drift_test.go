package e2e

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/overlane/overlane/model"
)

// Whatever somebody changes by hand of what is ours is put right and counted; what is not ours stays.
func TestDrift(t *testing.T) {
	t.Parallel()
	n := hosts(t, 2)
	n.endpoint("host1 a blue/web --ip 172.17.42.2")
	b := n.endpoint("host2 b blue/web --ip 172.17.42.3")
	n.ping("host1", "a", "172.17.42.3")
	n.awaitTunnel("host2", "host1", model.TunnelUp)
	foreign(n)
	theirs := foreignState(n)
	const ofctl = "ovs-ofctl -O OpenFlow15 "
	for _, tt := range []struct {
		name, command string
		counted       func(model.Drift) uint64
	}{
		{"a flow is removed", ofctl + "del-flows br-overlane table=locate,reg3=0xac112a02", flows},
		{"a flow is changed", ofctl + "mod-flows br-overlane table=locate,reg3=0xac112a02,actions=drop", flows},
		{"all flows are removed", ofctl + "del-flows br-overlane cookie=0x0f1a000000000000/0xffff000000000000", flows},
		{"a flow is added under our cookie", ofctl + "add-flow br-overlane cookie=0x0f1a000000000123,table=0,priority=999,ip,actions=drop", flows},
		{"the group is removed", ofctl + "del-groups br-overlane group_id=0x4f000064", groups},
		{"the group is changed", ofctl + "mod-group br-overlane group_id=0x4f000064,type=all,bucket=output:1", groups},
		{"a group of our range is added", ofctl + "add-group br-overlane group_id=0x4f000bad,type=all,bucket=output:1", groups},
		{"a meter is removed, and its flows with it", ofctl + "del-meter br-overlane meter=0x4f00", flows},
		{"the endpoint's port is removed", "ovs-vsctl del-port " + b.Port, ports},
		{"the tunnel port is removed", "ovs-vsctl del-port ovl-vxlan", ports},
		{"the tunnel port is changed", "ovs-vsctl set interface ovl-vxlan options:dst_port=4790", ports},
		{"the bridge is changed", "ovs-vsctl set-fail-mode br-overlane standalone", ports},
		{"the bridge is removed", "ovs-vsctl del-br br-overlane", ports},
	} {
		n.run(tt.name, func(n *network) {
			want, before := n.content("host2"), tt.counted(n.measured("host2").Host.Drift)
			began := time.Now()
			n.on("host2", argv(tt.command)...)
			n.eventually("it is put right", func() error {
				if diff := cmp.Diff(want, n.content("host2")); diff != "" {
					return fmt.Errorf("(-want +got):\n%s", diff)
				}
				return nil
			})
			n.Log().Info("put right", "after", time.Since(began))
			n.eventually("it is counted", func() error {
				if after := tt.counted(n.measured("host2").Host.Drift); after <= before {
					return fmt.Errorf("%d before, %d after", before, after)
				}
				return nil
			})
			n.ping("host1", "a", "172.17.42.3")
			if strings.HasPrefix(tt.name, "the bridge is") {
				return // Open vSwitch empties it itself then
			}
			if diff := cmp.Diff(theirs, foreignState(n)); diff != "" {
				n.t.Errorf("what is not ours has changed (-before +after):\n%s", diff)
			}
		})
	}
	n.run("another bridge is still there", func(n *network) {
		if got := n.on("host2", "ovs-vsctl", "list-ports", "br-foreign"); got != "foreign1\n" {
			n.t.Errorf("its ports: %q", got)
		}
		if got := n.on("host2", "ovs-ofctl", "--no-stats", "dump-flows", "br-foreign"); !strings.Contains(got, "cookie=0x77") {
			n.t.Errorf("its flows: %s", got)
		}
	})
}

func flows(d model.Drift) uint64  { return d.FlowsRepaired }
func groups(d model.Drift) uint64 { return d.GroupsRepaired }
func ports(d model.Drift) uint64  { return d.PortsRepaired }

// foreign makes what others may have on the same switch: a bridge, and in our bridge a port, a group and flows.
func foreign(n *network) {
	n.t.Helper()
	n.on("host2", "ovs-vsctl", "add-br", "br-foreign", "--", "set", "bridge", "br-foreign", "datapath_type=netdev",
		"--", "add-port", "br-foreign", "foreign1", "--", "set", "interface", "foreign1", "type=internal",
		"--", "add-port", "br-overlane", "foreign2", "--", "set", "interface", "foreign2", "type=internal")
	n.on("host2", "ovs-ofctl", "add-flow", "br-foreign", "cookie=0x77,priority=7,actions=NORMAL")
	n.on("host2", "ovs-ofctl", "-O", "OpenFlow15", "add-group", "br-overlane", "group_id=7,type=all,bucket=output:7")
	n.on("host2", "ovs-ofctl", "-O", "OpenFlow15", "add-flow", "br-overlane", "cookie=0x77,table=0,priority=7,udp,tp_dst=7,actions=drop")
	n.on("host2", "ovs-ofctl", "-O", "OpenFlow15", "add-flow", "br-overlane", "cookie=0x77,table=77,priority=7,actions=drop")
}

func foreignState(n *network) string {
	n.t.Helper()
	state := n.on("host2", "ovs-vsctl", "list-ports", "br-overlane") + n.on("host2", "ovs-vsctl", "list-br") +
		n.on("host2", "ovs-ofctl", "--no-stats", "dump-flows", "br-foreign")
	for line := range strings.Lines(n.flows("host2")) {
		if strings.Contains(line, "cookie=0x77,") {
			state += line
		}
	}
	for line := range strings.Lines(n.on("host2", "ovs-ofctl", "-O", "OpenFlow15", "dump-groups", "br-overlane")) {
		if strings.Contains(line, "group_id=7,") {
			state += line
		}
	}
	return state
}

// numbers are those of ports, which a port that was put back does not get again, and cookies, which are hashes with
// ports in them.
var numbers = regexp.MustCompile(`cookie=0x[0-9a-f]+|reg9=0x[0-9a-f]+/0xffff|set_field:0x[0-9a-f/x]+->xxreg2|^OFPST.*`)

// content is what our bridge holds of ours.
func (n *network) content(host string) string {
	text, err := n.try(host, "sh", "-c", `for what in dump-flows dump-groups; do ovs-ofctl -O OpenFlow15 --no-stats --names $what br-overlane; done; `+
		`ovs-vsctl --columns=fail_mode,datapath_type list bridge br-overlane; ovs-vsctl --columns=options list interface ovl-vxlan; ovs-vsctl list-ports br-overlane`)
	if err != nil {
		return err.Error()
	}
	var ours []string
	for line := range strings.Lines(text) {
		if !strings.Contains(line, "cookie=0x77,") && !strings.Contains(line, "group_id=7,") && !strings.Contains(line, "foreign2") {
			ours = append(ours, numbers.ReplaceAllString(line, ""))
		}
	}
	slices.Sort(ours) // flows of one priority have no order
	return strings.Join(ours, "")
}
