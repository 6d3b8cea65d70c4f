package local

import (
	"net/netip"

	"github.com/overlane/overlane/model"
)

// The agent's API is for the machine's own administrator: a unix socket that only root may open.
//
//	POST /v1/attach  AttachRequest -> AttachReply
//	POST /v1/detach  DetachRequest -> names
//	GET  /v1/status  -> Status
//	GET  /v1/view    -> view.Delta, complete

// AttachRequest asks for a container or a network namespace to be plugged in. Exactly one of Container and Netns is
// set.
type AttachRequest struct {
	Container string     `json:"container,omitempty"` // Docker name or ID
	Netns     string     `json:"netns,omitempty"`     // path, name or PID
	Subnet    string     `json:"subnet"`              // VPC/SUBNET
	Name      string     `json:"name,omitempty"`      // last part of the endpoint's name; the container's name when absent
	Address   netip.Addr `json:"address,omitzero"`    // allocated when absent
	MAC       model.MAC  `json:"mac,omitzero"`        // derived from the address when absent
	Interface string     `json:"interface,omitempty"` // eth0
	NoGateway bool       `json:"noGateway,omitempty"` // no default route: a namespace can have one only
	DHCP      bool       `json:"dhcp,omitempty"`      // no address and no route either: a client inside asks for them
}

// AttachReply says what the endpoint got.
type AttachReply struct {
	Endpoint  string       `json:"endpoint"`
	Address   netip.Prefix `json:"address"`
	Gateway   netip.Addr   `json:"gateway"` // zero: there is no default route
	MAC       model.MAC    `json:"mac"`
	MTU       int          `json:"mtu"`
	Interface string       `json:"interface"`
	Port      string       `json:"port"`      // on the switch
	Unchanged bool         `json:"unchanged"` // it was so already
}

// DetachRequest names an endpoint, or the container or namespace that it is plugged into (all of its endpoints then).
type DetachRequest struct {
	Endpoint  string `json:"endpoint,omitempty"` // VPC/SUBNET/ENDPOINT
	Container string `json:"container,omitempty"`
	Netns     string `json:"netns,omitempty"`
	Subnet    string `json:"subnet,omitempty"` // only the endpoints of this subnet
}

// Status is what the agent knows of its host.
type Status struct {
	Name      string                          `json:"name"` // of the host
	Away      string                          `json:"serverUnreachable,omitempty"`
	Unheard   string                          `json:"reportsRefused,omitempty"` // why the server does not take this host's reports
	Host      model.HostStatus                `json:"host"`
	Endpoints map[string]model.EndpointStatus `json:"endpoints"`
}
