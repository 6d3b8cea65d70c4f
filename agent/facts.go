package agent

import (
	"net/netip"

	"github.com/overlane/overlane/agent/local"
	"github.com/overlane/overlane/hostnet"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/ovs"
	"github.com/overlane/overlane/view"
)

// facts are what the host has, as far as the loop knows. What the switch, its database and the host's kernel must be
// follows from the view and the facts, by [wiring], [layout] and [hostConfig]. They are a value: nobody changes them
// once they are put together.
type facts struct {
	config    local.Config
	known     bool // the view is, if only as it was before the start
	complete  bool // the view is, as it is now
	connected bool // to the switch

	bridge       ovs.State                  // as the database was last found
	ports        map[view.AddressKey]uint32 // OpenFlow ports of this host's addresses
	hosts        []netip.Addr               // of all hosts of the view, sorted
	addresses    []netip.Addr               // by which others may reach this host, besides its VTEP
	servers      []netip.Addr               // as last found
	zones        map[model.VNI]uint16       // of conntrack, by transit VNI of the VPC
	translations map[model.VNI]netip.Addr   // towards the host's kernel, by transit VNI of the VPC
	kernel       hostnet.State              // what works of the host's kernel

	nic    string    // on the upstream network, which the switch is given; empty: none
	router model.MAC // of the upstream network; zero: not known
	shut   bool      // this border host wants no public traffic
}

// facts puts together what the parts of the agent know.
func (a *Agent) facts() facts {
	f := facts{
		config: a.config, known: a.intent.complete || a.intent.revision != 0, complete: a.intent.complete, connected: a.flows.sw != nil,
		bridge: a.bridge.state, ports: a.attachments.ports(), hosts: a.intent.hosts,
		addresses: a.measured.addresses, servers: a.host.servers, zones: a.zones.vpcZones(), translations: a.zones.translations(), kernel: a.host.state,
		nic: a.border.nic, shut: a.border.isShut(&a.intent.view),
	}
	if own, ok := ownHop(&a.intent.view); ok {
		f.router = a.border.routerMAC(own)
	}
	return f
}
