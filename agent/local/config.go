// Package local is what the programs of a host share with its agent: the configuration file, and the API on a unix socket. It is all of the
// agent that the command line links.
package local

import (
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/overlane/overlane/internal/ifname"
	"github.com/overlane/overlane/internal/yamljson"
	"github.com/overlane/overlane/server/api"
)

// DefaultConfigDir is where overlane join writes agent.yaml and the host's certificate, and the agent reads them.
const DefaultConfigDir = "/etc/overlane"

// DefaultSocket is where an agent listens unless its configuration says otherwise.
const DefaultSocket = "/run/overlane/agent.sock"

// Config is the agent's configuration file, written by "overlane join". Everything but Host, Server and Address has a
// default.
type Config struct {
	Host    string     `json:"host"`    // name of this host in intent
	Server  string     `json:"server"`  // https://ADDRESS:PORT, or unix:///PATH on the server's own machine
	Address netip.Addr `json:"address"` // of the VTEP

	State  string `json:"state,omitempty"`  // folder for what must survive a restart; /var/lib/overlane
	Socket string `json:"socket,omitempty"` // of the local API; /run/overlane/agent.sock
	OVS    string `json:"ovs,omitempty"`    // OVS's run directory; /var/run/openvswitch
	Docker string `json:"docker,omitempty"` // Docker's socket; /var/run/docker.sock

	Bridge   string `json:"bridge,omitempty"`   // the integration bridge; br-overlane
	Datapath string `json:"datapath,omitempty"` // system or netdev; chosen by what the machine can do
	Uplink   string `json:"uplink,omitempty"`   // NIC to put into OVS on the netdev datapath; never moved unasked
	UDPPort  uint16 `json:"udpPort,omitempty"`  // of VXLAN; 4789 (RFC 7348 section 5)

	// NATRange has the addresses by which VPCs are known to this host's kernel. They are never seen outside, so every
	// host may have the same.
	NATRange netip.Prefix `json:"natRange,omitzero"` // 100.64.0.0/10 (RFC 6598)

	// Connections is how many to the outside this host remembers for each VPC.
	Connections int `json:"connections,omitempty"` // 16384

	// BFDInterval is between the packets by which tunnels are watched that public traffic takes: after seven that did
	// not come, it takes others.
	BFDInterval api.Duration `json:"bfdInterval,omitzero"` // 32ms

	// NoFirewall leaves the host's nftables alone. Then any process of the host can send tunnel packets in the host's
	// name.
	NoFirewall bool `json:"noFirewall,omitempty"`

	Version string `json:"-"` // of this binary, for status
	Ready   func() `json:"-"` // called when the agent takes calls; nil: nobody waits
}

// ReadConfig reads a configuration file. Unknown fields are refused.
func ReadConfig(path string) (Config, error) {
	var c Config
	data, err := os.ReadFile(path)
	if err != nil {
		return c, fmt.Errorf("read agent configuration: %w", err)
	}
	if err := yamljson.Unmarshal(data, &c); err != nil {
		return c, fmt.Errorf("read agent configuration %s: %w", path, err)
	}
	c.fill()
	return c, c.check(path)
}

func (c *Config) fill() {
	for _, d := range []struct {
		field *string
		value string
	}{
		{&c.State, "/var/lib/overlane"},
		{&c.Socket, DefaultSocket},
		{&c.OVS, "/var/run/openvswitch"},
		{&c.Docker, "/var/run/docker.sock"},
		{&c.Bridge, ifname.Bridge},
	} {
		if *d.field == "" {
			*d.field = d.value
		}
	}
	if c.UDPPort == 0 {
		c.UDPPort = 4789
	}
	if c.Connections == 0 {
		c.Connections = 16384
	}
	if c.BFDInterval == 0 {
		c.BFDInterval = api.Duration(32 * time.Millisecond)
	}
	if !c.NATRange.IsValid() {
		c.NATRange = netip.MustParsePrefix("100.64.0.0/10")
	}
}

func (c *Config) check(path string) error {
	switch {
	case c.Host == "":
		return fmt.Errorf("agent configuration %s: host is missing; it is this machine's name in intent", path)
	case c.Server == "":
		return fmt.Errorf("agent configuration %s: server is missing; it is https://ADDRESS:PORT of the overlane server", path)
	case !c.Address.Is4():
		return fmt.Errorf("agent configuration %s: address %q is not an IPv4 address; it is this machine's underlay address", path, c.Address)
	case c.Connections < 0:
		return fmt.Errorf("agent configuration %s: connections %d is not positive; leave it out, or say how many each VPC may have to the outside", path, c.Connections)
	case !c.NATRange.Addr().Is4() || c.NATRange.Bits() > maxNATBits || c.NATRange != c.NATRange.Masked():
		return fmt.Errorf("agent configuration %s: natRange %s is not an IPv4 network of /%d or wider; leave it out, or choose one that nothing else of this host uses", path, c.NATRange, maxNATBits)
	case c.BFDInterval < minBFD || c.BFDInterval > maxBFD || c.BFDInterval%api.Duration(time.Millisecond) != 0:
		return fmt.Errorf("agent configuration %s: bfdInterval %s is not whole milliseconds from %s to %s; leave it out for 32ms", path,
			time.Duration(c.BFDInterval), time.Duration(minBFD), time.Duration(maxBFD))
	}
	return nil
}

// Shorter than minBFD, a host that is busy for a moment counts as dead.
const (
	minBFD = api.Duration(10 * time.Millisecond)
	maxBFD = api.Duration(10 * time.Second)
)

// maxNATBits leaves room for an address of each VPC that a host translates for, 4096 at most, beside the host's own.
const maxNATBits = 19
