//go:build kernel

package main

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/overlane/overlane/ovs/ovstest"
)

// These run inside of a guest; TestOpenVSwitch takes them there.

// Open vSwitch's own kernel datapath carries a ping in VXLAN between two hosts, and its kernel flows say so.
func TestKernelVXLAN(t *testing.T) {
	hosts := []string{"kernel-h1", "kernel-h2"}
	for i, h := range hosts {
		guest := fmt.Sprint("kernel-c", i+1)
		ip(t, "netns", "add", h)
		ip(t, "netns", "add", guest)
		ip(t, "-n", h, "link", "set", "lo", "up")
		ip(t, "-n", h, "link", "add", "port", "type", "veth", "peer", "name", "eth0", "netns", guest)
		ip(t, "-n", h, "link", "set", "port", "up")
		ip(t, "-n", guest, "addr", "add", fmt.Sprintf("172.17.42.%d/24", i+2), "dev", "eth0")
		ip(t, "-n", guest, "link", "set", "eth0", "mtu", "1450", "up")
	}
	ip(t, "-n", hosts[0], "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", hosts[1])
	var first *ovstest.OVS
	for i, h := range hosts {
		ip(t, "-n", h, "addr", "add", fmt.Sprintf("192.168.5.%d/24", i+2), "dev", "eth0")
		ip(t, "-n", h, "link", "set", "eth0", "up")
		o := ovstest.Start(t, ovstest.Options{Netns: h, Kernel: true})
		o.AddBridge("br0")
		o.Vsctl("add-port", "br0", "port", "--", "set", "interface", "port", "ofport_request=2",
			"--", "add-port", "br0", "vxlan", "--", "set", "interface", "vxlan", "type=vxlan", "ofport_request=1",
			"options:key=flow", "options:remote_ip=flow", fmt.Sprintf("options:local_ip=192.168.5.%d", i+2))
		o.Ofctl("add-flow", "br0", fmt.Sprintf("in_port=2,actions=set_field:100->tun_id,set_field:192.168.5.%d->tun_dst,output:1", 3-i))
		o.Ofctl("add-flow", "br0", "in_port=1,tun_id=100,actions=output:2")
		if i == 0 {
			first = o
		}
	}
	ip(t, "netns", "exec", "kernel-c1", "ping", "-c", "5", "-i", "0.2", "-W", "10", "172.17.42.3")
	if flows := first.Appctl("dpctl/dump-flows", "system@ovs-system"); !strings.Contains(flows, "set(tunnel(tun_id=0x64,src=192.168.5.2,dst=192.168.5.3") {
		t.Errorf("no kernel flow encapsulates:\n%s", flows)
	}
}

func ip(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}
