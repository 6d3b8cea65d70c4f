package sim

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/overlane/overlane/dataplane/flow"
)

// took says which flow took the packet: "admit: priority=100,in_port=3 (Endpoint blue/web/db1): goto_table:answer".
func (s *Switch) took(f flow.Flow) string {
	_, text, _ := strings.Cut(s.config.Symbols.Flow(f), ",")
	match, actions, _ := strings.Cut(text, " actions=")
	owner := ""
	if f.Owner != "" {
		owner = " (" + f.Owner + ")"
	}
	return fmt.Sprintf("%s: %s%s: %s", s.table(f.Table), match, owner, actions)
}

// ended is why a packet is lost whose last flow this was, unless something else is found.
func (s *Switch) ended(f flow.Flow) string {
	what := "the flow"
	if f.Owner != "" {
		what = "the flow of " + f.Owner
	}
	switch {
	case len(f.Match) == 0 && len(f.Actions) == 0:
		return "nothing else takes it"
	case len(f.Actions) == 0:
		return what + " drops it"
	}
	return what + " sends it nowhere"
}

// String is ", tunnel vni 100 from 192.168.5.2 to 192.168.5.3", and empty for no tunnel.
func (t Tunnel) String() string {
	if t == (Tunnel{}) {
		return ""
	}
	text := ", tunnel vni " + strconv.FormatUint(t.ID, 10)
	if t.Src.IsValid() {
		text += " from " + t.Src.String()
	}
	if t.Dst.IsValid() {
		text += " to " + t.Dst.String()
	}
	return text
}

// describe is the packet in a line: "icmp 10.0.0.1 > 10.0.0.2 ttl 64 type 8 code 0, 02:00:00:00:00:01 >
// 02:00:00:00:00:02".
func (s *state) describe() string {
	return fmt.Sprintf("%s, %s > %s", s.describeNetwork(), mac(s.frame[6:]), mac(s.frame))
}

func (s *state) describeNetwork() string {
	h := s.at
	switch {
	case h.arp >= 0:
		return s.describeARP()
	case h.ip4 >= 0:
		return fmt.Sprintf("%s %s > %s ttl %d%s", protocolName(h.proto), addr4(s.frame[h.ip4+12:]), addr4(s.frame[h.ip4+16:]), s.frame[h.ip4+8], s.describeTransport())
	case h.ip6 >= 0:
		return fmt.Sprintf("%s %s > %s ttl %d%s", protocolName(h.proto), addr6(s.frame[h.ip6+8:]), addr6(s.frame[h.ip6+24:]), s.frame[h.ip6+7], s.describeTransport())
	}
	return fmt.Sprintf("ethertype %#04x", h.etherType)
}

func (s *state) describeARP() string {
	b := s.frame[s.at.arp:]
	sender, target := addr4(b[14:]), addr4(b[24:])
	switch op := binary.BigEndian.Uint16(b[6:]); op {
	case 1:
		return fmt.Sprintf("arp who-has %s tell %s", target, sender)
	case 2:
		return fmt.Sprintf("arp %s is-at %s, to %s", sender, mac(b[8:]), target)
	default:
		return fmt.Sprintf("arp op %d from %s to %s", op, sender, target)
	}
}

func (s *state) describeTransport() string {
	h := s.at
	switch {
	case h.frag&2 != 0:
		return " later fragment"
	case h.l4 < 0:
		return ""
	case h.ndTarget >= 0:
		return fmt.Sprintf(" type %d code %d target %s", s.frame[h.l4], s.frame[h.l4+1], addr6(s.frame[h.ndTarget:]))
	case h.proto == protoICMP || h.proto == protoICMPv6:
		return fmt.Sprintf(" type %d code %d", s.frame[h.l4], s.frame[h.l4+1])
	}
	return fmt.Sprintf(" port %d > %d", binary.BigEndian.Uint16(s.frame[h.l4:]), binary.BigEndian.Uint16(s.frame[h.l4+2:]))
}

func protocolName(p uint8) string {
	if name, ok := map[uint8]string{protoICMP: "icmp", protoTCP: "tcp", protoUDP: "udp", protoICMPv6: "icmp6"}[p]; ok {
		return name
	}
	return "ip proto " + strconv.Itoa(int(p))
}

func mac(b []byte) string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3], b[4], b[5])
}

func addr4(b []byte) netip.Addr { return netip.AddrFrom4([4]byte(b[:4])) }
func addr6(b []byte) netip.Addr { return netip.AddrFrom16([16]byte(b[:16])) }
