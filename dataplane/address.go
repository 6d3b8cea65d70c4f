package dataplane

import (
	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/view"
)

// addresses compiles an endpoint's address: its entry in locate and, on the endpoint's host, in verify.
var addresses = rows[view.AddressKey, view.Address]{
	kind:    "address",
	table:   func(v *view.View) view.Table[view.AddressKey, view.Address] { return v.Addresses },
	order:   view.AddressKey.Compare,
	entries: compileAddress,
	touched: touchAddresses,
}

func compileAddress(v *view.View, w Wiring, a view.Address) Entries {
	var e Entries
	s, ok := v.Segments[a.VNI]
	if !ok {
		return e
	}
	if a.Host == v.Host {
		if port, ok := w.Ports[a.AddressKey]; ok {
			e.Flows = []flow.Flow{verifyEndpoint(a, port), locateHere(s, a, port)}
		}
	} else if peer, ok := v.Peers[a.Host]; ok {
		e.Flows = []flow.Flow{locateElsewhere(s, a, peer)}
	}
	return e.ownedBy("Endpoint " + a.Endpoint)
}

// touchAddresses walks the whole view if a peer or a segment is new, gone or different, which is seldom.
func touchAddresses(c *change, add func(view.AddressKey)) {
	undo, v := &c.before.Undo, c.now.View
	addAll(add, keys(undo.Addresses, undo.GoneAddresses))
	addAll(add, c.ports)
	moved := map[model.VNI]bool{} // segments that are new, gone, or of another VPC
	for was, is := range changed(undo.Segments, undo.GoneSegments, v.Segments) {
		if was == nil || is == nil || was.VPC != is.VPC {
			moved[either(was, is).VNI] = true
		}
	}
	if len(moved)+len(c.peers) == 0 {
		return
	}
	for key, a := range v.Addresses {
		if moved[key.VNI] || c.peers[a.Host] {
			add(key)
		}
	}
}
