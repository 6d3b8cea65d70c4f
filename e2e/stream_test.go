package e2e

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// stream is numbered datagrams, on each of several flows, from one place to another.
type stream struct {
	n    *network
	name string

	mu    sync.Mutex
	epoch uint32 // of the datagrams that count
	ended bool   // no more are sent of it
	sent  int
	flows [streamFlows]struct {
		received int
		last     time.Time
		gap      time.Duration
	}
}

const (
	streamFlows = 6
	streamEvery = pace * 10 * time.Millisecond
)

// manyServers are more addresses of the server, one for each flow: which passage a datagram takes depends on its addresses only.
func (n *network) manyServers() (addresses []string) {
	n.t.Helper()
	for i := range streamFlows {
		addresses = append(addresses, fmt.Sprintf("198.51.100.%d", 31+37*i))
		n.at("server", "ip", "address", "replace", addresses[i]+"/24", "dev", "eth0")
	}
	return addresses
}

// streaming sends for the rest of the test; places are paths of network namespaces, and flows go to the addresses in turn.
func (n *network) streaming(name, from, to string, port int, addresses ...string) *stream {
	n.t.Helper()
	s := &stream{n: n, name: name}
	var receiver net.PacketConn
	inNetns(n.t, to, func() (err error) {
		receiver, err = net.ListenPacket("udp4", fmt.Sprint(":", port))
		return err
	})
	n.t.Cleanup(func() { receiver.Close() })
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

func (s *stream) send(c net.Conn, flow int) {
	ticker := time.NewTicker(streamEvery)
	defer ticker.Stop()
	for s.n.t.Context().Err() == nil {
		s.mu.Lock()
		epoch := s.epoch
		if s.ended {
			epoch = 0
		} else {
			s.sent++
		}
		b := binary.BigEndian.AppendUint32([]byte{byte(flow)}, epoch)
		s.mu.Unlock()
		_, _ = c.Write(b) // an ICMP error about one before is no reason to stop
		<-ticker.C
	}
}

func (s *stream) receive(c net.PacketConn) {
	b := make([]byte, 64)
	for {
		n, _, err := c.ReadFrom(b)
		if err != nil {
			return
		}
		now := time.Now()
		s.mu.Lock()
		if flow := int(b[0]); n == 5 && flow < streamFlows && binary.BigEndian.Uint32(b[1:]) == s.epoch {
			f := &s.flows[flow]
			if !f.last.IsZero() {
				f.gap = max(f.gap, now.Sub(f.last))
			}
			f.received++
			f.last = now
		}
		s.mu.Unlock()
	}
}

// begin counts anew.
func (s *stream) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.epoch++
	s.ended, s.sent = false, 0
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
			if f.last.Before(asked) {
				return fmt.Errorf("flow %d does not", i)
			}
		}
		return nil
	})
}

// lost says how many datagrams since begin did not arrive, and the longest pause of any flow.
func (s *stream) lost() (lost, sent int, gap time.Duration) {
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	time.Sleep(300 * time.Millisecond) // those on their way
	s.mu.Lock()
	defer s.mu.Unlock()
	received := 0
	for _, f := range s.flows {
		received += f.received
		gap = max(gap, f.gap)
	}
	return s.sent - received, s.sent, gap
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
		time.Sleep(pace * 5 * time.Millisecond)
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

func (x *transfer) begin() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.gap = 0
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
