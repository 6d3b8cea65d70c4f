package agent

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/overlane/overlane/agent/local"
	"github.com/overlane/overlane/border"
	"github.com/overlane/overlane/dataplane"
	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/internal/ifname"
	"github.com/overlane/overlane/ovs"
	"github.com/overlane/overlane/view"
)

// How the loop keeps its border host: it gathers what that needs to know, and carries out what that decides.

// bfdPort names the tunnel of its own that a peer has. It is shorter than an endpoint's.
func bfdPort(peer string) string { return ifname.Peer(peer) }

// bfdMultiplier is how many packets in a row must be lost for a tunnel to be taken for dead (RFC 5880 section
// 6.8.4). A switch that is busy loses single ones: with 3 of 75 ms there were ten false alarms a minute on a tunnel
// under full load, with 7 of 32 ms one in five minutes on twelve tunnels.
const bfdMultiplier = 7

// bfdPorts are the tunnels whose other end OVS watches by BFD. That this border host is shut is said in them, too:
// OVS tells the other end.
func bfdPorts(v *view.View, c local.Config, shut bool) (ports []ovs.BridgePort) {
	interval := strconv.FormatInt(time.Duration(c.BFDInterval).Milliseconds(), 10)
	var watched []string
	for host, peer := range v.Peers {
		if peer.BFD {
			watched = append(watched, host)
		}
	}
	slices.Sort(watched)
	for _, host := range watched {
		peer := v.Peers[host]
		ports = append(ports, ovs.BridgePort{
			Name: bfdPort(host), Type: "vxlan",
			Options: map[string]string{"key": "flow", "remote_ip": peer.VTEP.String(), "local_ip": v.VTEP.String(), "dst_port": strconv.Itoa(int(c.UDPPort))},
			BFD: map[string]string{"enable": "true", "min_tx": interval, "min_rx": interval, "mult": strconv.Itoa(bfdMultiplier),
				"cpath_down": strconv.FormatBool(shut)},
		})
	}
	return ports
}

func (a *Agent) borderFacts() borderFacts {
	return borderFacts{view: &a.intent.view, complete: a.intent.complete, wiring: &a.flows.wiring, upToDate: a.flows.upToDate(), bfd: a.bridge.bfd, underlay: a.underlayLink}
}

// underlayLink is the link of the interface that tunnel packets leave by. It is unknown if the host's address is gone,
// perhaps; what of it matters is said elsewhere.
func (a *Agent) underlayLink() (nic string, link border.Link) {
	if a.config.Uplink != "" && a.bridge.state.Datapath == ovs.Userspace {
		return a.config.Uplink, linkOf(a.config.Uplink)
	}
	i, err := local.Underlay(a.intent.view.VTEP)
	if err != nil {
		return i.Name, border.LinkUnknown
	}
	return i.Name, linkOf(i.Name)
}

// inheritBorder finds out whether the agent before has left the border host open.
func (a *Agent) inheritBorder() {
	for host := range a.intent.view.Peers {
		told, _ := a.bridge.db.BFD(bfdPort(host))
		a.border.inherit(told["cpath_down"] == "false")
	}
}

// keepBorder has the border host speak on the upstream network, opens and shuts it. In all BFD tunnels at once the
// peers are told of it.
func (a *Agent) keepBorder(ctx context.Context, now time.Time) {
	facts := a.borderFacts()
	a.border.announce(ctx, facts, a.flows.sw)
	if !a.border.decide(facts, now) {
		return
	}
	a.border.carryOut(func() {
		a.rewire()
		a.flush(ctx)
	}, func() {
		if a.bridge.reachable() {
			a.conditions.set(condBridge, a.setBridge(ctx, now))
		}
	})
}

// borderReadBack shuts the border host of a switch that turns out to have none of its flows before it gets them: it
// would be sent to, and next hops be active there, before it knows where the router is.
func (a *Agent) borderReadBack(ctx context.Context, have ovs.Contents) error {
	if a.border.flows == border.FlowsConfirmed {
		return nil
	}
	a.border.flowsRead(hasExit(&a.intent.view, a.flows.wiring, have))
	now := time.Now()
	a.border.decide(a.borderFacts(), now)
	err := a.setBridge(ctx, now) // even if nothing is decided anew: peers may not have been told the last time
	a.rewire()
	return err
}

// hasExit tells whether a switch has the flow to the upstream router, be it an earlier version's.
func hasExit(v *view.View, w dataplane.Wiring, have ovs.Contents) bool {
	exits := dataplane.ExitKeys(v, w)
	return slices.ContainsFunc(have.Flows, func(f flow.Installed) bool { return slices.Contains(exits, f.Key) })
}

// borderDisconnected has the border host shut with the connection to the switch, so that it is found shut at the
// next one.
func (a *Agent) borderDisconnected() {
	a.border.disconnected()
	a.border.decide(a.borderFacts(), time.Now())
}
