package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/overlane/overlane/model"
)

// Ready is what was measured, and no longer than that.
func TestStatus(t *testing.T) {
	t.Parallel()
	n := hosts(t, 2)
	n.endpoint("host1 a blue/web")
	n.endpoint("host2 b blue/web")
	n.endpoint("host1 alone red/web")
	all := []string{"blue/web/a", "blue/web/b", "red/web/alone"}
	for _, e := range all {
		n.awaitState(e, model.Ready)
	}
	n.run("as a table and as JSON", func(n *network) {
		table := n.on("host1", "overlane", "status")
		for _, word := range []string{"host1", "host2", "netdev", "Up", "blue/web/a", "Ready"} {
			if !strings.Contains(table, word) {
				n.t.Errorf("status does not say %q:\n%s", word, table)
			}
		}
		var s struct {
			Overview struct {
				Endpoints model.EndpointCounts
				Hosts     []struct {
					Name   string
					Status model.HostStatus
				}
			}
			Endpoints []struct {
				Name   string
				Status model.EndpointStatus
			}
		}
		text := n.on("host1", "overlane", "status", "-o", "json")
		if err := json.Unmarshal([]byte(text), &s); err != nil {
			n.t.Fatalf("%v\n%s", err, text)
		}
		if s.Overview.Endpoints.Ready != 3 || len(s.Endpoints) != 3 || len(s.Overview.Hosts) != 2 {
			n.t.Fatalf("got %+v", s)
		}
		for _, h := range s.Overview.Hosts {
			if !h.Status.Ready || h.Status.Datapath != "netdev" || h.Status.Flows == 0 || len(h.Status.Tunnels) != 1 || h.Status.Tunnels[0].State != model.TunnelUp {
				n.t.Errorf("%s: %+v", h.Name, h.Status)
			}
		}
		if here := n.on("host2", "overlane", "status"); !strings.Contains(here, "blue/web/b") || strings.Contains(here, "blue/web/a") {
			n.t.Errorf("host2 tells of more, or less, than itself:\n%s", here)
		}
	})
	n.run("an endpoint that does not answer is not ready", func(n *network) {
		if out, err := n.in("host1", "a", "ip", "link", "set", "eth0", "down"); err != nil {
			n.t.Fatal(err, out)
		}
		n.awaitState("blue/web/a", model.Attached)
		if reason := n.state("blue/web/a").Reason; !strings.Contains(reason, "has not answered ARP") {
			n.t.Errorf("the reason is %q", reason)
		}
		if s := n.state("blue/web/b"); s.State != model.Ready {
			n.t.Errorf("the other one is %s: %s", s.State, s.Reason)
		}
		if out, err := n.in("host1", "a", "ip", "link", "set", "eth0", "up"); err != nil {
			n.t.Fatal(err, out)
		}
		n.awaitState("blue/web/a", model.Ready)
	})
	n.run("an endpoint whose tunnels are blocked is not ready", func(n *network) {
		// But not what is forged below.
		n.on("host2", "nft", "add table netdev e2e; add chain netdev e2e out { type filter hook egress device eth0 priority 0; }; add rule netdev e2e out udp dport 4789 udp sport != 54321 drop")
		n.awaitTunnel("host1", "host2", model.TunnelDown)
		n.awaitTunnel("host2", "host1", model.TunnelDown)
		for _, e := range all[:2] {
			n.awaitState(e, model.Attached)
			if reason := n.state(e).Reason; !strings.Contains(reason, "no peer host") {
				n.t.Errorf("%s: the reason is %q", e, reason)
			}
		}
		if s := n.state("red/web/alone"); s.State != model.Ready {
			n.t.Errorf("the one that needs no tunnel is %s: %s", s.State, s.Reason)
		}
		n.noPing("host1", "a", "172.17.42.3")
		n.run("and forged reflections do not change that", forgedReflections)
		n.on("host2", "nft", "delete", "table", "netdev", "e2e")
		n.awaitTunnel("host1", "host2", model.TunnelUp)
		for _, e := range all {
			n.awaitState(e, model.Ready)
		}
		n.ping("host1", "a", "172.17.42.3")
	})
}

// forgedReflections sends host1 what its probes would come back as from host2; but nobody knows the nonce.
func forgedReflections(n *network) {
	underlay, victim := n.uplink("host2"), n.uplink("host1").mac.String()
	back := []byte("\x02\x4f\x56\x00\x00\x03\x02\x4f\x56\x00\x00\x01\x88\xb5" + "nonsense" + "\x00\x00\x00\x00\x00\x00\x00\x01")
	for number := range 50 {
		back[len(back)-1] = byte(number)
		underlay.send(datagram(n.t, hop{underlay.mac.String(), victim, "192.168.5.3", "192.168.5.2"}, vxlanPort, vxlan(probeVNI, back)))
	}
	lost := n.measured("host1").Host.Tunnels[0].LostProbes
	n.eventually("probes go on to be lost", func() error {
		tunnel := n.measured("host1").Host.Tunnels[0]
		if tunnel.State != model.TunnelDown {
			n.t.Fatalf("the tunnel is %s", tunnel.State)
		}
		if tunnel.LostProbes < lost+2 {
			return fmt.Errorf("%d are lost", tunnel.LostProbes)
		}
		return nil
	})
}

// A host that cannot do its work says so by itself, and works again when it can.
func TestHostInTrouble(t *testing.T) {
	t.Parallel()
	n := hosts(t, 2)
	n.endpoint("host1 a blue/web")
	n.endpoint("host2 b blue/web")
	n.awaitHost("host2", "")
	vtep := n.Host("host2").Address.String()
	n.run("the bridge is not ours any more", func(n *network) {
		n.on("host2", "ovs-vsctl", "remove", "bridge", "br-overlane", "external_ids", "overlane")
		n.on("host2", "ovs-vsctl", "set-fail-mode", "br-overlane", "standalone")
		n.awaitHost("host2", "the bridge cannot be kept as it must be")
		n.on("host2", "ovs-vsctl", "br-set-external-id", "br-overlane", "overlane", "bridge")
		n.awaitHost("host2", "")
		if mode := strings.TrimSpace(n.on("host2", "ovs-vsctl", "get-fail-mode", "br-overlane")); mode != "secure" {
			n.t.Errorf("its fail mode is %q", mode)
		}
	})
	n.run("intent gives it an address that it does not have", func(n *network) {
		before := ports(n.measured("host2").Host.Drift)
		n.apply("kind: Host\nname: host2\nspec: {address: 192.168.5.77}")
		n.awaitHost("host2", "no interface of this host has the address 192.168.5.77")
		n.apply("kind: Host\nname: host2\nspec: {address: " + vtep + "}")
		n.awaitHost("host2", "")
		if after := ports(n.measured("host2").Host.Drift); after != before {
			n.t.Errorf("what intent asked for counts as drift: %d before, %d after", before, after)
		}
	})
	n.run("its address is taken from the uplink", func(n *network) {
		n.on("host2", "ip", "address", "del", vtep+"/24", "dev", "br-ovl-up")
		n.eventually("it is put back", func() error {
			if got := n.on("host2", "ip", "-4", "address", "show", "dev", "br-ovl-up"); !strings.Contains(got, vtep) {
				return fmt.Errorf("there is %s", got)
			}
			return nil
		})
		n.awaitHost("host2", "")
		n.ping("host1", "a", "172.17.42.3")
	})
}

// awaitHost waits until the host's agent gives a reason why it is not ready; with none, until it is.
func (n *network) awaitHost(host, reason string) {
	n.t.Helper()
	n.eventually(host+" to be measured", func() error {
		s := n.measured(host).Host
		if s.Ready != (reason == "") || !strings.Contains(s.Reason, reason) {
			return fmt.Errorf("ready %t: %q", s.Ready, s.Reason)
		}
		return nil
	})
}
