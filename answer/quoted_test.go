package answer

import (
	"encoding/binary"
	"testing"
)

// quoting is an ICMP error about a packet of 1.22.3.7:1500 to 198.51.100.20:80.
func quoting(icmpType byte, proto byte, innerLen int) []byte {
	frame := make([]byte, 14+20+8+20+innerLen)
	binary.BigEndian.PutUint16(frame[12:], 0x0800)
	outer := frame[14:]
	outer[0], outer[9] = 0x45, 1
	outer[20] = icmpType
	inner := outer[28:]
	inner[0], inner[9] = 0x45, proto
	copy(inner[12:], []byte{1, 22, 3, 7, 198, 51, 100, 20})
	if innerLen >= 4 {
		binary.BigEndian.PutUint16(inner[20:], 1500)
		binary.BigEndian.PutUint16(inner[22:], 80)
	}
	return frame
}

func TestQuoted(t *testing.T) {
	for _, tt := range []struct {
		name  string
		frame []byte
		want  string
	}{
		{"TCP", quoting(3, 6, 20), "tcp 1.22.3.7:1500"},
		{"UDP, its TTL used up", quoting(11, 17, 8), "udp 1.22.3.7:1500"},
		{"TCP cut to 8 bytes", quoting(3, 6, 8), ""},
		{"UDP cut short", quoting(3, 17, 7), ""},
		{"another protocol", quoting(3, 47, 20), ""},
		{"an echo", quoting(8, 6, 20), ""},
		{"nothing", nil, ""},
	} {
		protocol, got, ok := Quoted(tt.frame)
		if ok != (tt.want != "") || ok && protocol+" "+got.String() != tt.want {
			t.Errorf("%s: got %s %v, %v", tt.name, protocol, got, ok)
		}
	}
	later := quoting(3, 6, 20)
	later[14+28+7] = 1 // the quoted packet is a later fragment, without ports
	if _, got, ok := Quoted(later); ok {
		t.Errorf("took the ports of a later fragment: %v", got)
	}
}

func FuzzQuoted(f *testing.F) {
	f.Add(quoting(3, 6, 20))
	f.Add(quoting(11, 17, 8))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, frame []byte) {
		if _, sender, ok := Quoted(frame); ok && !sender.IsValid() {
			t.Errorf("%x: ok without a sender", frame)
		}
	})
}
