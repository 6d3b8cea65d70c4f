package dataplane

import (
	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/view"
)

// The table admit finds the segment of a packet. It drops packets of ports and VNIs that are not in intent.

func admitEndpoint(s view.Segment, port localPort) flow.Flow {
	return flow.Flow{Table: tableAdmit, Priority: prioNormal, Match: flow.On(inPort(port.number)),
		Actions: enterSegment(s), Owner: "Endpoint " + port.endpoint}
}

func admitTunnel(w Wiring, s view.Segment) flow.Flow {
	return flow.Flow{Table: tableAdmit, Priority: prioNormal, Match: flow.On(inPort(w.TunnelPort), tunID(s.VNI)),
		Actions: enterSegment(s)}
}

func enterSegment(s view.Segment) []flow.Action {
	return []flow.Action{set(slotVNI, uint32(s.VNI)), set(slotVPC, uint32(s.VPC)), flow.Goto{Table: tableSource}}
}

// admitStatic also takes the probes between hosts, which have a VNI of their own. The table verify knows the peers.
func admitStatic(w Wiring) []flow.Flow {
	return []flow.Flow{
		{Table: tableEnter, Priority: prioMiss, Actions: []flow.Action{flow.Goto{Table: tableAdmit}}},
		{Table: tableAdmit, Priority: prioNormal, Match: flow.On(inPort(w.TunnelPort), tunID(model.ProbeVNI)),
			Actions: []flow.Action{
				load(foundVTEP, flow.TunSrc),
				flow.Resubmit{Table: tableVerify},
				flow.Goto{Table: tableProbe},
			}},
		drop(tableAdmit, prioRest, dropVNI, inPort(w.TunnelPort)),
		drop(tableAdmit, prioMiss, dropPort),
	}
}
