package lab

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

func TestParseFillsIn(t *testing.T) {
	f, err := Parse([]byte(`hosts: [{name: a}, {name: b, address: 192.168.5.3, docker: true}, {name: c}]`))
	if err != nil {
		t.Fatal(err)
	}
	got, err := yaml.Marshal(f)
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
	if once, _ := yaml.Marshal(again); string(once) != want {
		t.Errorf("what was filled in reads back as\n%s", once)
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
		`{server: a, hosts: [{name: a}], endpoints: [{host: b, docker: x, subnet: v/s}]}`:                  `no host is called "b"`,
		`{server: a, hosts: [{name: a}], endpoints: [{host: a, docker: x, subnet: v/s}]}`:                  "has no Docker",
		`{server: a, hosts: [{name: a}], endpoints: [{host: a, subnet: v/s}]}`:                             "either docker or netns",
		`{server: a, hosts: [{name: a}], endpoints: [{host: a, netns: x}]}`:                                "subnet is missing",
		`{server: a, hosts: [{name: a}], endpoints: [{host: a, netns: x, subnet: v/s, command: [sleep]}]}`: "only a container",
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
	})
}
