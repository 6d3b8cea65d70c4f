// Package ifname names the network interfaces and switch ports that Overlane makes on a host, and recognises them. No
// other package makes such a name. A name has at most 15 characters (IFNAMSIZ less the final NUL, linux/if.h), so a
// name that stands for an object of any length ends in a hash of that object's name: the same object has the same name
// on every run.
package ifname

import (
	"crypto/sha256"
	"encoding/base32"
	"net/netip"
	"strings"
)

// Names of which a host has one.
const (
	Bridge       = "br-overlane"  // integration bridge, unless the configuration names another one
	UplinkBridge = "br-ovl-up"    // bridge that holds the NIC on the userspace datapath
	Tunnel       = "ovl-vxlan"    // VXLAN port for all peers
	Outside      = "ovl-outside"  // internal port by which translated packets reach the host's kernel
	Underlay     = "ovl-underlay" // internal port of an edge towards the underlay
)

// EdgePrefix begins the name of every port that [Edge] names, and of no other: for rules that concern all of them.
const EdgePrefix = "ovl-e-"

const (
	endpointPrefix = "ovl"
	peerPrefix     = "ovl-"

	length     = 15 // of the names of endpoints and edges
	peerLength = 14 // one less, so that no peer's port has the length of an endpoint's
)

// Endpoint names the host's end of the veth pair of the endpoint that has an address of a subnet (VPC/SUBNET): 15
// characters, 60 bits of them hash. The endpoint's name is not in it, for that may change while traffic flows.
func Endpoint(subnet string, address netip.Addr) string {
	return hashed(endpointPrefix, subnet+" "+address.String(), length)
}

// EndpointOf010 is the name that 0.1.0 gave, by the endpoint's name (VPC/SUBNET/ENDPOINT). An interface keeps it until
// it is unplugged. It has the form of [Endpoint].
func EndpointOf010(endpoint string) string { return hashed(endpointPrefix, endpoint, length) }

// Peer names the tunnel port that a host has for one peer, by which Open vSwitch runs BFD: 14 characters, 50 bits of
// them hash.
func Peer(host string) string { return hashed(peerPrefix, host, peerLength) }

// Edge names the internal port that a host of public addresses has for one edge: 15 characters, 45 bits of them hash.
func Edge(host string) string { return hashed(EdgePrefix, host, length) }

// IsEndpoint reports whether name has the form that [Endpoint] gives.
func IsEndpoint(name string) bool {
	hash, ours := strings.CutPrefix(name, endpointPrefix)
	return ours && len(name) == length && strings.Trim(hash, alphabet) == ""
}

// IsOwnPort reports whether name is that of a port which belongs to the host itself: a tunnel, a peer's, an edge's, or
// one towards the kernel. No endpoint's is.
func IsOwnPort(name string) bool { return strings.HasPrefix(name, peerPrefix) }

const alphabet = "0123456789abcdefghijklmnopqrstuv" // RFC 4648 section 7, in lower case

var encoding = base32.NewEncoding(alphabet)

// hashed is the prefix, then as many characters of the hash as length leaves, of 5 bits each.
func hashed(prefix, of string, length int) string {
	sum := sha256.Sum256([]byte(of))
	return prefix + encoding.EncodeToString(sum[:])[:length-len(prefix)]
}
