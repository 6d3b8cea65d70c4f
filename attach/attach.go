// Package attach makes and removes the network interfaces of endpoints: a veth pair from the host into a network
// namespace or a Docker container, with address, MTU and route. The host's end is in the network namespace of the
// process, which need not be the machine's first. The package talks neither to the server nor to Open vSwitch.
package attach

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/overlane/overlane/internal/ifname"
	"github.com/overlane/overlane/internal/nlerr"
	"github.com/overlane/overlane/model"
)

// Kinds of error, found with [errors.Is].
var (
	ErrNotFound   = errors.New("not found")       // no such container, namespace or interface
	ErrNotRunning = errors.New("not running")     // the container has no namespace
	ErrConflict   = errors.New("already in use")  // an interface or a route that is not ours is in the way
	ErrInvalid    = errors.New("invalid request") // nothing was tried
)

// Request is one interface in one namespace.
type Request struct {
	HostIf          string       // name of the end that goes to the switch; see package ifname
	Owner           string       // the endpoint, at most 255 bytes: the alias of that end (ip-link(8)), which tells whose it is
	Netns           string       // path; see NetnsPath
	IfName          string       // name of the end inside
	MAC             model.MAC    // inside
	Address         netip.Prefix // IPv4 address and length of its subnet
	Gateway         netip.Addr   // of the default route; the zero Addr for none
	DHCP            bool         // leave address and route to a DHCP client inside
	MTU             int          // bytes of IP, both ends
	ChecksumOffload bool         // true for a switch on the kernel datapath; false: the sender fills checksums in, since the switch reads copies of packets
}

func (r Request) check() error {
	for _, name := range []string{r.HostIf, r.IfName} {
		if name == "" || len(name) >= unix.IFNAMSIZ || strings.ContainsAny(name, "/: \t") || name == "lo" || name == "." || name == ".." {
			return fmt.Errorf("%w: interface name %q: want 1 to 15 characters without slash, colon or space, and not lo", ErrInvalid, name)
		}
	}
	switch {
	case !ifname.IsEndpoint(r.HostIf):
		return fmt.Errorf("%w: interface name %q on the host: want one that Overlane gives to an endpoint", ErrInvalid, r.HostIf)
	case !r.Address.IsValid() || !r.Address.Addr().Is4():
		return fmt.Errorf("%w: address %s: want an IPv4 address with the length of its subnet", ErrInvalid, r.Address)
	case r.Gateway.IsValid() && !r.Gateway.Is4():
		return fmt.Errorf("%w: gateway %s: want an IPv4 address", ErrInvalid, r.Gateway)
	case r.Owner == "" || len(r.Owner) > maxOwner:
		return fmt.Errorf("%w: owner %q: want the name of an endpoint, at most %d bytes", ErrInvalid, r.Owner, maxOwner)
	case r.MAC == (model.MAC{}) || r.MAC.Multicast():
		return fmt.Errorf("%w: MAC %s: want a unicast address", ErrInvalid, net.HardwareAddr(r.MAC[:]))
	case r.MTU < minMTU || r.MTU > maxMTU:
		return fmt.Errorf("%w: MTU %d: want %d to %d", ErrInvalid, r.MTU, minMTU, maxMTU)
	}
	return nil
}

const (
	minMTU = 576   // the least that every IPv4 host accepts (RFC 791 section 3.1)
	maxMTU = 65535 // of a veth

	maxOwner = 255 // bytes of an alias (IFALIASZ of linux/if.h, less the final zero)
)

// Exists reports whether the host has an interface of this name.
func Exists(iface string) bool {
	_, err := os.Stat("/proc/sys/net/ipv4/conf/" + iface)
	return err == nil
}

// Owner is the endpoint that an interface of the host was made for. It is empty if there is no such interface, or if
// that tells nothing: 0.1.0 wrote it nowhere, and an interrupted call may not have come to it.
func Owner(iface string) (endpoint string, err error) {
	l, err := netlink.LinkByName(iface)
	if err != nil {
		return "", nlerr.IgnoreNotFound(err)
	}
	return l.Attrs().Alias, nil
}

// Interfaces are the names of the host's interfaces. One call costs less than Exists for each.
func Interfaces() (map[string]bool, error) {
	dir, err := os.Open("/proc/sys/net/ipv4/conf")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	list, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	names := make(map[string]bool, len(list))
	for _, name := range list {
		names[name] = true
	}
	return names, nil
}

// netnsDir is where "ip netns" keeps names.
const netnsDir = "/var/run/netns"

// NetnsPath finds a network namespace by path, by name (ip-netns(8)) or by the ID of a process that is in it.
func NetnsPath(s string) (string, error) {
	path := s
	if !strings.Contains(s, "/") {
		path = filepath.Join(netnsDir, s)
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) && s != "" && strings.Trim(s, "0123456789") == "" {
			path = filepath.Join("/proc", s, "ns/net")
		}
	}
	ns, err := openNetns(path)
	if err != nil {
		return "", err
	}
	return path, ns.Close()
}

func openNetns(path string) (netns.NsHandle, error) {
	ns, err := netns.GetFromPath(path)
	if errors.Is(err, fs.ErrNotExist) {
		return ns, fmt.Errorf("network namespace %s: %w", path, ErrNotFound)
	}
	if err != nil {
		return ns, fmt.Errorf("network namespace %s: %w", path, err)
	}
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(ns), &st); err != nil || st.Type != unix.NSFS_MAGIC {
		ns.Close()
		return netns.None(), fmt.Errorf("%w: %s is not a network namespace", ErrInvalid, path)
	}
	return ns, nil
}
