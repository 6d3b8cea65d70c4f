package capture

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/overlane/overlane/model"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestFramesAsText(t *testing.T) {
	p := Printer{Names: NewNames(testView)}
	var out strings.Builder
	for i, n := range frames(t) {
		f := Decode(n.packet(), DefaultPort)
		p.Segment = 0
		if strings.HasPrefix(n.name, "plain ARP") {
			p.Segment = 100 // as on an endpoint's port
		}
		fmt.Fprintf(&out, "== %s\n%s\n%s\n", n.name, p.Line(n.packet(), &f), p.Nested(i+1, n.packet(), &f))
	}
	golden(t, "testdata/frames.txt", out.String())
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; -update rewrites it):\n%s", path, diff)
	}
}

// Without an agent there are numbers, and the names that the file's writer knew.
func TestNumbersOnly(t *testing.T) {
	n := frames(t)[0].packet()
	n.Comments = []string{"host1 > host2, \x1b[31mblue/web"}
	f := Decode(n, DefaultPort)
	want := `20:00:01.234567  192.168.5.2 > 192.168.5.3 VNI 100  172.17.42.2 > 172.17.42.10  ICMP echo request, id 7, seq 1  # host1 > host2, \x1b[31mblue/web`
	if got := (Printer{}).Line(n, &f); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestColourOnlyIfAsked(t *testing.T) {
	n := frames(t)[0].packet()
	f := Decode(n, DefaultPort)
	if line := (Printer{Colour: true}).Line(n, &f); !strings.Contains(line, "\x1b[33mVNI 100\x1b[0m") {
		t.Errorf("no colour: %q", line)
	}
	if text := (Printer{}).Nested(1, n, &f); strings.Contains(text, "\x1b") {
		t.Errorf("colour: %q", text)
	}
}

func TestFilter(t *testing.T) {
	names := NewNames(testView)
	for _, test := range []struct {
		want Want
		sees []string
	}{
		{Want{VPC: "red"}, []string{"vxlan ping of the other tenant"}},
		{Want{Subnet: "red/web"}, []string{"vxlan ping of the other tenant"}},
		{Want{Endpoint: "red/web/cart"}, []string{"vxlan ping of the other tenant"}},
		{Want{VPC: "red", Endpoint: "red/web/store"}, []string{"vxlan ping of the other tenant"}},
	} {
		f, err := names.Filter(test.want)
		if err != nil {
			t.Fatal(err)
		}
		f.Tunnels = true
		var seen []string
		for _, n := range frames(t) {
			if frame := Decode(n.packet(), DefaultPort); f.Match(&frame) {
				seen = append(seen, n.name)
			}
		}
		if diff := cmp.Diff(test.sees, seen); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", test.want, diff)
		}
	}
}

func TestFilterOfUnknownNames(t *testing.T) {
	names := NewNames(testView)
	for _, w := range []Want{{VPC: "blu"}, {Subnet: "blue/db"}, {Endpoint: "blue/web/db2\x1b[2J"}} {
		_, err := names.Filter(w)
		if err == nil || strings.Contains(err.Error(), "\x1b") {
			t.Errorf("%+v: %v", w, err)
		}
	}
}

// On an endpoint's port nothing has a VNI, and only the endpoint counts.
func TestFilterOnAPort(t *testing.T) {
	f, err := NewNames(testView).Filter(Want{Endpoint: "blue/web/db1"})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{true, false} {
		to := []string{"172.17.42.10", "172.17.42.1"}[i]
		frame := Decode(named{"", wire(t, arp(1, web1, "172.17.42.2", broadcast, to)...)}.packet(), DefaultPort)
		if f.Match(&frame) != want {
			t.Errorf("ARP request for %s: %v", to, !want)
		}
	}
	if f.VNIs[0] != model.VNI(100) {
		t.Error(f.VNIs)
	}
}
