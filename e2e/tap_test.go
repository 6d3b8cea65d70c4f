package e2e

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/vishvananda/netns"
	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"github.com/overlane/overlane/lab/labtest"
)

// inNetns runs a function on a thread that is in a network namespace, and that nobody uses afterwards. Sockets it opens
// stay there.
func inNetns(t testing.TB, path string, f func() error) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		ns, err := netns.GetFromPath(path)
		if err == nil {
			defer ns.Close()
			err = netns.Set(ns)
		}
		if err == nil {
			err = f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatalf("in %s: %v", path, err)
	}
}

// tap is a raw socket on an interface: what is seen there, and what somebody with bad intentions can send.
type tap struct {
	t    testing.TB
	file *os.File
	mac  net.HardwareAddr
}

// inside is the path of a network namespace's file, as this process sees it.
func (n *network) inside(host, netns string) string {
	return n.Host(host).Root() + "/run/netns/" + netns
}

// uplink is a host's wire to the underlay.
func (n *network) uplink(host string) *tap { return openTap(n.t, n.Host(host).Netns(), "eth0") }

// tapOf is that of an endpoint in a namespace.
func (n *network) tapOf(host, netns string) *tap {
	return openTap(n.t, n.inside(host, netns), "eth0")
}

func openTap(t testing.TB, path, name string) *tap {
	t.Helper()
	w := &tap{t: t}
	inNetns(t, path, func() error {
		i, err := net.InterfaceByName(name)
		if err != nil {
			return err
		}
		w.mac = i.HardwareAddr
		all := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, unix.ETH_P_ALL))
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, int(all))
		if err != nil {
			return err
		}
		w.file = os.NewFile(uintptr(fd), name)
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: i.Index})
	})
	t.Cleanup(func() { w.file.Close() })
	return w
}

// send sends a frame.
func (w *tap) send(frame []byte) {
	w.t.Helper()
	if _, err := w.file.Write(frame); err != nil {
		w.t.Fatalf("send %d bytes: %v", len(frame), err)
	}
}

// recording is what a tap has seen since it was begun.
type recording struct {
	mu     sync.Mutex
	frames [][]byte
}

func (w *tap) record() *recording {
	r := &recording{}
	go func() {
		buffer := make([]byte, 1<<16)
		for {
			n, err := w.file.Read(buffer)
			if errors.Is(err, os.ErrClosed) {
				return
			}
			if err == nil {
				r.mu.Lock()
				r.frames = append(r.frames, bytes.Clone(buffer[:n]))
				r.mu.Unlock()
			}
		}
	}()
	return r
}

// all are the frames seen up to now.
func (r *recording) all() [][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.frames[:len(r.frames):len(r.frames)]
}

// ipv4 are the IPv4 packets among the frames.
func (r *recording) ipv4() iter.Seq2[*layers.Ethernet, *layers.IPv4] {
	return func(yield func(*layers.Ethernet, *layers.IPv4) bool) {
		for _, f := range r.all() {
			p := gopacket.NewPacket(f, layers.LayerTypeEthernet, gopacket.NoCopy)
			ethernet, _ := p.LinkLayer().(*layers.Ethernet)
			if ip, ok := p.NetworkLayer().(*layers.IPv4); ok && !yield(ethernet, ip) {
				return
			}
		}
	}
}

// count counts the frames that contain a text.
func (r *recording) count(text string) int { return len(r.with(text)) }

// with gives the frames that contain a text, but not the errors of ICMP that quote it.
func (r *recording) with(text string) (found []gopacket.Packet) {
	for _, f := range r.all() {
		if bytes.Contains(f, []byte(text)) && !unreachable(f) {
			found = append(found, gopacket.NewPacket(f, layers.LayerTypeEthernet, gopacket.NoCopy))
		}
	}
	return found
}

func unreachable(f []byte) bool {
	p := gopacket.NewPacket(f, layers.LayerTypeEthernet, gopacket.NoCopy)
	i, ok := p.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4)
	return ok && i.TypeCode.Type() == layers.ICMPv4TypeDestinationUnreachable
}

// inVNI counts VXLAN packets of a VNI.
func (r *recording) inVNI(vni uint32) (n int) {
	for _, f := range r.all() {
		p := gopacket.NewPacket(f, layers.LayerTypeEthernet, gopacket.NoCopy)
		if v, ok := p.Layer(layers.LayerTypeVXLAN).(*layers.VXLAN); ok && v.VNI == vni {
			n++
		}
	}
	return n
}

// frame puts layers together, with the lengths and checksums that belong to them.
func frame(t testing.TB, parts ...gopacket.SerializableLayer) []byte {
	t.Helper()
	var network gopacket.NetworkLayer
	for _, p := range parts {
		switch l := p.(type) {
		case *layers.IPv4:
			network = l
		case *layers.UDP:
			if err := l.SetNetworkLayerForChecksum(network); err != nil {
				t.Fatal(err)
			}
		}
	}
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, parts...); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// hop is who sends a frame to whom, in numbers.
type hop struct {
	srcMAC, dstMAC string
	src, dst       string
}

func mac(s string) net.HardwareAddr {
	m, err := net.ParseMAC(s)
	if err != nil {
		panic(err)
	}
	return m
}

func addr(s string) net.IP { return netip.MustParseAddr(s).AsSlice() }

// datagram is a UDP packet with a payload.
func datagram(t testing.TB, h hop, port uint16, payload []byte) []byte {
	t.Helper()
	return datagramFrom(t, 54321, h, port, payload)
}

func datagramFrom(t testing.TB, from uint16, h hop, port uint16, payload []byte) []byte {
	t.Helper()
	return frame(t,
		&layers.Ethernet{SrcMAC: mac(h.srcMAC), DstMAC: mac(h.dstMAC), EthernetType: layers.EthernetTypeIPv4},
		&layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: addr(h.src), DstIP: addr(h.dst)},
		&layers.UDP{SrcPort: layers.UDPPort(from), DstPort: layers.UDPPort(port)},
		gopacket.Payload(payload))
}

const vxlanPort = 4789

// vxlan is the payload of a datagram that carries a frame (RFC 7348 section 5).
func vxlan(vni uint32, inner []byte) []byte {
	b := []byte{0x08, 0, 0, 0}
	b = binary.BigEndian.AppendUint32(b, vni<<8)
	return append(b, inner...)
}

// arp is an ARP packet: who claims to be at which MAC, and asks or tells whom.
func arp(t testing.TB, operation uint16, srcMAC, senderMAC, sender, target string) []byte {
	t.Helper()
	return frame(t,
		&layers.Ethernet{SrcMAC: mac(srcMAC), DstMAC: layers.EthernetBroadcast, EthernetType: layers.EthernetTypeARP},
		&layers.ARP{AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4, Operation: operation,
			SourceHwAddress: mac(senderMAC), SourceProtAddress: addr(sender), DstHwAddress: make([]byte, 6), DstProtAddress: addr(target)})
}

// pings asks every 10 ms until it is stopped, and counts.
type pings struct {
	t       testing.TB
	name    string
	stopped chan struct{}
	once    sync.Once

	mu      sync.Mutex
	packets []labtest.Packet // by number, of which echoes have the last 16 bits
	from    int              // the first that counts
}

// pinging pings an address from a namespace of a host, from now on, and returns when the hosts have settled: before,
// pings may be lost (docs/operations.md, "What can be lost, and when").
func (n *network) pinging(host, netns, to string) *pings {
	n.t.Helper()
	p := &pings{t: n.t, name: fmt.Sprintf("pings from %s on %s to %s", netns, host, to), stopped: make(chan struct{})}
	var socket net.PacketConn
	inNetns(n.t, n.inside(host, netns), func() (err error) {
		socket, err = net.ListenPacket("ip4:icmp", "0.0.0.0")
		return err
	})
	n.t.Cleanup(func() {
		p.stop()
		socket.Close()
	})
	go p.receive(socket)
	go p.send(socket, &net.IPAddr{IP: addr(to)})
	p.more(150)
	n.settled()
	p.more(10)
	return p
}

// lossless wants every answer, be it late, to pings while something is done that cannot be done again.
func (n *network) lossless(running []*pings, do func()) {
	n.t.Helper()
	w := labtest.Watch{Lab: n.Lab}
	for _, p := range running {
		w.Loads = append(w.Loads, p)
	}
	w.LosslessOnce(n.t, labtest.Event{What: "all that was done", Do: do})
	for _, p := range running {
		p.stop()
	}
}

// settled waits until the interfaces that have come have done changing: the kernel tells up to a second later that a
// link is up, which pings before this pass the time for, and up to two seconds later that nobody else has its IPv6
// address. ovs-vswitchd reads its routes anew at both.
func (n *network) settled() {
	n.t.Helper()
	for _, h := range n.Hosts() {
		n.eventually(h.Name+" has settled", func() error {
			tentative, err := h.Exec(n.t.Context(), "ip", "-6", "-o", "addr", "show", "tentative")
			return errors.Join(err, errIf(tentative != ""))
		})
	}
}

func (p *pings) String() string { return p.name }

// Begin counts anew.
func (p *pings) Begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.from = len(p.packets)
}

// End says which of the pings since Begin have not been answered, not even late.
func (p *pings) End() (l labtest.Loss) {
	p.mu.Lock()
	until := len(p.packets)
	p.mu.Unlock()
	for deadline := time.Now().Add(lateAnswer); ; time.Sleep(10 * time.Millisecond) {
		p.mu.Lock()
		flow := slices.Clone(p.packets[p.from:until])
		p.mu.Unlock()
		l = labtest.Loss{}
		if l.Add(flow); l.Lost == 0 || time.Now().After(deadline) {
			return l
		}
	}
}

// lateAnswer is how long an answer may take.
const lateAnswer = 10 * time.Second

const pingID = 0x4f56

func (p *pings) send(socket net.PacketConn, to net.Addr) {
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for !p.isStopped() {
		<-ticker.C
		p.mu.Lock()
		seq := len(p.packets) & 0xffff
		p.packets = append(p.packets, labtest.Packet{Sent: time.Now()})
		p.mu.Unlock()
		m := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: pingID, Seq: seq, Data: []byte(strings.Repeat("e2e", 16))}}
		packet, err := m.Marshal(nil)
		if err == nil {
			_, err = socket.WriteTo(packet, to)
		}
		if err != nil && !p.isStopped() {
			p.t.Errorf("ping %d: %v", seq, err)
			return
		}
	}
}

func (p *pings) receive(socket net.PacketConn) {
	buffer := make([]byte, 1500)
	for {
		n, _, err := socket.ReadFrom(buffer)
		if err != nil {
			return
		}
		m, err := icmp.ParseMessage(1, buffer[:n])
		if err != nil || m.Type != ipv4.ICMPTypeEchoReply {
			continue
		}
		if e := m.Body.(*icmp.Echo); e.ID == pingID {
			p.answered(e.Seq)
		}
	}
}

// answered notes the answer to the last ping of a number.
func (p *pings) answered(seq int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := len(p.packets) - 1
	if i := last - (last-seq)&0xffff; i >= 0 && p.packets[i].Came.IsZero() {
		p.packets[i].Came = time.Now()
	}
}

func (p *pings) sent() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.packets)
}

// clock is how times are logged, to find what has happened when packets were lost.
const clock = "15:04:05.000"

// more waits until so many more were sent.
func (p *pings) more(n int) {
	p.t.Helper()
	before := p.sent()
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		if p.sent() >= before+n {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	p.t.Fatalf("no %d pings were sent in %s", n, patience)
}

func (p *pings) isStopped() bool {
	select {
	case <-p.stopped:
		return true
	default:
		return false
	}
}

func (p *pings) stop() { p.once.Do(func() { close(p.stopped) }) }
