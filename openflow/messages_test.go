package openflow

import (
	"net/netip"
	"time"

	"github.com/overlane/overlane/dataplane/flow"
)

var (
	match  = flow.On(flow.TCP, flow.Eq(flow.InPort, flow.U32(7)), flow.Eq(flow.TCPDst, flow.U32(80)), flow.Masked(flow.Reg1, flow.U32(1), flow.U32(3)))
	tunnel = flow.On(flow.Eq(flow.InPort, flow.U32(7)), flow.Eq(flow.TunID, flow.U32(100)), flow.Eq(flow.TunSrc, flow.U32(0xc0a80502)))

	actions = []flow.Action{
		flow.SetField{Field: flow.EthSrc, Value: flow.MAC([6]byte{10, 0, 0, 0, 0, 1})},
		flow.SetField{Field: flow.Reg3, Value: flow.U32(7), Mask: flow.U32(0xff)},
		flow.Move{Src: flow.EthSrc, Dst: flow.XReg2, Bits: 48},
		flow.DecTTL{},
		flow.UseMeter{ID: 0x4f00},
		flow.Controller{Userdata: []byte{1, 2, 3}, MaxLen: flow.MaxLenAll},
		flow.Controller{Userdata: []byte{4}, MaxLen: 128},
		flow.Resubmit{Table: 12},
		flow.OutputReg{Field: flow.Reg3},
		flow.CheckLarger{Len: 1464, Dst: flow.Reg14, Bit: 5},
		flow.CT{Commit: true, Zone: 7},
		flow.CTClear{},
		flow.ToGroup{ID: 0x4f000064},
		flow.Output{Port: 3},
		flow.Output{Port: flow.PortInPort},
	}

	group = flow.Group{ID: 0x4f000064, Type: flow.GroupAll, Buckets: []flow.Bucket{
		{Actions: []flow.Action{flow.SetField{Field: flow.TunID, Value: flow.U32(100)}, flow.Output{Port: 1}}},
		{Actions: []flow.Action{flow.Output{Port: 2}}},
	}}
	failover = flow.Group{ID: 5, Type: flow.GroupFastFailover, Buckets: []flow.Bucket{
		{Actions: []flow.Action{flow.Output{Port: 1}}, WatchPort: 1}, {Actions: []flow.Action{flow.Output{Port: 2}}, WatchPort: 2},
	}}
	balance = flow.Group{ID: 6, Type: flow.GroupSelect, Buckets: []flow.Bucket{
		{Actions: []flow.Action{flow.Output{Port: 1}}, Weight: 3}, {Actions: []flow.Action{flow.Output{Port: 2}}, Weight: 1},
	}}
	meter = flow.Meter{ID: 0x4f00, Rate: 500, Burst: 100}
	stats = Stats{Age: 3*time.Second + 5*time.Millisecond, Idle: time.Second, Flows: 1, Packets: 12, Bytes: 1200}
	desc  = FlowDesc{
		Table: 3, Priority: 100, Flags: FlagSendFlowRemoved, IdleTimeout: 5, HardTimeout: 6, Cookie: 0xf1a000000000001,
		RawMatch: AppendMatch(nil, match), Instructions: instructions(actions), Stats: stats,
	}
	port   = Port{Number: 1, MAC: [6]byte{2, 0, 0, 0, 0, 1}, Name: "p1", Config: PortConfigDown, State: PortStateLive}
	hello  = Hello{Versions: 1 << Version}
	update = FlowUpdate{Event: MonitorAdded, Table: 3, Priority: 100, Cookie: 7, RawMatch: AppendMatch(nil, match)}
	addReq = FlowMod{Command: FlowAdd, Table: 1, Priority: 100, Cookie: 0xf1a000000000001, Match: match, Actions: append(actions[:len(actions):len(actions)], flow.Goto{Table: 9})}
	delReq = FlowMod{Command: FlowDeleteStrict, Table: 1, Priority: 100, Cookie: 7, CookieMask: EveryBit, Match: match}
	errMsg = Error{Type: 4, Code: 9, Data: mustAppend(nil, 5, addReq)[:64]}
	frame  = []byte("\xff\xff\xff\xff\xff\xff\x0a\x00\x00\x00\x00\x01\x88\xb5 anything")
)

// messages are one of every kind and of every form of it.
var messages = []Message{
	hello,
	errMsg,
	Error{Type: 0xffff, Code: 2, Data: []byte{0, 0, 0x23, 0x20}},
	EchoRequest{[]byte("ping")},
	EchoReply{[]byte("ping")},
	FeaturesRequest{},
	FeaturesReply{DatapathID: 0x1234, Buffers: 0, Tables: 254, Capabilities: 0x4f},
	SetConfig{MissSendLen: 0xffff},
	SetAsync{FlowRemoved: 3, PortStatus: AllPortStatus, PacketIn: AllPacketIn, RequestForward: AllRequestForward},
	SetPacketInFormat{},
	FlushZone{0x1234},
	FlushConnections{Zone: 0x1234, Answers: true, To: true, Address: netip.MustParseAddr("1.22.3.5")},
	FlushConnections{Zone: 0x1234, Address: netip.MustParseAddr("10.0.0.5")},
	BarrierRequest{},
	BarrierReply{},
	addReq,
	FlowMod{Command: FlowModifyStrict, Table: 1, Priority: 5, Cookie: 7, CookieMask: EveryBit, Flags: FlagResetCounts, Match: flow.On(flow.ARP)},
	FlowMod{Command: FlowDelete, Table: AllTables, Cookie: flow.CookieOwner, CookieMask: flow.CookieMask},
	delReq,
	FlowRemoved{Table: 3, Reason: 1, Priority: 100, Cookie: 7, Match: match, Stats: stats},
	GroupMod{Command: GroupAdd, Group: group},
	GroupMod{Command: GroupModify, Group: failover},
	GroupMod{Command: GroupAdd, Group: balance},
	GroupMod{Command: GroupDelete, Group: flow.Group{ID: 5}},
	MeterMod{Command: MeterAdd, Meter: meter},
	MeterMod{Command: MeterDelete, Meter: flow.Meter{ID: 5}},
	BundleControl{ID: 1, Step: BundleOpen, Flags: BundleAtomic | BundleOrdered},
	BundleControl{ID: 1, Step: BundleCommitted, Flags: BundleAtomic | BundleOrdered},
	BundleAdd{ID: 1, Flags: BundleAtomic | BundleOrdered, XID: testXID, Message: delReq},
	BundleAdd{ID: 1, Flags: BundleAtomic | BundleOrdered, XID: testXID, Message: GroupMod{Command: GroupAdd, Group: group}},
	PacketOut{Metadata: tunnel, Actions: []flow.Action{flow.Output{Port: 3}}, Frame: frame},
	PacketIn{Frame: frame, Table: 4, Cookie: 7, Reason: 1, Metadata: tunnel, Userdata: []byte{1, 2}},
	PacketIn{Frame: frame, FullLen: 1500, Table: 4, Cookie: 7, Reason: 1, Metadata: tunnel},
	PortStatus{Change: PortModified, Port: port},
	RequestForward{mustAppend(nil, 9, GroupMod{Command: GroupDelete, Group: flow.Group{ID: 5}})},
	RequestForward{mustAppend(nil, 9, MeterMod{Command: MeterModify, Meter: meter})},
	FlowRequest{Table: AllTables, Cookie: flow.CookieOwner, CookieMask: flow.CookieMask},
	AggregateRequest{Table: 3, Cookie: 7, CookieMask: EveryBit, Match: match},
	TablesRequest{},
	GroupsRequest{},
	MetersRequest{},
	PortsRequest{},
	MonitorRequest{ID: 1, Flags: MonitorAdd | MonitorRemoved | MonitorModify, Table: AllTables},
	FlowReply{Part{More: true}, []FlowDesc{desc, desc}},
	FlowReply{},
	AggregateReply{Stats: Stats{Flows: 3, Packets: 12, Bytes: 1200}},
	TablesReply{Tables: []TableStats{{Table: 3, Flows: 5, Lookups: 7, Matched: 6}}},
	GroupsReply{Groups: []GroupDesc{{Group: group}, {Group: failover}, {Group: balance}}},
	MetersReply{Meters: []MeterDesc{{Meter: meter}}},
	PortsReply{Ports: []Port{port}},
	MonitorReply{Updates: []FlowUpdate{update, {Event: MonitorOwn, XID: 5}}},
	MonitorReply{Updates: []FlowUpdate{{Event: MonitorPaused}}},
	MonitorReply{Updates: []FlowUpdate{{Event: MonitorGone, Table: 3, Reason: 2, Priority: 9, Cookie: 7, RawMatch: AppendMatch(nil, match)}, {Event: MonitorResumed}}},
}

const testXID = 0x77

func instructions(a []flow.Action) []byte {
	var w buffer
	w.instructions(a)
	return w.b
}

func mustAppend(b []byte, xid uint32, m Message) []byte {
	b, err := Append(b, xid, m)
	if err != nil {
		panic(err)
	}
	return b
}
