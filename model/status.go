package model

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// HostStatus is what a host's agent measured last.
type HostStatus struct {
	Ready        bool              `json:"ready" doc:"The switch holds what the intent asks for."`
	Reason       string            `json:"reason,omitempty" doc:"Why the host is not ready."`
	Datapath     string            `json:"datapath,omitempty" doc:"Datapath of the switch: system (kernel) or netdev (userspace)."`
	AgentVersion string            `json:"agentVersion,omitempty" doc:"Version of the agent."`
	UnderlayMTU  int               `json:"underlayMTU,omitempty" doc:"MTU of the interface with the VTEP address, in bytes of IP."`
	Tunnels      []TunnelStatus    `json:"tunnels,omitempty" doc:"One for each host with which it shares a VPC, by name."`
	Passage      *PassageStatus    `json:"passage,omitempty" doc:"What a host that public traffic passes finds of its upstream network."`
	Addresses    []netip.Addr      `json:"addresses,omitempty" doc:"IPv4 addresses by which it may be reached besides that of its VTEP, sorted: endpoints do not get to any of them by SNAT, unless their gateway allows it."`
	Flows        int               `json:"flows" doc:"Flows of ours in the switch."`
	Groups       int               `json:"groups" doc:"Groups of ours in the switch."`
	Drift        Drift             `json:"drift" doc:"What was changed by others and repaired since the agent started."`
	Drops        map[string]uint64 `json:"drops,omitempty" doc:"Packets dropped since the switch started, by reason."`
	Warnings     []string          `json:"warnings,omitempty" doc:"What should be put right although packets flow."`
	Revision     int64             `json:"revision" doc:"Store revision that the switch has applied."`
	Time         time.Time         `json:"time" doc:"When the server was told this; of an agent that is asked itself, when it was measured."`
}

// MaxAddresses is how many a host may report.
const MaxAddresses = 256

// TunnelStatus is a peer host as seen through the tunnel.
type TunnelStatus struct {
	Peer       string      `json:"peer" doc:"Name of the other host."`
	VTEP       string      `json:"vtep" doc:"Its underlay address."`
	State      TunnelState `json:"state" doc:"Up, Down or Unknown."`
	RTTMicros  int64       `json:"rttMicros,omitempty" doc:"Round trip of the last probe that came back, in microseconds."`
	LostProbes int         `json:"lostProbes,omitempty" doc:"Probes lost in a row."`
	Since      time.Time   `json:"since,omitzero" doc:"When State became what it is."`
	Watched    TunnelState `json:"watched,omitempty" doc:"Whether public traffic may take the tunnel, as BFD finds it: Up, or Down, also if the other host wants none; left out: it does not take it."`
}

// PassageStatus is the upstream network as a passage finds it.
type PassageStatus struct {
	Open      bool      `json:"open" doc:"Public traffic is sent by this host."`
	Reason    string    `json:"reason,omitempty" doc:"Why it is not."`
	Router    string    `json:"router" doc:"Address of the upstream router."`
	RouterMAC string    `json:"routerMAC,omitempty" doc:"MAC by which the router has answered last."`
	Answers   bool      `json:"answers" doc:"The router answers ARP."`
	Since     time.Time `json:"since,omitzero" doc:"When Answers became what it is."`
	Holds     []string  `json:"holds,omitempty" doc:"Hosts whose next hops lead here now, this one included."`
}

// TunnelState says whether probes to a peer come back.
type TunnelState string

const (
	TunnelUnknown TunnelState = "Unknown" // none sent, or none answered yet
	TunnelUp      TunnelState = "Up"
	TunnelDown    TunnelState = "Down"
)

// Drift counts what the agent found changed by others in the switch and put right, since the agent started.
type Drift struct {
	FlowsRepaired  uint64    `json:"flowsRepaired" doc:"Flows put back, or foreign ones with our cookie removed."`
	GroupsRepaired uint64    `json:"groupsRepaired" doc:"Groups put back or removed."`
	PortsRepaired  uint64    `json:"portsRepaired" doc:"Ports put back or removed."`
	Last           time.Time `json:"last,omitzero" doc:"When the last one was repaired."`
}

// EndpointState is how far an endpoint has come.
type EndpointState string

const (
	Pending  EndpointState = "Pending"  // not plugged in, or not by its agent yet
	Attached EndpointState = "Attached" // its port is in the switch, with its flows
	Ready    EndpointState = "Ready"    // its port answered our ARP, and a probe from a peer host came back
	Unknown  EndpointState = "Unknown"  // its host is silent: nobody has measured it for a while
)

// EndpointStatus is what the agent of the endpoint's host measured last.
type EndpointStatus struct {
	State  EndpointState `json:"state" doc:"Pending, Attached, Ready or Unknown."`
	Reason string        `json:"reason,omitempty" doc:"Why it is not further."`
	Host   string        `json:"host,omitempty" doc:"Host that measured it."`
	Port   string        `json:"port,omitempty" doc:"Port of the switch."`
	Since  time.Time     `json:"since,omitzero" doc:"When State became what it is."`
}

// VPCStatus counts what is in a VPC; see [Summarise].
type VPCStatus struct {
	Subnets   int            `json:"subnets" doc:"Subnets of the VPC."`
	Endpoints EndpointCounts `json:"endpoints" doc:"Endpoints of the VPC, by state."`
}

// SubnetStatus counts what is in a subnet; see [Summarise].
type SubnetStatus struct {
	Endpoints EndpointCounts `json:"endpoints" doc:"Endpoints of the subnet, by state."`
	Free      int            `json:"free" doc:"Addresses that an endpoint may still have."`
	Hosts     []string       `json:"hosts,omitempty" doc:"Hosts with endpoints on the subnet, by name."`
}

// InternetGatewayStatus says over which hosts a gateway leads, and for whom; see [Summarise].
type InternetGatewayStatus struct {
	Hosts     []string `json:"hosts,omitempty" doc:"Hosts that public traffic passes: those that have an outside, by name."`
	PublicIPs int      `json:"publicIPs" doc:"Public IPs of the VPC."`

	SNATAddresses int `json:"snatAddresses" doc:"Public addresses that the VPC has ports of, in the central design."`
	PortBlocks    int `json:"portBlocks" doc:"Hosts that have ports for SNAT, in the central design."`

	Reason string `json:"reason,omitempty" doc:"Why nothing can pass, or which hosts have no ports for SNAT."`
}

// PublicPoolStatus counts a pool's addresses; see [Summarise].
type PublicPoolStatus struct {
	Size int `json:"size" doc:"Addresses of the pool."`
	Used int `json:"used" doc:"Those that a public IP has, or that port blocks are of."`
	SNAT int `json:"snat" doc:"Those of them that port blocks are of."`
	Free int `json:"free" doc:"Those that nobody has."`
}

// PortBlockStatus counts who shares the ports; see [Summarise].
type PortBlockStatus struct {
	Endpoints int `json:"endpoints" doc:"Endpoints of the VPC that are plugged in on the host, those with a public IP included."`
}

// PublicIPState is how far a public address has come.
type PublicIPState string

const (
	PublicReserved PublicIPState = "Reserved" // it names no endpoint
	PublicPending  PublicIPState = "Pending"  // something that it needs is not there, or silent
	PublicReady    PublicIPState = "Ready"    // each leg of the way was measured: the endpoint has answered, and so has the router of a passage, and BFD finds the tunnel between the two up
)

// PublicIPStatus is what follows for a public address from what was measured of others; see [Summarise].
type PublicIPStatus struct {
	State  PublicIPState `json:"state" doc:"Reserved, Pending or Ready."`
	Reason string        `json:"reason,omitempty" doc:"Why it is not further."`
	Host   string        `json:"host,omitempty" doc:"Host of the endpoint."`
	Form   string        `json:"form,omitempty" doc:"How packets reach the endpoint's host: natted via an address of it, unchanged, or by way of a gateway."`
}

// EndpointCounts are endpoints by their state. Total is the sum.
type EndpointCounts struct {
	Total    int `json:"total" doc:"All."`
	Pending  int `json:"pending" doc:"Not plugged in, or not yet."`
	Attached int `json:"attached" doc:"Plugged in."`
	Ready    int `json:"ready" doc:"Measured to work."`
	Unknown  int `json:"unknown" doc:"On a host that is silent."`
}

// StatusUpdate is what an agent reports of one object: Status is a [*HostStatus] or an [*EndpointStatus], as Key.Kind has
// it. It is stored beside the spec and never changes a revision of intent.
type StatusUpdate struct {
	Key    Key `json:"key"`
	Status any `json:"status"`
}

// Measured gives what was reported last of an endpoint and of a host; nil: nothing was.
type Measured struct {
	Endpoint func(Key) *EndpointStatus
	Host     func(name string) *HostStatus
}

// Summarise is the status of an object that nobody reports, from what was measured of others: of the type that [Kind.NewStatus] makes, or nil
// for a host or an endpoint.
func Summarise(s *State, key Key, m Measured) any {
	if kind, ok := kindNamed(key.Kind); ok && kind.summarise != nil {
		return kind.summarise(s, key.Name, m)
	}
	return nil
}

func countStates(s *State, parent string, statusOf func(Key) *EndpointStatus) (n EndpointCounts) {
	for o := range s.EndpointsOf(parent) {
		n.Add(statusOf(o.Key()))
	}
	return n
}

// Add counts one more endpoint. One without a status is Pending.
func (n *EndpointCounts) Add(status *EndpointStatus) {
	n.Total++
	if status == nil {
		n.Pending++
		return
	}
	switch status.State {
	case Attached:
		n.Attached++
	case Ready:
		n.Ready++
	case Unknown:
		n.Unknown++
	default:
		n.Pending++
	}
}

// hostsOf is the names of the hosts with endpoints on a subnet, in order.
func (s *State) hostsOf(subnet string) []string {
	var hosts []string
	seen := map[string]bool{"": true}
	for o := range s.EndpointsOf(subnet) {
		if host := o.Spec.(*EndpointSpec).Host; !seen[host] {
			seen[host] = true
			hosts = append(hosts, host)
		}
	}
	slices.Sort(hosts)
	return hosts
}

// UnmarshalJSON makes the status that the key's kind has. Unknown fields are ignored: an agent may be newer than we are.
func (u *StatusUpdate) UnmarshalJSON(data []byte) error {
	var raw struct {
		Key    Key
		Status json.RawMessage
	}
	if err := json.Unmarshal(data, &raw); err != nil {
		return err
	}
	kind, ok := kindNamed(raw.Key.Kind)
	if !ok {
		return fmt.Errorf("decode status: %q is not a kind", raw.Key.Kind)
	}
	status := kind.NewStatus()
	if err := json.Unmarshal(raw.Status, status); err != nil {
		return fmt.Errorf("decode status of %s: %w", raw.Key, err)
	}
	*u = StatusUpdate{raw.Key, status}
	return nil
}

// tunnelsUp is "2/3": how many of the tunnels are up.
func (s *HostStatus) tunnelsUp() any {
	up := 0
	for _, t := range s.Tunnels {
		if t.State == TunnelUp {
			up++
		}
	}
	return fmt.Sprintf("%d/%d", up, len(s.Tunnels))
}
