package view

import (
	"cmp"
	"net/netip"
	"reflect"
	"slices"

	"github.com/overlane/overlane/model"
)

// Gateway is the internet gateway of a VPC.
type Gateway struct {
	VPC         model.VNI      `json:"vpc"`           // transit VNI
	Name        string         `json:"name"`          // of the VPC
	MTU         int            `json:"mtu,omitempty"` // of the VPC; 0 from an older server: not known
	Design      string         `json:"design,omitempty"`
	SNAT        bool           `json:"snat,omitempty"`
	Allow       []netip.Prefix `json:"allow,omitempty"`    // guarded addresses that endpoints may reach all the same
	BorderHosts []string       `json:"passages,omitempty"` // hosts that forward the VPC's public traffic, sorted
}

// Key is the VPC's transit VNI.
func (g Gateway) Key() model.VNI { return g.VPC }

var gateways = kind[model.VNI, Gateway]{
	table:   func(v *View) *Table[model.VNI, Gateway] { return &v.Gateways },
	changes: func(d *Delta) (*[]Gateway, *[]model.VNI) { return &d.Gateways, &d.GoneGateways },
	compare: cmp.Compare[model.VNI],
	equal:   func(a, b Gateway) bool { return reflect.DeepEqual(a, b) },
	track: func(t *Tracker, k *kind[model.VNI, Gateway]) source {
		t.gateways = &gatewaySource{scoped[model.VNI, Gateway]{kind: k, object: "InternetGateway",
			make: (*Tracker).makeGateway, needs: gatewayNeeds,
			sees: func(v visibility, _ string, _ Gateway) bool { return v.outside }}}
		return t.gateways
	},
}

// gatewaySource also records that a gateway has changed, since all next hops depend on gateways.
type gatewaySource struct{ scoped[model.VNI, Gateway] }

func (s *gatewaySource) update(t *Tracker, r *touched) {
	s.scoped.update(t, r)
	r.gateways = len(s.changed) > 0
}

// gateway returns the gateway of a VPC; false if it has none.
func (t *Tracker) gateway(vpc string) (Gateway, bool) {
	g, ok := t.gateways.rows[vpc][vpc]
	return g, ok
}

func (t *Tracker) makeGateway(vpc string) (g Gateway, ok bool) {
	spec, of := t.state.InternetGateway(vpc), t.state.VPC(vpc)
	if spec == nil || of == nil {
		return g, false
	}
	g = Gateway{VPC: of.TransitVNI, Name: vpc, MTU: of.MTU, Design: spec.Design, SNAT: spec.SNAT, Allow: spec.Allow}
	for o := range t.state.BorderHosts(vpc) {
		g.BorderHosts = append(g.BorderHosts, o.Name)
	}
	slices.Sort(g.BorderHosts)
	return g, true
}

// gatewayNeeds marks all gateways if a host changes, since the border hosts of a VPC depend on all hosts.
func gatewayNeeds(t *Tracker, key model.Key, _ *touched, mark func(string)) {
	switch key.Kind {
	case "VPC":
		mark(key.Name)
	case "Host", "PublicPool":
		for o := range t.state.List("InternetGateway") {
			mark(o.Name)
		}
	}
}
