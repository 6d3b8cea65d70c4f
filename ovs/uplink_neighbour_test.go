package ovs

import (
	"net"
	"net/netip"
	"testing"
)

// Whatever comes off the wire, a reply has an address; and our own question is none.
func FuzzARPReply(f *testing.F) {
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 1}
	question := arpRequest(mac, netip.MustParseAddr("192.168.5.2"), netip.MustParseAddr("192.168.5.3"))
	answer := append([]byte(nil), question...)
	answer[21] = arpOpReply
	f.Add(question)
	f.Add(answer)
	f.Add(answer[:41])
	f.Fuzz(func(t *testing.T, frame []byte) {
		from, ok := arpReply(frame)
		if ok != from.IsValid() || ok && (len(frame) < 42 || frame[21] != arpOpReply) {
			t.Errorf("%x: %v %t", frame, from, ok)
		}
	})
	if from, ok := arpReply(answer); !ok || from.String() != "192.168.5.2" {
		f.Errorf("answer: %v %t", from, ok)
	}
}
