package view

import (
	"net/netip"

	"github.com/overlane/overlane/model"
)

// Public is a public address that an endpoint has as a whole. The endpoint is plugged in.
type Public struct {
	Address  netip.Addr `json:"address"`
	NATIP    netip.Addr `json:"natIP,omitzero"` // replaces Address on the underlay; none: Address itself
	Name     string     `json:"name"`           // VPC/PUBLICIP
	VPC      model.VNI  `json:"vpc"`            // transit VNI
	Endpoint AddressKey `json:"endpoint"`
	Host     string     `json:"host"` // of the endpoint
}

// Key is the address.
func (p Public) Key() netip.Addr { return p.Address }

// Known is the address that stands for the endpoint between border host and host: the NAT-IP or the address itself.
func (p Public) Known() netip.Addr {
	if p.NATIP.IsValid() {
		return p.NATIP
	}
	return p.Address
}

var publics = kind[netip.Addr, Public]{
	table:   func(v *View) *Table[netip.Addr, Public] { return &v.Publics },
	changes: func(d *Delta) (*[]Public, *[]netip.Addr) { return &d.Publics, &d.GonePublics },
	compare: netip.Addr.Compare,
	equal:   equals[Public],
	receive: func(v *View, p *Public) { p.Host = v.hostName(p.Host) },
	track: func(_ *Tracker, k *kind[netip.Addr, Public]) source {
		return &shared[netip.Addr, Public]{scoped[netip.Addr, Public]{kind: k, object: "PublicIP",
			make: (*Tracker).public, needs: publicNeeds,
			sees: func(v visibility, viewer string, p Public) bool { return v.sees(viewer, p.Host) }}}
	},
}

// public makes the row of a public address. There is none unless the endpoint is plugged in.
func (t *Tracker) public(name string) (Public, bool) {
	spec := t.state.PublicIP(name)
	if spec == nil {
		return Public{}, false
	}
	g, _ := t.gateway(model.Parent(name))
	at := t.locations[spec.Endpoint]
	return Public{Address: spec.Address, NATIP: spec.NATIP, Name: name, VPC: g.VPC, Endpoint: at.key,
		Host: at.host}, at.host != ""
}

func publicNeeds(t *Tracker, key model.Key, _ *touched, mark func(string)) {
	if key.Kind == "Endpoint" {
		if o := t.state.PublicIPOf(key.Name); o != nil {
			mark(o.Name)
		}
	}
}
