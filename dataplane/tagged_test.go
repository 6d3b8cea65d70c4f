package dataplane_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/overlane/overlane/dataplane/flow/sim"
)

// Endpoints get no frames with a VLAN tag from each other, nor from outside.
func TestNothingTaggedComesFromUpstream(t *testing.T) {
	n := newNetwork(t, []byte(handedOn+"{kind: PublicIP, name: blue/p, spec: {address: 1.22.3.5, endpoint: blue/web/a}}"))
	at, packet := n.packet(t, strings.Fields("g1<upstream tcp 1.22.3.5 from 198.51.100.10 to-mac 02:4e:cb:00:71:0b ports 4000-443"))
	if story := n.hosts[at].sim.Send(packet).String(); !strings.Contains(story, "sent to port 1") {
		t.Fatalf("not even without a tag:\n%s", story)
	}
	packet.Frame = slices.Insert(packet.Frame, 12, 0x81, 0, 0, 7)
	result := n.hosts[at].sim.Send(sim.Packet{InPort: packet.InPort, Frame: packet.Frame})
	if story := result.String(); len(result.Outputs) > 0 || !strings.Contains(story, "protocol") {
		t.Errorf("a frame with a tag:\n%s", story)
	}
}
