// Package capture takes packets off the wire, or out of a file, and decodes the nesting of Ethernet in VXLAN in UDP in
// IP in Ethernet with the names of intent beside the addresses. It reads packets and never sends or changes one, and
// its output is safe for a terminal, whatever content the packets have.
package capture

import "time"

// DefaultPort is VXLAN's UDP port (RFC 7348 section 5).
const DefaultPort uint16 = 4789

// Packet is one frame as it was captured.
type Packet struct {
	Time      time.Time
	Interface string
	Data      []byte   // from the Ethernet header on
	Length    int      // on the wire, at least len(Data)
	Comments  []string // from a pcapng file
}
