package drill

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Mode peers load a path.
const (
	probeEvery   = 10 * time.Millisecond
	messageEvery = 50 * time.Millisecond
	ackedEvery   = 50 * time.Millisecond
	bulkRate     = 1 << 20 // bytes per second: a path that is full loses probes by itself
)

// Event is what a peer reports, as a line of JSON.
type Event struct {
	At    time.Time `json:"at"`
	What  string    `json:"what"` // of the constants below
	Flow  int       `json:"flow"` // number of the connection
	Seq   int       `json:"seq,omitempty"`
	Bytes uint64    `json:"bytes,omitempty"` // acked since the start
	Error string    `json:"error,omitempty"`
}

// What peers report: of the probe; of a connection; of the transfer.
const (
	probeSent    = "probe"
	probeBack    = "echo"
	probeFailed  = "probe-error"
	messageSent  = "message"
	messageBack  = "reply"
	broken       = "broken"
	bulkAcked    = "acked"
	bulkBroken   = "bulk-broken"
	answerListen = "listening"
)

// Modes of a connection, in its first byte.
const (
	modeEcho = 'e'
	modeSink = 's'
)

// reporter writes events; several goroutines may report.
type reporter struct {
	mu  sync.Mutex
	out *bufio.Writer
	to  *json.Encoder
}

// newReporter writes out what it has now and then, until ctx ends.
func newReporter(ctx context.Context, w io.Writer) *reporter {
	r := &reporter{out: bufio.NewWriter(w)}
	r.to = json.NewEncoder(r.out)
	go func() {
		for range every(ctx, ackedEvery/2) {
			r.flush()
		}
	}()
	return r
}

func (r *reporter) flush() {
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = r.out.Flush() // a reader that has gone ends this process by SIGPIPE
}

func (r *reporter) report(e Event) {
	e.At = time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = r.to.Encode(e)
}

// every gives the numbers of ticks until ctx ends.
func every(ctx context.Context, d time.Duration) func(func(int) bool) {
	return func(yield func(int) bool) {
		ticker := time.NewTicker(d)
		defer ticker.Stop()
		for n := 0; yield(n); n++ {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
		}
	}
}

// Answer sends back what comes to a port by UDP, and by TCP what is to be sent back, until ctx ends.
func Answer(ctx context.Context, port uint16, out io.Writer) error {
	at := netip.AddrPortFrom(netip.IPv4Unspecified(), port)
	packets, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(at))
	if err != nil {
		return err
	}
	defer packets.Close()
	listener, err := net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(at))
	if err != nil {
		return err
	}
	defer listener.Close()
	r := newReporter(ctx, out)
	r.report(Event{What: answerListen})
	go echoPackets(packets)
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go answerConnection(c)
		}
	}()
	<-ctx.Done()
	return nil
}

func echoPackets(c *net.UDPConn) {
	buffer := make([]byte, 64)
	for {
		n, from, err := c.ReadFromUDPAddrPort(buffer)
		if errors.Is(err, net.ErrClosed) {
			return
		} else if err == nil {
			_, _ = c.WriteToUDPAddrPort(buffer[:n], from) // an answer that cannot be sent is lost, like others
		}
	}
}

func answerConnection(c net.Conn) {
	defer c.Close()
	mode := make([]byte, 1)
	if _, err := io.ReadFull(c, mode); err != nil {
		return
	}
	if mode[0] == modeSink {
		_, _ = io.Copy(io.Discard, c)
	} else {
		_, _ = io.Copy(c, c)
	}
}

// Probe sends numbered packets to a port that answers, from a port of its own, until ctx ends.
func Probe(ctx context.Context, from uint16, to netip.AddrPort, out io.Writer) error {
	local := netip.AddrPortFrom(netip.IPv4Unspecified(), from)
	c, err := net.DialUDP("udp4", net.UDPAddrFromAddrPort(local), net.UDPAddrFromAddrPort(to))
	if err != nil {
		return err
	}
	defer c.Close()
	r := newReporter(ctx, out)
	defer r.flush()
	go func() {
		buffer := make([]byte, 64)
		for {
			n, err := c.Read(buffer)
			switch {
			case err == nil && n == 8:
				r.report(Event{What: probeBack, Seq: int(binary.BigEndian.Uint64(buffer))})
			case err != nil && errors.Is(err, net.ErrClosed):
				return
			case err != nil: // of ICMP
				r.report(Event{What: probeFailed, Error: err.Error()})
			}
		}
	}()
	for seq := range every(ctx, probeEvery) {
		r.report(Event{What: probeSent, Seq: seq})
		if _, err := c.Write(binary.BigEndian.AppendUint64(nil, uint64(seq))); err != nil {
			r.report(Event{What: probeFailed, Error: err.Error()})
		}
	}
	return nil
}

// Talk keeps connections to a port that answers: some that each want an answer to every message, and one that sends all
// it may, until ctx ends.
func Talk(ctx context.Context, to netip.AddrPort, connections int, out io.Writer) error {
	r := newReporter(ctx, out)
	defer r.flush()
	var all sync.WaitGroup
	for n := range connections {
		all.Go(func() {
			if err := r.converse(ctx, n, to); err != nil && ctx.Err() == nil {
				r.report(Event{What: broken, Flow: n, Error: err.Error()})
			}
		})
	}
	all.Go(func() {
		if err := r.transfer(ctx, to); err != nil && ctx.Err() == nil {
			r.report(Event{What: bulkBroken, Error: err.Error()})
		}
	})
	all.Wait()
	return nil
}

// Flood keeps connections to a port that answers, which send all that they can, until ctx ends.
func Flood(ctx context.Context, to netip.AddrPort, connections int) error {
	failed := make(chan error, connections)
	for range connections {
		go func() { failed <- flood(ctx, to) }()
	}
	var err error
	for range connections {
		err = errors.Join(err, <-failed)
	}
	return err
}

func flood(ctx context.Context, to netip.AddrPort) error {
	c, err := dial(ctx, to, modeSink)
	if err == nil {
		defer c.Close()
	}
	for buffer := make([]byte, 64<<10); err == nil; {
		_, err = c.Write(buffer)
	}
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("flood %s: %w", to, err)
}

// dial connects, and ends the connection with ctx.
func dial(ctx context.Context, to netip.AddrPort, mode byte) (*net.TCPConn, error) {
	d := net.Dialer{Timeout: 5 * time.Second}
	c, err := d.DialContext(ctx, "tcp4", to.String())
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { c.Close() })
	_, err = c.Write([]byte{mode})
	return c.(*net.TCPConn), err
}

func (r *reporter) converse(ctx context.Context, number int, to netip.AddrPort) error {
	c, err := dial(ctx, to, modeEcho)
	if err != nil {
		return err
	}
	defer c.Close()
	heard := make(chan error, 1)
	go func() { heard <- r.hear(c, number) }()
	for seq := range every(ctx, messageEvery) {
		select {
		case err := <-heard:
			return err
		default:
		}
		r.report(Event{What: messageSent, Flow: number, Seq: seq})
		if _, err := c.Write(binary.BigEndian.AppendUint64(nil, uint64(seq))); err != nil {
			return err
		}
	}
	return nil
}

func (r *reporter) hear(c net.Conn, number int) error {
	for buffer := make([]byte, 8); ; {
		if _, err := io.ReadFull(c, buffer); err != nil {
			return err
		}
		r.report(Event{What: messageBack, Flow: number, Seq: int(binary.BigEndian.Uint64(buffer))})
	}
}

func (r *reporter) transfer(ctx context.Context, to netip.AddrPort) error {
	c, err := dial(ctx, to, modeSink)
	if err != nil {
		return err
	}
	defer c.Close()
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	if err := onSocket(raw, func(fd int) error {
		return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MAX_PACING_RATE, bulkRate)
	}); err != nil {
		return fmt.Errorf("pace the transfer: %w", err)
	}
	go func() {
		for range every(ctx, ackedEvery) {
			if err := onSocket(raw, r.reportAcked); err != nil {
				return // it is closed, which the writer tells of
			}
		}
	}()
	for buffer := make([]byte, 16<<10); ; {
		if _, err := c.Write(buffer); err != nil {
			return err
		}
	}
}

func (r *reporter) reportAcked(fd int) error {
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err == nil {
		r.report(Event{What: bulkAcked, Bytes: info.Bytes_acked})
	}
	return err
}

func onSocket(raw syscall.RawConn, f func(fd int) error) (err error) {
	if failed := raw.Control(func(fd uintptr) { err = f(int(fd)) }); failed != nil {
		return failed
	}
	return err
}
