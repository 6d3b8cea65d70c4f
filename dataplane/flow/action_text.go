package flow

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// MaxLenAll asks for the whole packet in [Controller].
const MaxLenAll uint16 = 0xffff

func (a SetField) String() string {
	b := append(make([]byte, 0, 64), "set_field:"...)
	b = appendMasked(b, a.Field, a.Value, a.mask())
	return string(append(append(b, "->"...), a.Field.Name...))
}

func (a SetField) mask() Value {
	if a.Mask.IsZero() {
		return a.Field.Exact()
	}
	return a.Mask
}

func (a Move) String() string {
	return "move:" + bitRange(a.Src, a.SrcBit, a.Bits) + "->" + bitRange(a.Dst, a.DstBit, a.Bits)
}

func (a Output) String() string {
	switch {
	case a.Port == PortController:
		return "CONTROLLER:65535"
	case portNames[a.Port] != "":
		return portNames[a.Port]
	}
	return "output:" + portName(a.Port)
}

func (a OutputReg) String() string {
	return "output:" + bitRange(a.Field, 0, 16)
}

func (a ToGroup) String() string  { return "group:" + strconv.FormatUint(uint64(a.ID), 10) }
func (a Goto) String() string     { return "goto_table:" + strconv.Itoa(int(a.Table)) }
func (a Resubmit) String() string { return "resubmit(," + strconv.Itoa(int(a.Table)) + ")" }
func (a UseMeter) String() string { return "meter:" + strconv.FormatUint(uint64(a.ID), 10) }
func (a DecTTL) String() string   { return "dec_ttl" }

func (a CheckLarger) String() string {
	return fmt.Sprintf("check_pkt_larger(%d)->%s", a.Len, bitRange(a.Dst, a.Bit, 1))
}

// String leaves out a MaxLen of 65535, as ovs-ofctl does.
func (a Controller) String() string {
	if len(a.Userdata) == 0 {
		return "CONTROLLER:" + strconv.Itoa(int(a.MaxLen))
	}
	var args []string
	if a.MaxLen != MaxLenAll {
		args = append(args, "max_len="+strconv.Itoa(int(a.MaxLen)))
	}
	return "controller(" + strings.Join(append(args, "userdata="+dotted(a.Userdata)), ",") + ")"
}

func (a CT) String() string    { return a.text(nil) }
func (CTClear) String() string { return "ct_clear" }

// text is in the order of ovs-ofctl: "ct(commit,table=nat,zone=5,nat(src=1.2.3.4:1024-2047))".
func (a CT) text(n TableNames) string {
	var args []string
	if a.Commit {
		args = append(args, "commit")
	}
	if a.Table != 0 {
		args = append(args, "table="+n.table(a.Table))
	}
	if a.Zone != 0 {
		args = append(args, "zone="+strconv.Itoa(int(a.Zone)))
	}
	if a.NAT != nil {
		args = append(args, a.NAT.String())
	}
	return "ct(" + strings.Join(args, ",") + ")"
}

var natNames = map[NATKind]string{NATSrc: "src", NATDst: "dst"}

// String is "nat(src=1.2.3.4:1024-2047)", and "nat" of the zero value.
func (n NAT) String() string {
	if n.Kind == NATKnown {
		return "nat"
	}
	return "nat(" + natNames[n.Kind] + "=" + n.target() + ")"
}

// target is "1.2.3.4", "1.2.3.4:80", "[fd00::1]:1024-2047".
func (n NAT) target() string {
	addr := n.Addr.String()
	if n.Addr.Is6() {
		addr = string(appendIPv6(nil, Addr(n.Addr)))
	}
	if n.LastPort == 0 {
		return addr
	}
	if n.Addr.Is6() {
		addr = "[" + addr + "]"
	}
	addr += ":" + strconv.Itoa(int(n.FirstPort))
	if n.LastPort == n.FirstPort {
		return addr
	}
	return addr + "-" + strconv.Itoa(int(n.LastPort))
}

func dotted(b []byte) string {
	parts := make([]string, len(b))
	for i, c := range b {
		parts[i] = hex.EncodeToString([]byte{c})
	}
	return strings.Join(parts, ".")
}

// bitRange is some bits of a field: "NXM_NX_REG3[0..15]", "NXM_NX_REG3[4]", and "NXM_NX_REG3[]" for all of it.
func bitRange(f *Field, first, n int) string {
	switch {
	case first == 0 && n == f.Bits:
		return f.NXM + "[]"
	case n == 1:
		return fmt.Sprintf("%s[%d]", f.NXM, first)
	}
	return fmt.Sprintf("%s[%d..%d]", f.NXM, first, first+n-1)
}

var groupTypes = map[GroupType]string{GroupAll: "all", GroupSelect: "select", GroupIndirect: "indirect", GroupFastFailover: "ff"}

// String is the group as ovs-ofctl reads it: "group_id=5,type=all,bucket=bucket_id:0,actions=output:3".
func (g Group) String() string { return TableNames(nil).Group(g) }

// Group is [Group.String] with tables named.
func (n TableNames) Group(g Group) string {
	var b strings.Builder
	fmt.Fprintf(&b, "group_id=%d,type=%s", g.ID, groupTypes[g.Type])
	for i, bucket := range g.Buckets {
		fmt.Fprintf(&b, ",bucket=bucket_id:%d,", i)
		if g.Type == GroupSelect && bucket.Weight != 1 {
			fmt.Fprintf(&b, "weight:%d,", bucket.Weight)
		}
		if bucket.WatchPort != 0 {
			fmt.Fprintf(&b, "watch_port:%s,", portName(bucket.WatchPort))
		}
		b.WriteString("actions=" + n.Actions(bucket.Actions))
	}
	return b.String()
}

// String is the meter as "ovs-ofctl add-meter" reads it.
func (m Meter) String() string {
	return fmt.Sprintf("meter=%d,pktps,burst,band=type=drop,rate=%d,burst_size=%d", m.ID, m.Rate, m.Burst)
}
