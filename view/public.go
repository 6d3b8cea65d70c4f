package view

import (
	"net/netip"

	"github.com/overlane/overlane/model"
)

// Public is a public address of an endpoint that is plugged in.
type Public struct {
	Address  netip.Addr `json:"address"`
	NATIP    netip.Addr `json:"natIP,omitzero"` // on the underlay, in the distributed design; none: the public address itself
	Name     string     `json:"name"`           // VPC/PUBLICIP
	VPC      model.VNI  `json:"vpc"`            // transit VNI
	Endpoint AddressKey `json:"endpoint"`
	Host     string     `json:"host"` // of the endpoint
}

// Key is the address.
func (p Public) Key() netip.Addr { return p.Address }

func (p Public) onHost() string { return p.Host }

// Known is the address by which the endpoint's host is reached from outside.
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
}

func (t *Tracker) tellPublics(host, vpc string, touched *touchedVPC, d *Delta) {
	tellOutside(t, host, vpc, touched.whole, teller[netip.Addr, Public]{touched.publics, t.hosts[host].publics, t.public,
		func(yield func(string) bool) {
			for endpoint := range t.state.EndpointsOnOf(host, vpc) {
				if o := t.state.PublicIPOf(endpoint.Name); o != nil && !yield(o.Name) {
					return
				}
			}
		}, t.state.PublicIPsOf(vpc), &d.Publics, &d.GonePublics})
}

// public is a public address, if its endpoint is plugged in.
func (t *Tracker) public(name string) (Public, bool) {
	spec := t.state.PublicIP(name)
	if spec == nil {
		return Public{}, false
	}
	at, vpc := t.places[spec.Endpoint], model.Parent(name)
	return Public{Address: spec.Address, NATIP: spec.NATIP, Name: name, VPC: t.gateways[vpc].VPC, Endpoint: at.key, Host: at.host}, at.host != ""
}
