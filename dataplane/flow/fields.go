package flow

// OXM classes that OVS takes in OpenFlow 1.5 (ovs-fields(7)). Most header fields have an OpenFlow basic number;
// registers, tunnel addresses, connection tracking and a few oddities only have a Nicira one.
const (
	nxm0    uint16 = 0x0000
	nxm1    uint16 = 0x0001
	basic   uint16 = 0x8000
	pktRegs uint16 = 0x8001
)

// How a field may be used.
const (
	maskable = 1 << iota
	writable
)

// The fields, in the order in which ovs-ofctl writes a match (lib/match.c, match_format).
//
// InPort and InPort16 are one thing in two widths: match on InPort; write InPort16, whose width is that of a register's
// lower half (OVS 3.1 refuses set_field on the wide one). CTMark and CTLabel are written inside a ct action only, where
// we do not write them. VLANVID and VLANPCP are how a switch reports VLANTCI in OpenFlow 1.5; [On] joins them. XReg0 is
// Reg0 and Reg1, XXReg0 is Reg0 to Reg3, the first being the most significant: move and set_field take them, and [On]
// splits them into 32-bit registers, which is how a switch reports them.
var (
	PktMark    = field("pkt_mark", "pkt_mark", "NXM_NX_PKT_MARK", nxm1, 33, 32, Hex, NeedNothing, maskable|writable)
	CTState    = field("ct_state", "ct_state", "NXM_NX_CT_STATE", nxm1, 105, 32, Flags, NeedNothing, maskable)
	CTZone     = field("ct_zone", "ct_zone", "NXM_NX_CT_ZONE", nxm1, 106, 16, Decimal, NeedNothing, 0)
	CTMark     = field("ct_mark", "ct_mark", "NXM_NX_CT_MARK", nxm1, 107, 32, Hex, NeedNothing, maskable)
	CTLabel    = field("ct_label", "ct_label", "NXM_NX_CT_LABEL", nxm1, 108, 128, Hex, NeedNothing, maskable)
	Reg0       = field("reg0", "reg0", "NXM_NX_REG0", nxm1, 0, 32, Hex, NeedNothing, maskable|writable)
	Reg1       = field("reg1", "reg1", "NXM_NX_REG1", nxm1, 1, 32, Hex, NeedNothing, maskable|writable)
	Reg2       = field("reg2", "reg2", "NXM_NX_REG2", nxm1, 2, 32, Hex, NeedNothing, maskable|writable)
	Reg3       = field("reg3", "reg3", "NXM_NX_REG3", nxm1, 3, 32, Hex, NeedNothing, maskable|writable)
	Reg4       = field("reg4", "reg4", "NXM_NX_REG4", nxm1, 4, 32, Hex, NeedNothing, maskable|writable)
	Reg5       = field("reg5", "reg5", "NXM_NX_REG5", nxm1, 5, 32, Hex, NeedNothing, maskable|writable)
	Reg6       = field("reg6", "reg6", "NXM_NX_REG6", nxm1, 6, 32, Hex, NeedNothing, maskable|writable)
	Reg7       = field("reg7", "reg7", "NXM_NX_REG7", nxm1, 7, 32, Hex, NeedNothing, maskable|writable)
	Reg8       = field("reg8", "reg8", "NXM_NX_REG8", nxm1, 8, 32, Hex, NeedNothing, maskable|writable)
	Reg9       = field("reg9", "reg9", "NXM_NX_REG9", nxm1, 9, 32, Hex, NeedNothing, maskable|writable)
	Reg10      = field("reg10", "reg10", "NXM_NX_REG10", nxm1, 10, 32, Hex, NeedNothing, maskable|writable)
	Reg11      = field("reg11", "reg11", "NXM_NX_REG11", nxm1, 11, 32, Hex, NeedNothing, maskable|writable)
	Reg12      = field("reg12", "reg12", "NXM_NX_REG12", nxm1, 12, 32, Hex, NeedNothing, maskable|writable)
	Reg13      = field("reg13", "reg13", "NXM_NX_REG13", nxm1, 13, 32, Hex, NeedNothing, maskable|writable)
	Reg14      = field("reg14", "reg14", "NXM_NX_REG14", nxm1, 14, 32, Hex, NeedNothing, maskable|writable)
	Reg15      = field("reg15", "reg15", "NXM_NX_REG15", nxm1, 15, 32, Hex, NeedNothing, maskable|writable)
	XReg0      = field("xreg0", "xreg0", "OXM_OF_PKT_REG0", pktRegs, 0, 64, Hex, NeedNothing, maskable|writable)
	XReg1      = field("xreg1", "xreg1", "OXM_OF_PKT_REG1", pktRegs, 1, 64, Hex, NeedNothing, maskable|writable)
	XReg2      = field("xreg2", "xreg2", "OXM_OF_PKT_REG2", pktRegs, 2, 64, Hex, NeedNothing, maskable|writable)
	XReg3      = field("xreg3", "xreg3", "OXM_OF_PKT_REG3", pktRegs, 3, 64, Hex, NeedNothing, maskable|writable)
	XReg4      = field("xreg4", "xreg4", "OXM_OF_PKT_REG4", pktRegs, 4, 64, Hex, NeedNothing, maskable|writable)
	XReg5      = field("xreg5", "xreg5", "OXM_OF_PKT_REG5", pktRegs, 5, 64, Hex, NeedNothing, maskable|writable)
	XReg6      = field("xreg6", "xreg6", "OXM_OF_PKT_REG6", pktRegs, 6, 64, Hex, NeedNothing, maskable|writable)
	XReg7      = field("xreg7", "xreg7", "OXM_OF_PKT_REG7", pktRegs, 7, 64, Hex, NeedNothing, maskable|writable)
	XXReg0     = field("xxreg0", "xxreg0", "NXM_NX_XXREG0", nxm1, 111, 128, Hex, NeedNothing, maskable|writable)
	XXReg1     = field("xxreg1", "xxreg1", "NXM_NX_XXREG1", nxm1, 112, 128, Hex, NeedNothing, maskable|writable)
	XXReg2     = field("xxreg2", "xxreg2", "NXM_NX_XXREG2", nxm1, 113, 128, Hex, NeedNothing, maskable|writable)
	XXReg3     = field("xxreg3", "xxreg3", "NXM_NX_XXREG3", nxm1, 114, 128, Hex, NeedNothing, maskable|writable)
	TunID      = field("tun_id", "tun_id", "NXM_NX_TUN_ID", basic, 38, 64, Hex, NeedNothing, maskable|writable)
	TunSrc     = field("tun_src", "tun_src", "NXM_NX_TUN_IPV4_SRC", nxm1, 31, 32, IPv4, NeedNothing, maskable|writable)
	TunDst     = field("tun_dst", "tun_dst", "NXM_NX_TUN_IPV4_DST", nxm1, 32, 32, IPv4, NeedNothing, maskable|writable)
	TunIPv6Src = field("tun_ipv6_src", "tun_ipv6_src", "NXM_NX_TUN_IPV6_SRC", nxm1, 109, 128, IPv6, NeedNothing, maskable|writable)
	TunIPv6Dst = field("tun_ipv6_dst", "tun_ipv6_dst", "NXM_NX_TUN_IPV6_DST", nxm1, 110, 128, IPv6, NeedNothing, maskable|writable)
	Metadata   = field("metadata", "metadata", "OXM_OF_METADATA", basic, 2, 64, Hex, NeedNothing, maskable|writable)
	InPort     = field("in_port_oxm", "in_port", "OXM_OF_IN_PORT", basic, 0, 32, Port, NeedNothing, 0)
	InPort16   = field("in_port", "in_port", "NXM_OF_IN_PORT", nxm0, 0, 16, Port, NeedNothing, writable)
	VLANTCI    = field("vlan_tci", "vlan_tci", "NXM_OF_VLAN_TCI", nxm0, 4, 16, VLAN, NeedNothing, maskable|writable)
	VLANVID    = field("vlan_vid", "vlan_vid", "OXM_OF_VLAN_VID", basic, 6, 13, Hex, NeedNothing, maskable)
	VLANPCP    = field("vlan_pcp", "vlan_pcp", "OXM_OF_VLAN_PCP", basic, 7, 3, Decimal, NeedNothing, 0)
	EthSrc     = field("eth_src", "dl_src", "NXM_OF_ETH_SRC", basic, 4, 48, Ethernet, NeedNothing, maskable|writable)
	EthDst     = field("eth_dst", "dl_dst", "NXM_OF_ETH_DST", basic, 3, 48, Ethernet, NeedNothing, maskable|writable)
	EthType    = field("eth_type", "dl_type", "NXM_OF_ETH_TYPE", basic, 5, 16, Hex, NeedNothing, 0)
	IPSrc      = field("ip_src", "nw_src", "NXM_OF_IP_SRC", basic, 11, 32, IPv4, NeedIPv4, maskable|writable)
	IPDst      = field("ip_dst", "nw_dst", "NXM_OF_IP_DST", basic, 12, 32, IPv4, NeedIPv4, maskable|writable)
	IPv6Src    = field("ipv6_src", "ipv6_src", "NXM_NX_IPV6_SRC", basic, 26, 128, IPv6, NeedIPv6, maskable|writable)
	IPv6Dst    = field("ipv6_dst", "ipv6_dst", "NXM_NX_IPV6_DST", basic, 27, 128, IPv6, NeedIPv6, maskable|writable)
	IPv6Label  = field("ipv6_label", "ipv6_label", "NXM_NX_IPV6_LABEL", basic, 28, 20, Hex, NeedIPv6, maskable|writable)
	ARPSPA     = field("arp_spa", "arp_spa", "NXM_OF_ARP_SPA", basic, 22, 32, IPv4, NeedARP, maskable|writable)
	ARPTPA     = field("arp_tpa", "arp_tpa", "NXM_OF_ARP_TPA", basic, 23, 32, IPv4, NeedARP, maskable|writable)
	IPProto    = field("nw_proto", "nw_proto", "NXM_OF_IP_PROTO", basic, 10, 8, Decimal, NeedIP, 0)
	ARPOp      = field("arp_op", "arp_op", "NXM_OF_ARP_OP", basic, 21, 16, Decimal, NeedARP, writable)
	ARPSHA     = field("arp_sha", "arp_sha", "NXM_NX_ARP_SHA", basic, 24, 48, Ethernet, NeedARP, maskable|writable)
	ARPTHA     = field("arp_tha", "arp_tha", "NXM_NX_ARP_THA", basic, 25, 48, Ethernet, NeedARP, maskable|writable)
	IPDSCP     = field("ip_dscp", "nw_tos", "OXM_OF_IP_DSCP", basic, 8, 6, TOS, NeedIP, writable)
	IPECN      = field("nw_ecn", "nw_ecn", "NXM_NX_IP_ECN", basic, 9, 2, Decimal, NeedIP, writable)
	IPTTL      = field("nw_ttl", "nw_ttl", "NXM_NX_IP_TTL", nxm1, 29, 8, Decimal, NeedIP, writable)
	IPFrag     = field("ip_frag", "nw_frag", "NXM_NX_IP_FRAG", nxm1, 26, 2, Frag, NeedIP, maskable)
	ICMPType   = field("icmp_type", "icmp_type", "NXM_OF_ICMP_TYPE", basic, 19, 8, Decimal, NeedICMP, writable)
	ICMPCode   = field("icmp_code", "icmp_code", "NXM_OF_ICMP_CODE", basic, 20, 8, Decimal, NeedICMP, writable)
	ICMPv6Type = field("icmpv6_type", "icmp_type", "NXM_NX_ICMPV6_TYPE", basic, 29, 8, Decimal, NeedICMPv6, writable)
	ICMPv6Code = field("icmpv6_code", "icmp_code", "NXM_NX_ICMPV6_CODE", basic, 30, 8, Decimal, NeedICMPv6, writable)
	NDTarget   = field("nd_target", "nd_target", "NXM_NX_ND_TARGET", basic, 31, 128, IPv6, NeedND, maskable|writable)
	NDSLL      = field("nd_sll", "nd_sll", "NXM_NX_ND_SLL", basic, 32, 48, Ethernet, NeedNDSolicit, maskable|writable)
	NDTLL      = field("nd_tll", "nd_tll", "NXM_NX_ND_TLL", basic, 33, 48, Ethernet, NeedNDAdvert, maskable|writable)
	TCPSrc     = field("tcp_src", "tp_src", "NXM_OF_TCP_SRC", basic, 13, 16, Decimal, NeedTCP, maskable|writable)
	TCPDst     = field("tcp_dst", "tp_dst", "NXM_OF_TCP_DST", basic, 14, 16, Decimal, NeedTCP, maskable|writable)
	UDPSrc     = field("udp_src", "tp_src", "NXM_OF_UDP_SRC", basic, 15, 16, Decimal, NeedUDP, maskable|writable)
	UDPDst     = field("udp_dst", "tp_dst", "NXM_OF_UDP_DST", basic, 16, 16, Decimal, NeedUDP, maskable|writable)
	TCPFlags   = field("tcp_flags", "tcp_flags", "NXM_NX_TCP_FLAGS", basic, 42, 12, Flags, NeedTCP, maskable)
)

// Fields is every field, in canonical order.
var Fields = []*Field{
	PktMark, CTState, CTZone, CTMark, CTLabel, Reg0, Reg1, Reg2, Reg3, Reg4, Reg5, Reg6, Reg7, Reg8, Reg9, Reg10,
	Reg11, Reg12, Reg13, Reg14, Reg15, XReg0, XReg1, XReg2, XReg3, XReg4, XReg5, XReg6, XReg7, XXReg0, XXReg1,
	XXReg2, XXReg3, TunID, TunSrc, TunDst, TunIPv6Src, TunIPv6Dst, Metadata, InPort, InPort16, VLANTCI, VLANVID, VLANPCP, EthSrc,
	EthDst, EthType, IPSrc, IPDst, IPv6Src, IPv6Dst, IPv6Label, ARPSPA, ARPTPA, IPProto, ARPOp, ARPSHA, ARPTHA,
	IPDSCP, IPECN, IPTTL, IPFrag, ICMPType, ICMPCode, ICMPv6Type, ICMPv6Code, NDTarget, NDSLL, NDTLL, TCPSrc,
	TCPDst, UDPSrc, UDPDst, TCPFlags,
}

// Registers is reg0 to reg15 by number.
var Registers = [16]*Field{
	Reg0, Reg1, Reg2, Reg3, Reg4, Reg5, Reg6, Reg7, Reg8, Reg9, Reg10, Reg11, Reg12, Reg13, Reg14, Reg15,
}

var fieldsByName = map[string]*Field{}

func init() {
	for i, f := range Fields {
		f.order = i
		fieldsByName[f.Name] = f
		fieldsByName[f.NXM] = f
		fieldsByHeader[f.header(false)&^0x1ff] = f
	}
}

// FieldByName finds a field by its name ("ip_src") or its NXM name ("NXM_OF_IP_SRC").
func FieldByName(name string) (*Field, bool) {
	f, ok := fieldsByName[name]
	return f, ok
}

func field(name, short, nxm string, class uint16, id uint8, bits int, form Form, needs Need, use int) *Field {
	return &Field{
		Name: name, Class: class, ID: id, Bits: bits, Form: form, Short: short, NXM: nxm, Needs: needs,
		Maskable: use&maskable != 0, Writable: use&writable != 0,
	}
}
