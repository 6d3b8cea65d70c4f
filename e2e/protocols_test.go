package e2e

import (
	"fmt"
	"net"
	"time"
)

// A datagram begins as GRE does (RFC 2784), for the kernel translates no other of that protocol.
const question, reply = "\x00\x00\x08\x00question", "\x00\x00\x08\x00answer"

// carries sends a datagram of a protocol without ports from one place to an address of another one, which answers, and
// wants each to see the other by the right address.
func (n *network) carries(protocol, from, seenAs, to, address string) {
	n.t.Helper()
	there, here := n.rawSocket(to, protocol), n.rawSocket(from, protocol)
	defer there.Close()
	defer here.Close()
	hears := func(socket net.PacketConn, text, sender string) error {
		_ = socket.SetReadDeadline(time.Now().Add(2 * time.Second))
		b := make([]byte, 100)
		size, who, err := socket.ReadFrom(b)
		if err == nil && (string(b[:size]) != text || who.String() != sender) {
			err = fmt.Errorf("%q comes from %s", b[:size], who)
		}
		return err
	}
	n.eventually("protocol "+protocol+" to "+address, func() error {
		if _, err := here.WriteTo([]byte(question), &net.IPAddr{IP: addr(address)}); err != nil {
			return err
		}
		return hears(there, question, seenAs)
	})
	if _, err := there.WriteTo([]byte(reply), &net.IPAddr{IP: addr(seenAs)}); err != nil {
		n.t.Error(err)
	}
	if err := hears(here, reply, address); err != nil {
		n.t.Errorf("protocol %s, answered by %s: %v", protocol, address, err)
	}
}

// rawSocket hears all of a protocol that comes to a place, and sends in it.
func (n *network) rawSocket(netns, protocol string) (socket net.PacketConn) {
	n.t.Helper()
	inNetns(n.t, netns, func() (err error) {
		socket, err = net.ListenPacket("ip4:"+protocol, "0.0.0.0")
		return err
	})
	return socket
}

// asks tells whether a datagram of a protocol arrives at the server.
func (n *network) asks(protocol, from, server string) (heard bool) {
	n.t.Helper()
	there, here := n.rawSocket(n.Machine("server").Netns(), protocol), n.rawSocket(from, protocol)
	defer there.Close()
	defer here.Close()
	if _, err := here.WriteTo([]byte(question), &net.IPAddr{IP: addr(server)}); err != nil {
		n.t.Error(err)
	}
	_ = there.SetReadDeadline(time.Now().Add(time.Second))
	_, _, err := there.ReadFrom(make([]byte, 100))
	return err == nil
}
