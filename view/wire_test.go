package view_test

import (
	"encoding/json"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/view"
)

// deltaFile is a delta with every field, as 0.1.0 writes it to the wire and to the disk. It must not change.
const deltaFile = "testdata/delta-0.1.0.json"

func everything() view.Delta {
	key := view.AddressKey{VNI: 100, IP: ip("10.0.1.2")}
	return view.Delta{
		Revision: 7, Complete: true, VTEP: ip("192.168.5.2"),
		Segments: []view.Segment{{VNI: 100, VPC: 900, Subnet: "blue/web", CIDR: prefix("10.0.1.0/24"),
			Gateway: ip("10.0.1.1"), MTU: 1450,
			DHCP: &model.DHCP{Dynamic: true}, Members: []string{"host1", "host2"}}},
		Peers: []view.Peer{{Host: "host2", VTEP: ip("192.168.5.3"), BFD: true}},
		Addresses: []view.Address{{AddressKey: key, MAC: model.MAC{2, 0, 0, 0, 0, 1}, Endpoint: "blue/web/a",
			Host: "host1", Ephemeral: true,
			Attachment: &model.Attachment{Container: "c", Netns: "/run/netns/a", Interface: "eth0",
				Via: "blue/web/b"}}},
		Gateways: []view.Gateway{{VPC: 900, Name: "blue", MTU: 1450, Design: model.Central, SNAT: true,
			Allow: prefixes("10.9.0.0/16"), BorderHosts: []string{"edge1"}}},
		Publics: []view.Public{{Address: ip("1.22.3.5"), NATIP: ip("10.200.0.5"), Name: "blue/p", VPC: 900,
			Endpoint: key, Host: "host1"}},
		Forwards: []view.Forward{{ForwardKey: view.ForwardKey{Address: ip("1.22.3.6"), Protocol: "tcp", Port: 443},
			Name: "blue/f", VPC: 900, Endpoint: key, TargetPort: 8443, Host: "host1"}},
		Blocks: []view.Block{{BlockKey: view.BlockKey{Address: ip("1.22.3.7"), First: 1024}, Last: 2047,
			Name: "blue/host1", VPC: 900, Host: "host1"}},
		NextHops: []view.NextHop{{Host: "edge1", Address: prefix("203.0.113.11/24"), Router: ip("203.0.113.1"),
			FailoverOrder: []string{"edge1", "edge2"}, Interface: "eth1", Drain: true}},
		Hosts: []view.HostAddresses{{Host: "host1", VTEP: ip("192.168.5.2"), Others: addrs("172.16.0.1")}},

		GoneSegments:  []model.VNI{101},
		GonePeers:     []string{"host3"},
		GoneAddresses: []view.AddressKey{{VNI: 100, IP: ip("10.0.1.3")}},
		GoneGateways:  []model.VNI{901},
		GonePublics:   addrs("1.22.3.8"),
		GoneForwards:  []view.ForwardKey{{Address: ip("1.22.3.6"), Protocol: "udp", Port: 53}},
		GoneBlocks:    []view.BlockKey{{Address: ip("1.22.3.7"), First: 2048}},
		GoneNextHops:  []string{"edge3"},
		GoneHosts:     []string{"host3"},
	}
}

func TestDeltaIsReadByEveryVersion(t *testing.T) {
	d := everything()
	for fields, i := reflect.ValueOf(d), 0; i < fields.NumField(); i++ {
		if fields.Field(i).IsZero() {
			t.Errorf("the test leaves out %s", fields.Type().Field(i).Name)
		}
	}
	got, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(deltaFile)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.TrimSpace(string(want)), string(got)); diff != "" {
		t.Errorf("written otherwise than by 0.1.0 (-0.1.0 +now):\n%s", diff)
	}
	var read view.Delta
	if err := json.Unmarshal(want, &read); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(d, read, addresses); diff != "" {
		t.Errorf("what 0.1.0 wrote is read otherwise (-meant +read):\n%s", diff)
	}
	if empty, err := json.Marshal(view.Delta{Revision: 7}); err != nil || string(empty) != `{"revision":7}` {
		t.Errorf("an empty delta is %s, %v", empty, err)
	}
}

func prefix(text string) netip.Prefix { return netip.MustParsePrefix(text) }

func prefixes(texts ...string) (all []netip.Prefix) {
	for _, text := range texts {
		all = append(all, prefix(text))
	}
	return all
}

func addrs(texts ...string) (all []netip.Addr) {
	for _, text := range texts {
		all = append(all, ip(text))
	}
	return all
}
