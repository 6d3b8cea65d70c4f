package model

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// HostStatus is the last measurement by a host's agent.
type HostStatus struct {
	Ready        bool              `json:"ready" doc:"Whether the switch holds what intent asks for, and the host is connected."`
	Reason       string            `json:"reason,omitempty" doc:"Why the host is not ready."`
	Datapath     string            `json:"datapath,omitempty" doc:"Datapath of the switch: system is the kernel's, netdev the userspace one." allowed:"system, netdev"`
	AgentVersion string            `json:"agentVersion,omitempty" doc:"Version of the agent."`
	UnderlayMTU  int               `json:"underlayMTU,omitempty" doc:"MTU of the interface that has the VTEP address." unit:"bytes of IP"`
	Tunnels      []TunnelStatus    `json:"tunnels,omitempty" doc:"Tunnels to the hosts with which this one shares a VPC, by name."`
	Border       *BorderStatus     `json:"passage,omitempty" doc:"What a border host measures of its upstream network."`
	Addresses    []netip.Addr      `json:"addresses,omitempty" doc:"Addresses of the host beside the one of its VTEP, sorted. Endpoints cannot reach them by SNAT unless their gateway allows it."`
	Flows        int               `json:"flows" doc:"Flows of Overlane in the switch."`
	Groups       int               `json:"groups" doc:"Groups of Overlane in the switch."`
	Drift        Drift             `json:"drift" doc:"What others changed in the switch, and the agent repaired, since it started."`
	Drops        map[string]uint64 `json:"drops,omitempty" doc:"Packets dropped since the switch started, by the name of the drop (docs/pipeline.md)." unit:"packets"`
	Warnings     []string          `json:"warnings,omitempty" doc:"What should be put right although packets flow."`
	Revision     int64             `json:"revision" doc:"Store revision that the switch has applied."`
	Time         time.Time         `json:"time" doc:"When the server received the report. From the agent itself: when it was measured."`
}

// MaxAddresses is how many a host may report.
const MaxAddresses = 256

// TunnelStatus is the state of the tunnel to a peer host.
type TunnelStatus struct {
	Peer       string      `json:"peer" doc:"Name of the other host."`
	VTEP       string      `json:"vtep" doc:"Underlay address of the other host."`
	State      TunnelState `json:"state" doc:"Whether probes come back." allowed:"Up, Down, Unknown"`
	RTTMicros  int64       `json:"rttMicros,omitempty" doc:"Round trip of the last probe that came back." unit:"microseconds"`
	LostProbes int         `json:"lostProbes,omitempty" doc:"Probes lost in a row."`
	Since      time.Time   `json:"since,omitzero" doc:"When state last changed."`
	BFD        TunnelState `json:"watched,omitempty" doc:"What BFD says of the tunnel, for public traffic. Down may also mean that the other host wants none. Absent: no public traffic takes the tunnel." allowed:"Up, Down"`
}

// BorderStatus is the state of a border host, and of the upstream network as the border host finds it.
type BorderStatus struct {
	Open           bool      `json:"open" doc:"Whether public traffic takes this host."`
	Reason         string    `json:"reason,omitempty" doc:"Why the host is not open."`
	Router         string    `json:"router" doc:"Address of the upstream router."`
	RouterMAC      string    `json:"routerMAC,omitempty" doc:"MAC of the router's last answer."`
	Answers        bool      `json:"answers" doc:"Whether the router answers ARP."`
	Since          time.Time `json:"since,omitzero" doc:"When answers last changed."`
	ActiveNextHops []string  `json:"holds,omitempty" doc:"Hosts whose next hops this host holds now, itself included."`
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
	FlowsRepaired  uint64    `json:"flowsRepaired" doc:"Flows put back, or foreign flows with Overlane's cookie removed."`
	GroupsRepaired uint64    `json:"groupsRepaired" doc:"Groups put back or removed."`
	PortsRepaired  uint64    `json:"portsRepaired" doc:"Ports put back or removed."`
	Last           time.Time `json:"last,omitzero" doc:"When the last repair was."`
}

// EndpointState is how far an endpoint has come.
type EndpointState string

const (
	Pending  EndpointState = "Pending"  // not plugged in, or not by its agent yet
	Attached EndpointState = "Attached" // its port is in the switch, with its flows
	Ready    EndpointState = "Ready"    // its port answered our ARP, and a probe from a peer host came back
	Unknown  EndpointState = "Unknown"  // its host has not reported for a while
)

// EndpointStatus is what the agent of the endpoint's host measured last.
type EndpointStatus struct {
	State  EndpointState `json:"state" doc:"How far the endpoint has come: Attached: its port is in the switch; Ready: measured to work; Unknown: its host is silent." allowed:"Pending, Attached, Ready, Unknown"`
	Reason string        `json:"reason,omitempty" doc:"Why the state is no better."`
	Host   string        `json:"host,omitempty" doc:"Host that measured it."`
	Port   string        `json:"port,omitempty" doc:"Port of the switch."`
	Since  time.Time     `json:"since,omitzero" doc:"When state last changed."`
}

// VPCStatus counts what is in a VPC; see [Summarise].
type VPCStatus struct {
	Subnets   int            `json:"subnets" doc:"Subnets of the VPC."`
	Endpoints EndpointCounts `json:"endpoints" doc:"Endpoints of the VPC, by state."`
}

// SubnetStatus counts what is in a subnet; see [Summarise].
type SubnetStatus struct {
	Endpoints EndpointCounts `json:"endpoints" doc:"Endpoints of the subnet, by state."`
	Free      int            `json:"free" doc:"Addresses that are not taken."`
	Hosts     []string       `json:"hosts,omitempty" doc:"Hosts with endpoints on the subnet, by name."`
}

// InternetGatewayStatus says over which hosts a gateway leads, and for whom; see [Summarise].
type InternetGatewayStatus struct {
	Hosts     []string `json:"hosts,omitempty" doc:"Border hosts of the VPC: those that have the role and an outside, by name."`
	PublicIPs int      `json:"publicIPs" doc:"Public IPs of the VPC."`

	SNATAddresses int `json:"snatAddresses" doc:"Public addresses of which the VPC has port blocks, in the central design."`
	PortBlocks    int `json:"portBlocks" doc:"Port blocks of the VPC, one for each host, in the central design."`

	Reason string `json:"reason,omitempty" doc:"Why no public traffic can pass, or which hosts have no port block."`
}

// PublicPoolStatus counts a pool's addresses; see [Summarise].
type PublicPoolStatus struct {
	Size int `json:"size" doc:"Addresses of the pool."`
	Used int `json:"used" doc:"Addresses of public IPs and of port blocks."`
	SNAT int `json:"snat" doc:"Addresses of port blocks."`
	Free int `json:"free" doc:"Addresses that are not taken."`
}

// PortBlockStatus counts the endpoints that share the ports; see [Summarise].
type PortBlockStatus struct {
	Endpoints int `json:"endpoints" doc:"Endpoints of the VPC on the host that share the ports, those with a public IP included."`
}

// PublicIPState is how far a public address has come.
type PublicIPState string

const (
	PublicReserved PublicIPState = "Reserved" // it names no endpoint
	PublicPending  PublicIPState = "Pending"  // the path to its endpoint is incomplete, or part of it is silent
	PublicReady    PublicIPState = "Ready"    // every leg of the path was measured: see [closedReason]
)

// PublicIPStatus is derived from the statuses of hosts and endpoints; see [Summarise].
type PublicIPStatus struct {
	State  PublicIPState `json:"state" doc:"How far the public IP has come: Reserved: it names no endpoint; Ready: each leg was measured." allowed:"Reserved, Pending, Ready"`
	Reason string        `json:"reason,omitempty" doc:"Why the state is no better."`
	Host   string        `json:"host,omitempty" doc:"Host of the endpoint."`
	Form   string        `json:"form,omitempty" doc:"How packets reach the endpoint's host: with a NAT address, unchanged, or through a gateway."`
}

// EndpointCounts are endpoints by their state. Total is the sum.
type EndpointCounts struct {
	Total    int `json:"total" doc:"All endpoints."`
	Pending  int `json:"pending" doc:"Endpoints that are not plugged in, or not yet."`
	Attached int `json:"attached" doc:"Endpoints that are plugged in, and not Ready yet."`
	Ready    int `json:"ready" doc:"Endpoints that were measured to work."`
	Unknown  int `json:"unknown" doc:"Endpoints on a host that is silent."`
}

// StatusUpdate is what an agent reports of one object: Status is a [*HostStatus] or an [*EndpointStatus], as Key.Kind
// has it. It is stored beside the spec and never changes a revision of intent.
type StatusUpdate struct {
	Key    Key `json:"key"`
	Status any `json:"status"`
}

// Measured gives the last reported status of an endpoint and of a host; nil if there is none.
type Measured struct {
	Endpoint func(Key) *EndpointStatus
	Host     func(name string) *HostStatus
}

// Summarise derives the status of an object from the statuses that agents reported of hosts and endpoints. Its type is
// the one that [Kind.NewStatus] makes; nil for kinds whose status agents report.
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

// UnmarshalJSON makes the status that the key's kind has. Unknown fields are ignored: an agent may be newer than we
// are.
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
