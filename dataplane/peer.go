package dataplane

import (
	"strings"

	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/view"
)

// peers compiles another host: packets from its VTEP are accepted, by the tunnel port that all peers share and by the
// peer's own tunnel port with BFD.
var peers = rows[string, view.Peer]{
	kind:    "peer",
	table:   func(v *view.View) view.Table[string, view.Peer] { return v.Peers },
	order:   strings.Compare,
	entries: compilePeer,
	touched: func(c *change, add func(string)) {
		addAll(add, c.peers)
		addAll(add, c.bfd)
	},
}

func compilePeer(_ *view.View, w Wiring, p view.Peer) Entries {
	e := Entries{Flows: []flow.Flow{verifyPeer(w, p)}}
	if port, ok := w.BFDPorts[p.Host]; ok {
		e.Flows = append(e.Flows, enterBFD(w, p.Host, port))
	}
	return e
}
