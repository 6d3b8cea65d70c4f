package view

import (
	"cmp"
	"net/netip"
	"strings"

	"github.com/overlane/overlane/model"
)

// Forward is a port of a public address that is forwarded to a port of an endpoint, in the central design.
type Forward struct {
	ForwardKey
	Name       string     `json:"name"` // VPC/FORWARD
	VPC        model.VNI  `json:"vpc"`  // transit VNI
	Endpoint   AddressKey `json:"endpoint"`
	TargetPort uint16     `json:"targetPort"`
	Host       string     `json:"host"` // of the endpoint
}

// ForwardKey identifies a forwarded port.
type ForwardKey struct {
	Address  netip.Addr `json:"address"`
	Protocol string     `json:"protocol"` // tcp or udp
	Port     uint16     `json:"port"`
}

// Key is the forwarded port.
func (f Forward) Key() ForwardKey { return f.ForwardKey }

// Compare orders forwarded ports by address, protocol and port.
func (k ForwardKey) Compare(other ForwardKey) int {
	return cmp.Or(k.Address.Compare(other.Address), strings.Compare(k.Protocol, other.Protocol),
		cmp.Compare(k.Port, other.Port))
}

var forwards = kind[ForwardKey, Forward]{
	table:   func(v *View) *Table[ForwardKey, Forward] { return &v.Forwards },
	changes: func(d *Delta) (*[]Forward, *[]ForwardKey) { return &d.Forwards, &d.GoneForwards },
	compare: ForwardKey.Compare,
	equal:   equals[Forward],
	receive: func(v *View, f *Forward) { f.Host = v.hostName(f.Host) },
	track: func(_ *Tracker, k *kind[ForwardKey, Forward]) source {
		return &shared[ForwardKey, Forward]{scoped[ForwardKey, Forward]{kind: k, object: "Forward",
			make: (*Tracker).forward, needs: forwardNeeds,
			sees: func(v visibility, viewer string, f Forward) bool { return v.sees(viewer, f.Host) }}}
	},
}

// forward makes the row of a forwarded port. There is none unless the address exists and the endpoint is plugged in.
func (t *Tracker) forward(name string) (Forward, bool) {
	spec := t.state.Forward(name)
	if spec == nil {
		return Forward{}, false
	}
	public, at := t.state.PublicIP(spec.PublicIP), t.locations[spec.Endpoint]
	if public == nil || at.host == "" {
		return Forward{}, false
	}
	g, _ := t.gateway(model.Parent(name))
	return Forward{ForwardKey: ForwardKey{public.Address, spec.Protocol, uint16(spec.Port)}, Name: name, VPC: g.VPC,
		Endpoint: at.key, TargetPort: uint16(spec.TargetPort), Host: at.host}, true
}

func forwardNeeds(t *Tracker, key model.Key, _ *touched, mark func(string)) {
	switch key.Kind {
	case "PublicIP":
		for o := range t.state.ForwardsAt(key.Name) {
			mark(o.Name)
		}
	case "Endpoint":
		for o := range t.state.ForwardsTo(key.Name) {
			mark(o.Name)
		}
	}
}
