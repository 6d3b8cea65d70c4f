package ovs

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/overlane/overlane/netdump"
)

// neighbours are machines on the NIC's link that answered ARP before the move. They prove that the wire still leads
// somewhere, which a server on the very machine that is moved cannot.
type neighbours struct {
	addresses []netip.Addr
	inventory inventory
}

const (
	askARPAtMost  = 8 // neighbours
	arpRounds     = 5
	arpRoundTakes = 200 * time.Millisecond
)

// findNeighbours asks the gateways of the NIC's routes and those that the kernel knows on its link, and gives those
// that answer within a second.
func (j *journal) findNeighbours(ctx context.Context) (neighbours, error) {
	n := neighbours{inventory: j.inventory}
	for _, r := range j.Routes {
		if r.Via.Is4() {
			n.addresses = append(n.addresses, r.Via)
		}
	}
	known, err := kernelNeighbours(j.NIC)
	if err != nil {
		return n, err
	}
	for _, a := range append(n.addresses, known...) {
		if !slices.Contains(n.addresses, a) {
			n.addresses = append(n.addresses, a)
		}
	}
	n.addresses = n.addresses[:min(len(n.addresses), askARPAtMost)]
	n.addresses, err = n.ask(ctx, j.NIC)
	return n, err
}

// kernelNeighbours gives the neighbours that have answered the kernel at some time.
func kernelNeighbours(nic string) ([]netip.Addr, error) {
	link, err := netlink.LinkByName(nic)
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", nic, err)
	}
	found, err := netdump.List(func() ([]netlink.Neigh, error) { return netlink.NeighList(link.Attrs().Index, unix.AF_INET) })
	if err != nil {
		return nil, fmt.Errorf("list the neighbours on %s: %w", nic, err)
	}
	var known []netip.Addr
	for _, n := range found {
		const unresolved = netlink.NUD_NONE | netlink.NUD_INCOMPLETE | netlink.NUD_FAILED | netlink.NUD_NOARP
		if a, ok := netip.AddrFromSlice(n.IP); ok && n.State&unresolved == 0 {
			known = append(known, a.Unmap())
		}
	}
	return known, nil
}

// check fails if none of them answers any more. Where none did before, there is nothing to check.
func (n neighbours) check(ctx context.Context, iface string) error {
	if len(n.addresses) == 0 {
		return nil
	}
	answered, err := n.ask(ctx, iface)
	if err == nil && len(answered) == 0 {
		err = fmt.Errorf("none of %v answers ARP any more", n.addresses)
	}
	return err
}

// ask gives the neighbours that answer ARP through an interface. It returns with the first answers.
func (n neighbours) ask(ctx context.Context, iface string) ([]netip.Addr, error) {
	if len(n.addresses) == 0 {
		return nil, nil
	}
	link, err := net.InterfaceByName(iface)
	if err != nil {
		return nil, fmt.Errorf("ask neighbours on %s: %w", iface, err)
	}
	wire, err := openARP(link)
	if err != nil {
		return nil, fmt.Errorf("ask neighbours on %s: %w", iface, err)
	}
	defer wire.Close()
	for range arpRounds {
		for _, a := range n.addresses {
			if _, err := wire.Write(arpRequest(link.HardwareAddr, n.source(a), a)); err != nil {
				return nil, fmt.Errorf("ask neighbours on %s: %w", iface, err)
			}
		}
		answered, err := n.listen(wire)
		if err != nil || len(answered) > 0 || ctx.Err() != nil {
			return answered, err
		}
	}
	return nil, nil
}

// source is the host's own address on a neighbour's network.
func (n neighbours) source(of netip.Addr) netip.Addr {
	own := netip.IPv4Unspecified()
	for _, a := range n.inventory.Addresses {
		switch {
		case a.Prefix.Masked().Contains(of):
			return a.Prefix.Addr()
		case a.Prefix.Addr().Is4() && own.IsUnspecified():
			own = a.Prefix.Addr()
		}
	}
	return own
}

// listen is for one round, which ends early once all have answered.
func (n neighbours) listen(wire *os.File) (answered []netip.Addr, err error) {
	if err := wire.SetReadDeadline(time.Now().Add(arpRoundTakes)); err != nil {
		return nil, err
	}
	frame := make([]byte, 128)
	for len(answered) < len(n.addresses) {
		got, err := wire.Read(frame)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		} else if err != nil {
			return nil, err
		}
		from, ok := arpReply(frame[:got])
		if ok && slices.Contains(n.addresses, from) && !slices.Contains(answered, from) {
			answered = append(answered, from)
		}
	}
	return answered, nil
}

// openARP makes a packet socket (packet(7)) that reads and writes whole frames.
func openARP(link *net.Interface) (*os.File, error) {
	protocol := binary.BigEndian.AppendUint16(nil, unix.ETH_P_ARP)
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("packet socket: %w", err)
	}
	wire := os.NewFile(uintptr(fd), "arp on "+link.Name)
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: link.Index, Protocol: binary.NativeEndian.Uint16(protocol)}); err != nil {
		return nil, errors.Join(fmt.Errorf("packet socket: %w", err), wire.Close())
	}
	return wire, nil
}

// arpHeader is the fixed part of ARP for IPv4 over Ethernet (RFC 826), up to the operation.
var arpHeader = []byte{0, 1, 8, 0, 6, 4, 0}

const (
	arpOpRequest = 1
	arpOpReply   = 2
)

func arpRequest(mac net.HardwareAddr, from, to netip.Addr) []byte {
	nobody := make([]byte, 6)
	everybody := bytes.Repeat([]byte{0xff}, 6)
	return slices.Concat(everybody, mac, []byte{8, 6}, arpHeader, []byte{arpOpRequest}, mac, from.AsSlice(), nobody, to.AsSlice())
}

// arpReply gives the address that a reply is for.
func arpReply(frame []byte) (from netip.Addr, ok bool) {
	const ethernet, sender = 14, 14 + 14
	if len(frame) < ethernet+28 || !bytes.Equal(frame[ethernet:ethernet+7], arpHeader) || frame[ethernet+7] != arpOpReply {
		return from, false
	}
	return netip.AddrFromSlice(frame[sender : sender+4])
}
