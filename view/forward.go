package view

import (
	"cmp"
	"strings"

	"github.com/overlane/overlane/model"
)

// forward is a forwarded port, if its address is there and its endpoint is plugged in.
func (t *Tracker) forward(name string) (Forward, bool) {
	spec := t.state.Forward(name)
	if spec == nil {
		return Forward{}, false
	}
	public, at := t.state.PublicIP(spec.PublicIP), t.places[spec.Endpoint]
	if public == nil || at.host == "" {
		return Forward{}, false
	}
	return Forward{ForwardKey: ForwardKey{public.Address, spec.Protocol, uint16(spec.Port)}, Name: name, VPC: t.gateways[model.Parent(name)].VPC,
		Endpoint: at.key, TargetPort: uint16(spec.TargetPort), Host: at.host}, true
}

func compareForwardKeys(a, b ForwardKey) int {
	return cmp.Or(a.Address.Compare(b.Address), strings.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Port, b.Port))
}
