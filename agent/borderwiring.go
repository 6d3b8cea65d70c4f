package agent

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/overlane/overlane/attach"
	"github.com/overlane/overlane/border"
	"github.com/overlane/overlane/dataplane"
	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/ovs"
	"github.com/overlane/overlane/view"
)

// How the loop keeps its border host: it gathers what that needs to know, and carries out what that decides.

// bfdPort names the tunnel of its own that a peer has. It is shorter than an endpoint's.
func bfdPort(peer string) string { return attach.HashedIf("ovl-", peer, 14) }

// bfdMultiplier is how many packets in a row must be lost for a tunnel to be taken for dead (RFC 5880 section 6.8.4). A switch that is
// busy loses single ones: with 3 of 75 ms there were ten false alarms a minute on a tunnel under full load, with 7 of 32 ms one in five
// minutes on twelve tunnels.
const bfdMultiplier = 7

// bfdPorts are the tunnels whose other end OVS watches by BFD. That this border host is shut is said in them, too: OVS tells the other end.
func bfdPorts(v *view.View, c Config, shut bool) (ports []ovs.BridgePort) {
	interval := strconv.FormatInt(time.Duration(c.BFDInterval).Milliseconds(), 10)
	for _, host := range slices.Sorted(maps.Keys(v.Peers)) {
		peer := v.Peers[host]
		if !peer.Watched {
			continue
		}
		ports = append(ports, ovs.BridgePort{
			Name: bfdPort(host), Type: "vxlan",
			Options: map[string]string{"key": "flow", "remote_ip": peer.VTEP.String(), "local_ip": v.VTEP.String(), "dst_port": strconv.Itoa(int(c.UDPPort))},
			BFD: map[string]string{"enable": "true", "min_tx": interval, "min_rx": interval, "mult": strconv.Itoa(bfdMultiplier),
				"cpath_down": strconv.FormatBool(shut)},
		})
	}
	return ports
}

// borderPorts are those that a border host, and its peers for it, have on the bridge.
func (a *Agent) borderPorts() []ovs.BridgePort {
	return append(bfdPorts(&a.view, a.config, a.border.isShut(&a.view)), a.border.externalPorts()...)
}

func (a *Agent) assignNIC(now time.Time) {
	a.border.assignNIC(&a.view, a.layout.Datapath, a.config.Uplink, now)
}

func (a *Agent) borderFacts() borderFacts {
	return borderFacts{view: &a.view, complete: a.complete, wiring: &a.wiring, upToDate: a.upToDate(), bfd: a.bfd, underlay: a.underlayLink}
}

// underlayLink is unknown if the host's address is gone, perhaps; what of it matters is said elsewhere.
func (a *Agent) underlayLink() (nic string, link border.Link) {
	nic, err := a.underlayNIC()
	if err != nil {
		return nic, border.LinkUnknown
	}
	return nic, linkOf(nic)
}

// inheritBorder finds out whether the agent before has left the border host open.
func (a *Agent) inheritBorder() {
	for host := range a.view.Peers {
		told, _ := a.db.BFD(bfdPort(host))
		a.border.inherit(told["cpath_down"] == "false")
	}
}

// keepBorder opens and shuts the border host. In all BFD tunnels at once the peers are told of it.
func (a *Agent) keepBorder(ctx context.Context, now time.Time) {
	facts := a.borderFacts()
	a.border.announce(ctx, facts, a.sw)
	if !a.border.decide(facts, now) {
		return
	}
	if a.db != nil {
		a.databaseChanged(ctx)
	}
	a.wireBorder()
}

// borderReadBack shuts the border host of a switch that turns out to have none of its flows before it gets them: it would be sent to, and
// next hops be active there, before it knows where the router is.
func (a *Agent) borderReadBack(ctx context.Context, have ovs.Contents) error {
	a.border.flowsRead(hasExit(&a.view, a.wiring, have))
	if !a.border.decide(a.borderFacts(), time.Now()) {
		return nil
	}
	err := a.ensure(ctx)
	a.wireBorder()
	return err
}

// hasExit tells whether a switch has the flow to the upstream router.
func hasExit(v *view.View, w dataplane.Wiring, have ovs.Contents) bool {
	f, ok := dataplane.Exit(v, w)
	return ok && slices.ContainsFunc(have.Flows, func(installed flow.Installed) bool { return installed.Key == f.Key() })
}

// borderDisconnected has the border host shut with the connection to the switch, so that it is found shut at the next one.
func (a *Agent) borderDisconnected() {
	a.border.disconnected()
	a.border.decide(a.borderFacts(), time.Now())
}

// wireBorder takes the ports that the database has now into the wiring.
func (a *Agent) wireBorder() {
	next := a.wiring
	next.Watched = map[string]uint32{}
	for host, peer := range a.view.Peers {
		if port := a.layout.Ports[bfdPort(host)]; peer.Watched && port != 0 {
			next.Watched[host] = port
		}
	}
	next.External, next.Router = 0, model.MAC{}
	if a.border.nic != "" {
		next.External = a.layout.Ports[a.border.nic]
	}
	if own, ok := ownHop(&a.view); ok {
		next.Router = a.border.routerMAC(own)
	}
	next.Shut = a.border.isShut(&a.view)
	a.rewire(next)
}
