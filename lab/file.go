package lab

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"github.com/overlane/overlane/internal/pattern"
	"github.com/overlane/overlane/internal/yamljson"
)

// File describes a lab. Only Hosts is required.
type File struct {
	Name     string         `json:"name,omitempty"` // "lab"
	Underlay Underlay       `json:"underlay,omitzero"`
	Outside  *Outside       `json:"outside,omitempty"` // absent: there is nothing but the underlay
	Hosts    []HostSpec     `json:"hosts"`
	Server   string         `json:"server,omitempty"` // host that runs the overlane server; absent: no server and no agents
	Agent    map[string]any `json:"agent,omitempty"`  // what every agent's configuration has besides what joining writes, as in agent.yaml

	Intent    []string   `json:"intent,omitempty"`    // files and folders to apply, relative to this file
	Endpoints []Endpoint `json:"endpoints,omitempty"` // attached when intent is applied
}

// Underlay is the network that the hosts hang on.
type Underlay struct {
	CIDR  netip.Prefix `json:"cidr,omitzero"`   // 192.168.5.0/24
	MTU   int          `json:"mtu,omitempty"`   // bytes of IP; 1500
	Links []Link       `json:"links,omitempty"` // what is special about single hosts' links
}

// Link is a host's way to the underlay.
type Link struct {
	Host string `json:"host"`
	MTU  int    `json:"mtu,omitempty"` // bytes of IP; the underlay's
}

// HostSpec is a host of the lab.
type HostSpec struct {
	Name          string     `json:"name"`
	Address       netip.Addr `json:"address,omitzero"`       // on the underlay; the first free one from the second of the CIDR on
	Docker        bool       `json:"docker,omitempty"`       // run a Docker daemon
	Uplink        bool       `json:"uplink,omitempty"`       // have a second interface, eth1, on the outside's uplink network
	UplinkAddress netip.Addr `json:"uplinkAddress,omitzero"` // of eth1; absent: it has none
}

// Endpoint is a container or a network namespace that the lab makes and attaches. Exactly one of Docker and Netns is
// set.
type Endpoint struct {
	Host    string     `json:"host"`
	Docker  string     `json:"docker,omitempty"`  // name of the container
	Netns   string     `json:"netns,omitempty"`   // name of the namespace
	Command []string   `json:"command,omitempty"` // that the container runs; it sleeps when absent
	Subnet  string     `json:"subnet"`            // VPC/SUBNET
	IP      netip.Addr `json:"ip,omitzero"`       // allocated when absent
	Name    string     `json:"name,omitempty"`    // of the endpoint; the container's or namespace's
}

// The defaults of a file.
const defaultName, defaultMTU = "lab", 1500

var defaultCIDR = netip.MustParsePrefix("192.168.5.0/24")

// ReadFile reads a lab's file. Unknown fields are refused; paths of intent then start at the file's folder.
func ReadFile(path string) (File, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return File{}, fmt.Errorf("read lab: %w", err)
	}
	f, err := Parse(data)
	if err != nil {
		return f, fmt.Errorf("read lab %s: %w", path, err)
	}
	for i, p := range f.Intent {
		if !filepath.IsAbs(p) {
			f.Intent[i] = filepath.Join(filepath.Dir(path), p)
		}
		if f.Intent[i], err = filepath.Abs(f.Intent[i]); err != nil {
			return f, err
		}
	}
	return f, nil
}

// Parse reads a lab's file from YAML, fills in what it leaves out and refuses what cannot be.
func Parse(data []byte) (File, error) {
	var f File
	if err := yamljson.Unmarshal(data, &f); err != nil {
		return f, err
	}
	return f, f.complete()
}

// A host's interface on the underlay has the host's name too, and both names are in paths of unix sockets (108 bytes).
var nameRule = pattern.Of(`^[a-z0-9]([a-z0-9-]{0,13}[a-z0-9])?$`)

// complete fills in defaults and then judges the whole. A second time it changes nothing.
func (f *File) complete() error {
	if f.Name == "" {
		f.Name = defaultName
	}
	if f.Underlay.MTU == 0 {
		f.Underlay.MTU = defaultMTU
	}
	if !f.Underlay.CIDR.IsValid() {
		f.Underlay.CIDR = defaultCIDR
	}
	if f.Outside != nil {
		f.Outside = f.Outside.completed()
	}
	f.addresses()
	if err := f.check(); err != nil {
		return err
	}
	if err := f.checkOutside(); err != nil {
		return err
	}
	return f.checkEndpoints()
}

// addresses gives one to each host that has none.
func (f *File) addresses() {
	taken := map[netip.Addr]bool{}
	for _, h := range f.Hosts {
		taken[h.Address] = true
	}
	next := nth(f.Underlay.CIDR, 1)
	for i := range f.Hosts {
		if !f.Hosts[i].Address.IsValid() {
			next = freeAfter(next, taken)
			f.Hosts[i].Address = next
		}
	}
}

// nth is an address of a network: number 0 is the network's own.
func nth(p netip.Prefix, n int) netip.Addr {
	a := p.Masked().Addr()
	for range n {
		a = a.Next()
	}
	return a
}

// freeAfter is the first address after another one that is not taken.
func freeAfter(a netip.Addr, taken map[netip.Addr]bool) netip.Addr {
	for a = a.Next(); taken[a]; a = a.Next() {
	}
	return a
}

func (f *File) check() error {
	if !nameRule().MatchString(f.Name) {
		return fmt.Errorf("name %q: use up to 15 letters a-z, digits and hyphens", f.Name)
	}
	if !f.Underlay.CIDR.Addr().Is4() {
		return fmt.Errorf("underlay.cidr %s: give an IPv4 network", f.Underlay.CIDR)
	}
	if len(f.Hosts) == 0 {
		return fmt.Errorf("hosts: there are none; name at least one, like {name: host1}")
	}
	seen, at := map[string]bool{}, map[netip.Addr]string{}
	for _, h := range f.Hosts {
		if err := f.checkHost(h); err != nil {
			return err
		}
		if seen[h.Name] {
			return fmt.Errorf("host %s is given twice", h.Name)
		}
		if other := at[h.Address]; other != "" {
			return fmt.Errorf("host %s: address %s is that of host %s", h.Name, h.Address, other)
		}
		seen[h.Name], at[h.Address] = true, h.Name
	}
	return f.checkLinks()
}

func (f *File) checkHost(h HostSpec) error {
	if !nameRule().MatchString(h.Name) {
		return fmt.Errorf("host name %q: use up to 15 letters a-z, digits and hyphens", h.Name)
	}
	if !f.Underlay.CIDR.Contains(h.Address) {
		return fmt.Errorf("host %s: address %s is outside the underlay %s", h.Name, h.Address, f.Underlay.CIDR)
	}
	return nil
}

func (f *File) checkLinks() error {
	for _, l := range f.Underlay.Links {
		if f.host(l.Host) == nil {
			return fmt.Errorf("underlay.links: no host is called %q", l.Host)
		}
	}
	if f.Server != "" && f.host(f.Server) == nil {
		return fmt.Errorf("server: no host is called %q", f.Server)
	}
	if f.Server == "" && len(f.Intent)+len(f.Endpoints) > 0 {
		return fmt.Errorf("intent and endpoints need a server: name the host that runs it, like server: %s", f.Hosts[0].Name)
	}
	return nil
}

func (f *File) checkEndpoints() error {
	for i, e := range f.Endpoints {
		h := f.host(e.Host)
		switch {
		case h == nil:
			return fmt.Errorf("endpoints[%d]: no host is called %q", i, e.Host)
		case (e.Docker == "") == (e.Netns == ""):
			return fmt.Errorf("endpoints[%d]: give either docker or netns, the name of what to make", i)
		case e.Docker != "" && !h.Docker:
			return fmt.Errorf("endpoints[%d]: host %s has no Docker; say docker: true there", i, e.Host)
		case e.Netns != "" && len(e.Command) > 0:
			return fmt.Errorf("endpoints[%d]: only a container has a command", i)
		case e.Subnet == "":
			return fmt.Errorf("endpoints[%d]: subnet is missing; write it as VPC/SUBNET", i)
		}
	}
	return nil
}

func (f *File) host(name string) *HostSpec {
	i := slices.IndexFunc(f.Hosts, func(h HostSpec) bool { return h.Name == name })
	if i < 0 {
		return nil
	}
	return &f.Hosts[i]
}

// mtu is the MTU of a host's link.
func (f *File) mtu(host string) int {
	for _, l := range f.Underlay.Links {
		if l.Host == host && l.MTU != 0 {
			return l.MTU
		}
	}
	return f.Underlay.MTU
}

func (f File) with(h HostSpec) File {
	f.Hosts = append(slices.Clone(f.Hosts), h)
	return f
}

func (f File) without(host string) File {
	f.Hosts = slices.DeleteFunc(slices.Clone(f.Hosts), func(h HostSpec) bool { return h.Name == host })
	f.Underlay.Links = slices.DeleteFunc(slices.Clone(f.Underlay.Links), func(l Link) bool { return l.Host == host })
	f.Endpoints = slices.DeleteFunc(slices.Clone(f.Endpoints), func(e Endpoint) bool { return e.Host == host })
	return f
}
