package e2e

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/overlane/overlane/lab/labtest"
)

// stream is numbered datagrams, on each of several flows, from one place to another.
type stream struct {
	n    *network
	name string

	mu    sync.Mutex
	epoch uint32 // of the datagrams that count; 0 is for those that do not
	ended bool   // no more are sent of it
	flows [streamFlows][]labtest.Packet
	later [streamFlows]bool // a datagram has come that was sent after the end
}

const (
	streamFlows = 6
	streamEvery = pace * 10 * time.Millisecond
)

// manyServers are more addresses of the server, one for each flow: which passage a datagram takes depends on its
// addresses only.
func (n *network) manyServers() (addresses []string) {
	n.t.Helper()
	for i := range streamFlows {
		addresses = append(addresses, fmt.Sprintf("198.51.100.%d", 31+37*i))
		n.at("server", "ip", "address", "replace", addresses[i]+"/24", "dev", "eth0")
	}
	return addresses
}

// streaming sends for the rest of the test; places are paths of network namespaces, and flows go to the addresses in
// turn.
func (n *network) streaming(name, from, to string, port int, addresses ...string) *stream {
	n.t.Helper()
	s := &stream{n: n, name: name, epoch: 1}
	var receiver net.PacketConn
	inNetns(n.t, to, func() (err error) {
		receiver, err = net.ListenPacket("udp4", fmt.Sprint(":", port))
		return err
	})
	n.t.Cleanup(func() { receiver.Close() })
	widen(n.t, receiver.(syscall.Conn))
	go s.receive(receiver)
	for i := range streamFlows {
		var sender net.Conn
		inNetns(n.t, from, func() (err error) {
			sender, err = net.Dial("udp4", net.JoinHostPort(addresses[i%len(addresses)], fmt.Sprint(port)))
			return err
		})
		n.t.Cleanup(func() { sender.Close() })
		go s.send(sender, i)
	}
	return s
}

// widen gives a socket room for what comes while this process does not run.
func widen(t testing.TB, c syscall.Conn) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) {
			if err := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20); err != nil {
				t.Error(err)
			}
		})
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (s *stream) send(c net.Conn, flow int) {
	ticker := time.NewTicker(streamEvery)
	defer ticker.Stop()
	for s.n.t.Context().Err() == nil {
		_, _ = c.Write(s.next(flow)) // an ICMP error about one before is no reason to stop
		<-ticker.C
	}
}

// next is the payload of a flow's next datagram: flow, epoch, number.
func (s *stream) next(flow int) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	epoch, number := s.epoch, len(s.flows[flow])
	if s.ended {
		epoch = 0
	} else {
		s.flows[flow] = append(s.flows[flow], labtest.Packet{Sent: time.Now()})
	}
	b := binary.BigEndian.AppendUint32([]byte{byte(flow)}, epoch)
	return binary.BigEndian.AppendUint32(b, uint32(number))
}

func (s *stream) receive(c net.PacketConn) {
	b := make([]byte, 64)
	for {
		n, _, err := c.ReadFrom(b)
		if err != nil {
			return
		}
		if n == 9 {
			s.came(int(b[0]), binary.BigEndian.Uint32(b[1:]), int(binary.BigEndian.Uint32(b[5:])))
		}
	}
}

func (s *stream) came(flow int, epoch uint32, number int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case flow >= streamFlows:
	case epoch == 0:
		s.later[flow] = true
	case epoch == s.epoch && number < len(s.flows[flow]):
		s.flows[flow][number].Came = time.Now()
	}
}

func (s *stream) String() string { return s.name }

// Begin counts anew.
func (s *stream) Begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.epoch++
	s.ended = false
	clear(s.flows[:])
}

// flowing waits until every flow arrives.
func (s *stream) flowing() {
	s.n.t.Helper()
	asked := time.Now()
	s.n.eventually(s.name+" flows", func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		for i, f := range s.flows {
			if !slices.ContainsFunc(f, func(p labtest.Packet) bool { return p.Came.After(asked) }) {
				return fmt.Errorf("flow %d does not", i)
			}
		}
		return nil
	})
}

// End says what of that did not arrive. A datagram is on its way until a later one has overtaken it, since a busy
// machine stands still for a second now and then.
func (s *stream) End() labtest.Loss {
	s.mu.Lock()
	s.ended = true
	clear(s.later[:])
	s.mu.Unlock()
	for deadline := time.Now().Add(lateAnswer); !s.overtaken() && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	time.Sleep(300 * time.Millisecond) // a flow may have changed its path
	s.mu.Lock()
	defer s.mu.Unlock()
	var l labtest.Loss
	for _, f := range s.flows {
		l.Add(f)
	}
	return l
}

// overtaken tells that of each flow a datagram has come that was sent after the end.
func (s *stream) overtaken() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !slices.Contains(s.later[:], false)
}

// transfer is a TCP connection over which bytes come all the time.
type transfer struct {
	n    *network
	name string

	mu   sync.Mutex
	last time.Time
	gap  time.Duration
	err  error // by which it has ended
}

// transferEvery leaves the processors idle now and then: a dozen transfers of a chunk each 5 ms keep two of them busy
// by themselves.
const transferEvery = pace * 20 * time.Millisecond

// transferring sends for the rest of the test.
func (n *network) transferring(name, from, to, address string, port int) *transfer {
	n.t.Helper()
	x := &transfer{n: n, name: name}
	var listener net.Listener
	var sender net.Conn
	inNetns(n.t, to, func() (err error) {
		listener, err = net.Listen("tcp4", fmt.Sprint(":", port))
		return err
	})
	inNetns(n.t, from, func() (err error) {
		sender, err = net.DialTimeout("tcp4", net.JoinHostPort(address, fmt.Sprint(port)), patience)
		return err
	})
	receiver, err := listener.Accept()
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { listener.Close(); sender.Close(); receiver.Close() })
	go x.send(sender)
	go x.receive(receiver)
	return x
}

// send writes a byte stream that counts.
func (x *transfer) send(c net.Conn) {
	var next byte
	chunk := make([]byte, 1000)
	for x.n.t.Context().Err() == nil {
		for i := range chunk {
			chunk[i] = next
			next++
		}
		if _, err := c.Write(chunk); err != nil {
			x.end(err)
			return
		}
		time.Sleep(transferEvery)
	}
}

func (x *transfer) receive(c net.Conn) {
	var want byte
	b := make([]byte, 4096)
	for {
		n, err := c.Read(b)
		if err != nil {
			x.end(err)
			return
		}
		for _, got := range b[:n] {
			if got != want {
				x.end(fmt.Errorf("got byte %d, want %d", got, want))
				return
			}
			want++
		}
		now := time.Now()
		x.mu.Lock()
		if !x.last.IsZero() {
			x.gap = max(x.gap, now.Sub(x.last))
		}
		x.last = now
		x.mu.Unlock()
	}
}

func (x *transfer) end(err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.err == nil && !errors.Is(err, io.EOF) {
		x.err = err
	}
}

func (x *transfer) String() string { return x.name }

// Begin has the pauses counted anew. TCP loses nothing; whether it lasts is for alive to say.
func (x *transfer) Begin() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.gap = 0
}

// End says how long the longest pause was.
func (x *transfer) End() labtest.Loss {
	x.mu.Lock()
	defer x.mu.Unlock()
	return labtest.Loss{Pause: x.gap}
}

// alive wants that bytes still come.
func (x *transfer) alive() {
	x.n.t.Helper()
	asked := time.Now()
	x.n.eventually(x.name+" goes on", func() error {
		x.mu.Lock()
		defer x.mu.Unlock()
		if x.err != nil {
			x.n.t.Fatalf("%s: %v", x.name, x.err)
		}
		if x.last.Before(asked) {
			return fmt.Errorf("nothing since %s", x.last.Format(clock))
		}
		return nil
	})
}

// watching is traffic that goes on.
type watching struct {
	n         *network
	streams   []*stream
	transfers []*transfer
}

func (w *watching) watch() labtest.Watch {
	watch := labtest.Watch{Lab: w.n.Lab, Recover: w.recover}
	for _, s := range w.streams {
		watch.Loads = append(watch.Loads, s)
	}
	for _, x := range w.transfers {
		watch.Loads = append(watch.Loads, x)
	}
	return watch
}

// recover waits until all flows.
func (w *watching) recover() {
	w.n.t.Helper()
	for _, s := range w.streams {
		s.flowing()
	}
	for _, x := range w.transfers {
		x.alive()
	}
	w.n.Log().Info("BFD", "host", "host1", "status", strings.Fields(w.n.on("host1", "ovs-vsctl", "--bare", "--columns=bfd_status", "find", "interface", "type=vxlan")))
}

// during does something that loses packets, waits until all flows again, and prints what was lost.
func (w *watching) during(what string, do func()) {
	w.n.t.Helper()
	w.n.Log().Info(what, "lost", w.watch().Measure(w.n.t, labtest.Event{What: what, Do: do}))
}

// lossless does what loses none, and may be done again.
func (w *watching) lossless(circle ...labtest.Event) {
	w.n.t.Helper()
	w.watch().Lossless(w.n.t, circle...)
}
