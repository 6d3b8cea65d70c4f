package lab

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/overlane/overlane/internal/yamljson"
)

func TestParseFillsIn(t *testing.T) {
	f, err := Parse([]byte(`hosts: [{name: a}, {name: b, address: 192.168.5.3, docker: true}, {name: c}]`))
	if err != nil {
		t.Fatal(err)
	}
	got, err := yamljson.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	const want = `hosts:
- address: 192.168.5.2
  name: a
- address: 192.168.5.3
  docker: true
  name: b
- address: 192.168.5.4
  name: c
name: lab
underlay:
  cidr: 192.168.5.0/24
  mtu: 1500
`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	again, err := Parse(got)
	if err != nil {
		t.Fatal(err)
	}
	if once, _ := yamljson.Marshal(again); string(once) != want {
		t.Errorf("what was filled in reads back as\n%s", once)
	}
}

func TestParseFillsInOutside(t *testing.T) {
	f, err := Parse([]byte(`
outside:
  machines: [{name: client}, {name: server, address: 198.51.100.11}, {name: other}]
  routes: [{to: 1.22.3.0/24, via: [203.0.113.11, 203.0.113.12]}]
hosts: [{name: a, uplink: true}, {name: b, uplink: true, uplinkAddress: 203.0.113.5}]
`))
	if err != nil {
		t.Fatal(err)
	}
	got, err := yamljson.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	const want = `hosts:
- address: 192.168.5.2
  name: a
  uplink: true
- address: 192.168.5.3
  name: b
  uplink: true
  uplinkAddress: 203.0.113.5
name: lab
outside:
  internet: 198.51.100.0/24
  machines:
  - address: 198.51.100.10
    name: client
  - address: 198.51.100.11
    name: server
  - address: 198.51.100.12
    name: other
  routes:
  - to: 1.22.3.0/24
    via:
    - 203.0.113.11
    - 203.0.113.12
  uplink: 203.0.113.0/24
underlay:
  cidr: 192.168.5.0/24
  mtu: 1500
`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if again, err := Parse(got); err != nil || !cmp.Equal(again, f, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })) {
		t.Errorf("what was filled in reads back as %+v, %v", again, err)
	}
}

// A file that is completed for a change, which may then fail, leaves the one that it was made of as it was.
func TestCompleteChangesItsOwnOnly(t *testing.T) {
	before := File{Outside: &Outside{Machines: []MachineSpec{{Name: "client"}}}, Hosts: []HostSpec{{Name: "a"}}}
	after := before.with(HostSpec{Name: "b"})
	if err := after.complete(); err != nil {
		t.Fatal(err)
	}
	if before.Outside.Internet.IsValid() || before.Outside.Machines[0].Address.IsValid() {
		t.Errorf("it is %+v now", *before.Outside)
	}
	if got := strings.Join(after.names(), " "); got != "a b router client" {
		t.Errorf("names %s", got)
	}
	if got := after.withoutMachine("client"); len(got.Outside.Machines) != 0 || len(after.Outside.Machines) != 1 {
		t.Errorf("without client: %+v of %+v", got.Outside.Machines, after.Outside.Machines)
	}
}

func TestParseRefuses(t *testing.T) {
	for file, want := range map[string]string{
		`hosts: []`:                                                                 "hosts: there are none",
		`hosts: [{name: a, ram: 1}]`:                                                `unknown field "ram"`,
		`hosts: [{name: a, docker: tcp}]`:                                           "bool",
		`hosts: [{name: A}]`:                                                        `host name "A"`,
		`hosts: [{name: ../a}]`:                                                     `host name "../a"`,
		`{name: a/b, hosts: [{name: a}]}`:                                           `name "a/b"`,
		`hosts: [{name: a}, {name: a}]`:                                             "host a is given twice",
		`hosts: [{name: a, address: 10.0.0.1}]`:                                     "outside the underlay 192.168.5.0/24",
		`{hosts: [{name: a}], server: b}`:                                           `server: no host is called "b"`,
		`{hosts: [{name: a}], intent: [x]}`:                                         "need a server",
		`{hosts: [{name: a}], underlay: {cidr: "::/0"}}`:                            "give an IPv4 network",
		`{hosts: [{name: a}], underlay: {links: [{host: b}]}}`:                      `no host is called "b"`,
		`hosts: [{name: a, address: 192.168.5.9}, {name: b, address: 192.168.5.9}]`: "is that of host a",
		`{server: a, hosts: [{name: a}], endpoints: [{host: b, docker: x, subnet: v/s}]}`:                                                  `no host is called "b"`,
		`{server: a, hosts: [{name: a}], endpoints: [{host: a, docker: x, subnet: v/s}]}`:                                                  "has no Docker",
		`{server: a, hosts: [{name: a}], endpoints: [{host: a, subnet: v/s}]}`:                                                             "either docker or netns",
		`{server: a, hosts: [{name: a}], endpoints: [{host: a, netns: x}]}`:                                                                "subnet is missing",
		`{server: a, hosts: [{name: a}], endpoints: [{host: a, netns: x, subnet: v/s, command: [sleep]}]}`:                                 "only a container",
		`{hosts: [{name: a, uplink: true}]}`:                                                                                               "host a: an uplink leads outside, and there is no outside; say outside: {}",
		`{outside: {}, hosts: [{name: router}]}`:                                                                                           "host router: that is the name of the outside's router",
		`{outside: {}, hosts: [{name: a, address: 192.168.5.1}]}`:                                                                          "host a: address 192.168.5.1 is that of the outside's router",
		`{outside: {}, hosts: [{name: a, uplinkAddress: 203.0.113.5}]}`:                                                                    "host a: uplinkAddress 203.0.113.5 without an uplink; say uplink: true",
		`{outside: {}, hosts: [{name: a, uplink: true, uplinkAddress: 203.0.113.1}]}`:                                                      "host a: uplinkAddress 203.0.113.1 is that of the outside's router",
		`{outside: {}, hosts: [{name: a, uplink: true, uplinkAddress: 10.0.0.1}]}`:                                                         "10.0.0.1 is outside of outside.uplink 203.0.113.0/24",
		`{outside: {}, hosts: [{name: a, uplink: true, uplinkAddress: 203.0.113.5}, {name: b, uplink: true, uplinkAddress: 203.0.113.5}]}`: "host b: uplinkAddress 203.0.113.5 is that of host a",
		`{outside: {internet: 192.168.0.0/16}, hosts: [{name: a}]}`:                                                                        "outside.internet 192.168.0.0/16 overlaps underlay.cidr 192.168.5.0/24; give it a network of its own",
		`{outside: {uplink: 198.51.100.0/25}, hosts: [{name: a}]}`:                                                                         "outside.internet 198.51.100.0/24 overlaps outside.uplink 198.51.100.0/25",
		`{outside: {uplink: "fd00::/64"}, hosts: [{name: a}]}`:                                                                             "outside.uplink fd00::/64: give an IPv4 network",
		`{outside: {internet: 198.51.100.0/31}, hosts: [{name: a}]}`:                                                                       "outside.internet 198.51.100.0/31: give an IPv4 network of four addresses or more",
		`{outside: {machines: [{name: A}]}, hosts: [{name: a}]}`:                                                                           `outside.machines: name "A"`,
		`{outside: {machines: [{name: a}]}, hosts: [{name: a}]}`:                                                                           "outside.machines: the name a is taken",
		`{outside: {machines: [{name: router}]}, hosts: [{name: a}]}`:                                                                      "the name router is taken",
		`{outside: {machines: [{name: c}, {name: c}]}, hosts: [{name: a}]}`:                                                                "the name c is taken",
		`{outside: {internet: 198.51.100.0/30, machines: [{name: c}]}, hosts: [{name: a}]}`:                                                "machine c: address 198.51.100.10 is outside of outside.internet 198.51.100.0/30",
		`{outside: {machines: [{name: c, address: 198.51.100.255}]}, hosts: [{name: a}]}`:                                                  "198.51.100.255 is the first or last of outside.internet",
		`{outside: {machines: [{name: c, address: 198.51.100.1}]}, hosts: [{name: a}]}`:                                                    "machine c: address 198.51.100.1 is that of the outside's router",
		`{outside: {machines: [{name: c, address: 198.51.100.9}, {name: d, address: 198.51.100.9}]}, hosts: [{name: a}]}`:                  "machine d: address 198.51.100.9 is that of machine c",
		`{outside: {routes: [{via: [203.0.113.5]}]}, hosts: [{name: a}]}`:                                                                  "outside.routes[0]: give an IPv4 network in to",
		`{outside: {routes: [{to: 1.2.3.4/24, via: [203.0.113.5]}]}, hosts: [{name: a}]}`:                                                  "the network is 1.2.3.0/24",
		`{outside: {routes: [{to: 1.2.3.0/24}]}, hosts: [{name: a}]}`:                                                                      "1.2.3.0/24 has no next hop",
		`{outside: {routes: [{to: 1.2.3.0/24, via: [10.0.0.1]}]}, hosts: [{name: a}]}`:                                                     "via 10.0.0.1 is on no network of the router",
		`{outside: {routes: [{to: 1.2.3.0/24, via: [203.0.113.1]}]}, hosts: [{name: a}]}`:                                                  "via 203.0.113.1 is that of the outside's router",
		`{outside: {routes: [{to: 192.168.5.0/24, via: [203.0.113.5]}]}, hosts: [{name: a}]}`:                                              "the router is on underlay.cidr 192.168.5.0/24 itself",
		`{outside: {routes: [{to: 1.2.3.0/24, via: [203.0.113.5]}, {to: 1.2.3.0/24, via: [203.0.113.6]}]}, hosts: [{name: a}]}`:            "1.2.3.0/24 is given twice; put all next hops into one via",
	} {
		if _, err := Parse([]byte(file)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\n  refused with %v, want %q", file, err, want)
		}
	}
}

// Whatever is accepted has names that are safe in paths, and addresses for all.
func FuzzParse(f *testing.F) {
	f.Add(`hosts: [{name: a}, {name: b, address: 192.168.5.3}]`)
	f.Add(`{name: x, underlay: {cidr: 10.0.0.0/8, mtu: 9000, links: [{host: a, mtu: 1400}]}, hosts: [{name: a}]}`)
	f.Add(`{underlay: {cidr: 255.255.255.254/31}, hosts: [{name: a}, {name: b}, {name: c}]}`)
	f.Add(`{server: a, hosts: [{name: a, docker: true}], endpoints: [{host: a, docker: x, subnet: v/s, ip: 10.0.0.1}]}`)
	f.Add(`{outside: {internet: 198.51.100.0/28, machines: [{name: c}], routes: [{to: 1.2.3.0/24, via: [203.0.113.5]}]}, hosts: [{name: a, uplink: true, uplinkAddress: 203.0.113.5}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		file, err := Parse([]byte(text))
		if err != nil {
			return
		}
		for _, h := range file.Hosts {
			if strings.ContainsAny(file.Name+h.Name, "/. \x00") || !file.Underlay.CIDR.Contains(h.Address) {
				t.Errorf("accepted lab %q, host %q at %s", file.Name, h.Name, h.Address)
			}
		}
		if file.Outside == nil {
			return
		}
		for _, m := range file.Outside.Machines {
			if strings.ContainsAny(m.Name, "/. \x00") || file.host(m.Name) != nil || !file.Outside.Internet.Contains(m.Address) {
				t.Errorf("accepted machine %q at %s", m.Name, m.Address)
			}
		}
	})
}
