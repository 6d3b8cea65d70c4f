package flow_test

import (
	"testing"

	"github.com/overlane/overlane/dataplane/flow"
)

// What the parser takes is what the printer writes, however it was written.
func FuzzParseFlow(f *testing.F) {
	for _, s := range []string{
		"table=0,priority=0 actions=drop",
		"table=3,priority=100,arp,in_port=3,arp_spa=10.0.0.1,arp_tpa=10.0.0.0/24,arp_op=1,arp_sha=02:00:00:00:00:01 actions=goto_table:4",
		"table=0,priority=0,tcp,nw_src=10.0.0.0/255.0.0.255,nw_frag=no,tp_dst=0x50/0xfff0,tcp_flags=+syn-ack actions=dec_ttl,output:4",
		"table=0,priority=0,ct_state=+new-trk,ct_label=0x10000000000000000/0xf0000000000000000,tcp6 actions=resubmit(,7)",
		"table=0,priority=0,dl_vlan=100,dl_vlan_pcp=7,dl_type=0x88cc actions=IN_PORT",
		"table=0,priority=0,icmp6,nw_tos=4,icmp_type=135,icmp_code=0,nd_target=fe80::1,nd_sll=00:00:00:00:00:01 actions=move:NXM_NX_ND_TARGET[]->NXM_NX_IPV6_SRC[]",
		"table=0,priority=0,ip,xxreg0=0x1 actions=meter:5,set_field:0x5/0xff->reg3,set_field:LOCAL->in_port,controller(max_len=128,userdata=01.ab)",
		"table=0,priority=0 actions=move:NXM_NX_REG0[4]->NXM_NX_REG1[31],output:NXM_NX_REG1[0..15],group:9",
		"table=0,priority=0,ct_state=+new-trk,ct_zone=7,ip actions=ct_clear,ct(),ct(commit,zone=5),ct(commit,table=12,zone=5,nat(src=1.2.3.4:1024-2047))",
		"table=0,priority=0,ipv6 actions=ct(commit,table=1,nat(dst=[fd00::1]:80))",
		"table=0,priority=0,ip actions=ct(table=9,zone=5,nat)",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		once, err := flow.ParseFlow(s)
		if err != nil {
			return
		}
		twice, err := flow.ParseFlow(once.String())
		if err != nil {
			t.Fatalf("read %q, wrote %q, and that: %v", s, once, err)
		}
		if once.String() != twice.String() || once.Key() != twice.Key() || once.Hash() != twice.Hash() {
			t.Fatalf("read %q as %s, then as %s", s, once, twice)
		}
		if key := once.Key().Flow().Key(); key != once.Key() {
			t.Fatalf("key of %s became %s", once, key)
		}
	})
}

func FuzzParseGroup(f *testing.F) {
	for _, s := range []string{
		"group_id=5,type=all",
		"group_id=5,type=all,bucket=bucket_id:0,actions=set_field:0x64->tun_id,set_field:1.2.3.4->tun_dst,output:5,bucket=actions=IN_PORT",
		"group_id=6,type=select,bucket=bucket_id:0,weight:5,watch_port:2,actions=dec_ttl,resubmit(,5)",
		"group_id=7,type=ff,bucket=watch_port:2,actions=group:5",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		once, err := flow.ParseGroup(s)
		if err != nil {
			return
		}
		twice, err := flow.ParseGroup(once.String())
		if err != nil || once.String() != twice.String() {
			t.Fatalf("read %q as %s, then as %s: %v", s, once, twice, err)
		}
	})
}
