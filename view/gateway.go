package view

import (
	"cmp"
	"net/netip"
	"reflect"
	"slices"

	"github.com/overlane/overlane/model"
)

// Gateway is a VPC's way to what is outside of it.
type Gateway struct {
	VPC      model.VNI      `json:"vpc"`           // transit VNI
	Name     string         `json:"name"`          // of the VPC
	MTU      int            `json:"mtu,omitempty"` // of the VPC; 0 from an older server: not known
	Design   string         `json:"design,omitempty"`
	SNAT     bool           `json:"snat,omitempty"`
	Allow    []netip.Prefix `json:"allow,omitempty"`    // reached by SNAT although they are hosts' or servers'
	Passages []string       `json:"passages,omitempty"` // hosts that public traffic passes, sorted
}

// Key is the VPC's transit VNI.
func (g Gateway) Key() model.VNI { return g.VPC }

var gateways = kind[model.VNI, Gateway]{
	table:   func(v *View) *Table[model.VNI, Gateway] { return &v.Gateways },
	changes: func(d *Delta) (*[]Gateway, *[]model.VNI) { return &d.Gateways, &d.GoneGateways },
	compare: cmp.Compare[model.VNI],
	equal:   func(a, b Gateway) bool { return reflect.DeepEqual(a, b) },
}

func (t *Tracker) gateway(vpc string) (g Gateway, ok bool) {
	spec, of := t.state.InternetGateway(vpc), t.state.VPC(vpc)
	if spec == nil || of == nil {
		return g, false
	}
	g = Gateway{VPC: of.TransitVNI, Name: vpc, MTU: of.MTU, Design: spec.Design, SNAT: spec.SNAT, Allow: spec.Allow}
	for o := range t.state.Passages(vpc) {
		g.Passages = append(g.Passages, o.Name)
	}
	slices.Sort(g.Passages)
	return g, true
}

// tellGateway is about the VPC's way outside, of which its passages are told, and the hosts with endpoints of the VPC. It reports whether it was another.
func (t *Tracker) tellGateway(host, vpc string, d *Delta) bool {
	known := t.hosts[host].gateways
	old, had := known[vpc]
	now, has := t.gateways[vpc]
	has = has && t.sight(host, vpc) != blind
	if had && (!has || old.VPC != now.VPC) {
		delete(known, vpc)
		d.GoneGateways = append(d.GoneGateways, old.VPC)
	}
	if !has {
		return had
	}
	if had && gateways.equal(old, now) {
		return false
	}
	known[vpc] = now
	d.Gateways = append(d.Gateways, now)
	return true
}
