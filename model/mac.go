package model

import (
	"fmt"
	"net"
)

// MAC is an Ethernet address: comparable, and text in JSON ("02:4f:ac:11:2a:02").
type MAC [6]byte

// ParseMAC reads the forms that [net.ParseMAC] reads, of 48 bits.
func ParseMAC(text string) (MAC, error) {
	hw, err := net.ParseMAC(text)
	if err != nil {
		return MAC{}, fmt.Errorf("parse MAC %q: want six bytes in hex, like 02:4f:0a:00:00:02", text)
	}
	if len(hw) != len(MAC{}) {
		return MAC{}, fmt.Errorf("parse MAC %q: has %d bytes, want 6", text, len(hw))
	}
	return MAC(hw), nil
}

func (m MAC) String() string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

// MarshalText is [MAC.String]; the zero MAC is empty.
func (m MAC) MarshalText() ([]byte, error) {
	if m == (MAC{}) {
		return nil, nil
	}
	return []byte(m.String()), nil
}

// UnmarshalText is [ParseMAC]; empty text is the zero MAC.
func (m *MAC) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*m = MAC{}
		return nil
	}
	parsed, err := ParseMAC(string(text))
	if err != nil {
		return err
	}
	*m = parsed
	return nil
}

// Multicast reports whether the address is a group address; broadcast is one (IEEE 802-2014 section 8.2.2, the I/G
// bit).
func (m MAC) Multicast() bool { return m[0]&1 == 1 }

// GatewayMAC answers for the gateway address of every subnet on every host (an anycast gateway).
var GatewayMAC = MAC{0x02, 0x4f, 0x56, 0x00, 0x00, 0x01}

// KernelMAC is the MAC of the host kernel's end of the SNAT port.
var KernelMAC = MAC{0x02, 0x4f, 0x56, 0x00, 0x00, 0x04}
