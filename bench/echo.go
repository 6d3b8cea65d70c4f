package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"time"

	"github.com/vishvananda/netns"

	"github.com/overlane/overlane/lab"
)

func addr(a, b, c, d byte) netip.Addr { return netip.AddrFrom4([4]byte{a, b, c, d}) }

// within runs a function in a network namespace of a host. Sockets that it opens stay there. The thread dies with it.
func within(m *lab.Machine, name string, f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		ns, err := netns.GetFromPath(m.Root() + "/run/netns/" + name)
		if err == nil {
			defer ns.Close()
			err = netns.Set(ns)
		}
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}

// pinger sends ICMP echo requests (RFC 792) from a namespace.
type pinger struct {
	conn net.PacketConn
	seq  uint16
}

// newPinger makes the namespace repeat ARP requests after 10 ms instead of a second, which would dominate the time of a
// new endpoint's first ping.
func newPinger(m *lab.Machine, ns string) (p *pinger, err error) {
	p = &pinger{}
	return p, within(m, ns, func() error {
		if err := os.WriteFile("/proc/sys/net/ipv4/neigh/eth0/retrans_time_ms", []byte("10"), 0); err != nil {
			return err
		}
		p.conn, err = net.ListenPacket("ip4:icmp", "0.0.0.0")
		return err
	})
}

func (p *pinger) close() { p.conn.Close() }

// until sends a request each millisecond until one is answered.
func (p *pinger) until(ctx context.Context, to netip.Addr) error {
	deadline := time.Now().Add(10 * time.Second)
	target := &net.IPAddr{IP: to.AsSlice()}
	buffer := make([]byte, 256)
	for ctx.Err() == nil && time.Now().Before(deadline) {
		p.seq++
		if _, err := p.conn.WriteTo(echoRequest(p.seq), target); err != nil {
			time.Sleep(time.Millisecond) // no route yet, for example
			continue
		}
		if err := p.conn.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
			return err
		}
		n, from, err := p.conn.ReadFrom(buffer)
		if err == nil && n >= 8 && buffer[0] == 0 && from.String() == to.String() {
			return nil
		}
	}
	return fmt.Errorf("%s does not answer", to)
}

func echoRequest(seq uint16) []byte {
	b := []byte{8, 0, 0, 0, 0x4f, 0x56, 0, 0}
	binary.BigEndian.PutUint16(b[6:], seq)
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	binary.BigEndian.PutUint16(b[2:], ^uint16(sum+sum>>16))
	return b
}
