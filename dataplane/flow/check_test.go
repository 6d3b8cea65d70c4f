package flow_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/overlane/overlane/dataplane/flow"
)

func TestCheckRefuses(t *testing.T) {
	tcp80 := flow.Eq(flow.TCPDst, flow.U32(80))
	set := func(f *flow.Field, v, mask uint32) flow.Action {
		return flow.SetField{Field: f, Value: flow.U32(v), Mask: flow.U32(mask)}
	}
	do := func(list ...flow.Action) flow.Flow { return flow.Flow{Table: 5, Actions: list} }
	ip := func(list ...flow.Action) flow.Flow { return flow.Flow{Table: 5, Match: flow.IP, Actions: list} }
	translate := func(addr string, first, last uint16) flow.Flow {
		return ip(flow.CT{Commit: true, Table: 6, NAT: &flow.NAT{Kind: flow.NATSrc, Addr: netip.MustParseAddr(addr), FirstPort: first, LastPort: last}})
	}
	for want, f := range map[string]flow.Flow{
		"match on tcp_dst: the match does not say tcp":                           {Match: flow.On(tcp80)},
		"match on tcp_dst: the match does not say tcp ":                          {Match: flow.On(flow.UDP, tcp80)},
		"match on tcp_dst: the match does not say tcp  ":                         {Match: flow.On(flow.TCP, tcp80, flow.Eq(flow.IPFrag, flow.U32(3)))},
		"match on nd_sll: the match does not say icmp6 with icmp_type=135":       {Match: flow.On(flow.NDAdvert, flow.Eq(flow.NDSLL, flow.U32(1)))},
		"match on ip_src: the match does not say ip":                             {Match: flow.On(flow.ARP, flow.Eq(flow.IPSrc, flow.U32(1)))},
		"match on ip_dscp: value is wider than 6 bits":                           {Match: flow.On(flow.IP, flow.Eq(flow.IPDSCP, flow.U32(64)))},
		"match on reg0: value has bits outside its mask":                         {Match: flow.Match{{flow.Reg0, flow.U32(3), flow.U32(1)}}},
		"match on reg0: mask is wider than 32 bits":                              {Match: flow.On(flow.Masked(flow.Reg0, flow.U32(3), flow.U64(1<<32)))},
		"match on reg0: named twice":                                             {Match: flow.On(flow.Eq(flow.Reg0, flow.U32(1)), flow.Eq(flow.Reg0, flow.U32(2)))},
		"match on reg0: out of order, after reg1":                                {Match: flow.Match{flow.Eq(flow.Reg1, flow.U32(1)), flow.Eq(flow.Reg0, flow.U32(2))}},
		"match on xreg0: not canonical, use On":                                  {Match: flow.Match{flow.Eq(flow.XReg0, flow.U32(1))}},
		"match on eth_type: OVS matches all of its bits or none":                 {Match: flow.On(flow.Masked(flow.EthType, flow.U32(1), flow.U32(1)))},
		"match on vlan_tci: OpenFlow 1.5 has":                                    {Match: flow.On(flow.Eq(flow.VLANTCI, flow.U32(0)))},
		"table 254: the last is 253":                                             {Table: 254},
		"action goto_table:6: is not the last":                                   do(flow.Goto{Table: 6}, flow.Output{Port: 1}),
		"action goto_table:5: does not go forward from table 5":                  do(flow.Goto{Table: 5}),
		"action goto_table:255: does not go forward":                             do(flow.Goto{Table: 255}),
		"action resubmit(,5): from table 5":                                      do(flow.Resubmit{Table: 5}),
		"action meter:1: is not the first":                                       do(flow.Output{Port: 1}, flow.UseMeter{ID: 1}),
		"action meter:0: meters are 1 to":                                        do(flow.UseMeter{}),
		"action dec_ttl: the match does not say ip or ipv6":                      do(flow.DecTTL{}),
		"action set_field:0x1->eth_type: is read-only":                           do(set(flow.EthType, 1, 0)),
		"action set_field:1->in_port_oxm: is read-only":                          do(set(flow.InPort, 1, 0)),
		"action set_field:1->arp_op: the match does not say arp":                 do(set(flow.ARPOp, 1, 0)),
		"action set_field:0x3/0x1->reg0: value has bits outside its mask":        do(set(flow.Reg0, 3, 1)),
		"action output:0: no such port":                                          do(flow.Output{}),
		"action output:65280: no such port":                                      do(flow.Output{Port: 0xff00}),
		"action CONTROLLER:65535: use Controller":                                do(flow.Output{Port: flow.PortController}),
		"action CONTROLLER:5: without userdata":                                  do(flow.Controller{MaxLen: 5}),
		"action controller(max_len=0,userdata=01): hands over no byte":           do(flow.Controller{Userdata: []byte{1}}),
		"action move:NXM_NX_REG0[30..33]->NXM_NX_REG1[0..3]: bits outside":       do(flow.Move{Src: flow.Reg0, SrcBit: 30, Dst: flow.Reg1, Bits: 4}),
		"action move:NXM_NX_ARP_SHA[]->NXM_OF_ETH_DST[]: the match does not say": do(flow.Move{Src: flow.ARPSHA, Dst: flow.EthDst, Bits: 48}),
		"action check_pkt_larger(9)->NXM_NX_REG0[0]: is the last":                do(flow.CheckLarger{Len: 9, Dst: flow.Reg0}),
		"action check_pkt_larger(9)->NXM_NX_REG0[32]: bits outside":              do(flow.CheckLarger{Len: 9, Dst: flow.Reg0, Bit: 32}, flow.Output{Port: 1}),
		"action check_pkt_larger(9)->NXM_OF_ETH_DST[0]: not a 32-bit":            do(flow.CheckLarger{Len: 9, Dst: flow.EthDst}, flow.Output{Port: 1}),
		"action ct(): the match does not say ip or ipv6":                         do(flow.CT{}),
		"action ct(table=5): does not go forward from table 5":                   ip(flow.CT{Table: 5}),
		"action ct(table=254): does not go forward":                              ip(flow.CT{Table: 254}),
		"action ct(table=6): is not the last, and goes to a table":               ip(flow.CT{Table: 6}, flow.DecTTL{}),
		"action ct(nat): translates, but what follows":                           ip(flow.CT{NAT: &flow.NAT{}}),
		"action ct(commit,table=6,nat): commits what is not translated":          ip(flow.CT{Commit: true, Table: 6, NAT: &flow.NAT{}}),
		"action ct(table=6,nat): translates as before, and names":                ip(flow.CT{Table: 6, NAT: &flow.NAT{LastPort: 5}}),
		"action ct(table=6,nat(src=1.2.3.4)): translates what it does not":       ip(flow.CT{Table: 6, NAT: &flow.NAT{Kind: flow.NATSrc, Addr: netip.MustParseAddr("1.2.3.4")}}),
		"action ct(commit,table=6,nat(src=fd00::1)): the match does not say ip":  translate("fd00::1", 0, 0),
		"action ct(commit,table=6,nat(src=0.0.0.0)): translates to 0.0.0.0":      translate("0.0.0.0", 0, 0),
		"action ct(commit,table=6,nat(src=1.2.3.4:9-5)): ports 9 to 5":           translate("1.2.3.4", 9, 5),
		"action ct(commit,table=6,nat(src=1.2.3.4:0-5)): ports 0 to 5":           translate("1.2.3.4", 0, 5),
		"action ct(commit,table=6,nat(src=1.2.3.4)): ports 9 to 0":               translate("1.2.3.4", 9, 0),
	} {
		if err := f.Check(); err == nil || !strings.HasPrefix(err.Error(), strings.TrimSpace(want)) {
			t.Errorf("%s\ngot  %v\nwant %s", f, err, want)
		}
	}
}

// OVS would run these buckets in another order than written, or not at all.
func TestGroupCheckRefuses(t *testing.T) {
	set := flow.SetField{Field: flow.Reg0, Value: flow.U32(1)}
	out := flow.Output{Port: 1}
	for want, actions := range map[string][]flow.Action{
		"no output":                           {set},
		"no output: OVS skips such a bucket":  {},
		"action output:1: an action set":      {out, out},
		"action set_field:0x1->reg0: an":      {out, set},
		"action dec_ttl: an action set":       {set, flow.DecTTL{}, out},
		"action goto_table:9: an action set":  {flow.Goto{Table: 9}},
		"action ct(): an action set":          {flow.CT{}},
		"action output:NXM_NX_REG1[0..15]: a": {flow.OutputReg{Field: flow.Reg1}},
	} {
		err := flow.Group{ID: 1, Buckets: []flow.Bucket{{Actions: actions}}}.Check()
		if err == nil || !strings.HasPrefix(err.Error(), "group 1: bucket 0: "+want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
