package dataplane

import (
	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/view"
)

// Onward sends what is for a public address to its host, if it is not too long for the endpoint's VPC: neither a tunnel
// nor an endpoint would take it. The sender is told how long it may be (RFC 1191), so that path-MTU discovery works
// from outside.

// toPublicMTU has a packet leave by a port, 0 for an endpoint here, if it is short enough; before is what must be known by
// then.
func checkMTU(g view.Gateway, port uint32, before ...flow.Action) []flow.Action {
	actions := append(before, set(foundPort, port))
	if g.MTU != 0 {
		actions = append(actions, flow.CheckLarger{Len: ethernetHeader + uint16(g.MTU), Dst: slotTooLong.Field, Bit: slotTooLong.First})
	}
	return append(actions, flow.Resubmit{Table: tablePublicMTU})
}

const ethernetHeader = 14

// publicMTUStatic is for passages, and for what is nearby.
func publicMTUStatic(w Wiring) []flow.Flow {
	by := func(port uint32, actions ...flow.Action) flow.Flow {
		return flow.Flow{Table: tablePublicMTU, Priority: prioNormal, Match: flow.On(flow.IP, is(foundPort, port)), Actions: actions}
	}
	flows := []flow.Flow{
		{Table: tablePublicMTU, Priority: prioSpecial, Match: flow.On(flow.IP, is(slotTooLong, 1)), Actions: []flow.Action{flow.CT{Table: tableFragNeeded}}},
		drop(tablePublicMTU, prioMiss, dropNoPublicIP),
		reject(tableFragNeeded, prioMiss, dropTooLong, ForAgentExceedsMTU),
	}
	if w.UpstreamPort != 0 {
		flows = append(flows, by(w.TunnelPort, flow.DecTTL{}, flow.SetField{Field: flow.EthSrc, Value: gatewayMAC}, flow.Output{Port: w.TunnelPort}))
	}
	if w.UpstreamPort != 0 && w.UnderlayPort != 0 {
		flows = append(flows, by(w.UnderlayPort,
			flow.DecTTL{},
			store(slotKey, flow.IPDst),
			flow.SetField{Field: flow.EthSrc, Value: gatewayMAC},
			flow.SetField{Field: flow.EthDst, Value: flow.MAC(model.KernelMAC)},
			flow.Output{Port: w.UnderlayPort}))
	}
	if w.translates() {
		flows = append(flows, by(0, flow.CTClear{}, flow.Goto{Table: tablePublicNAT})) // it may have left by conntrack here
	}
	return flows
}
