package ovs

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/overlane/overlane/openflow"
)

const readBuffer = 1 << 16

// read reads messages from the connection until it ends. It never waits for another goroutine.
func (s *Switch) read() {
	r := bufio.NewReaderSize(&patientReader{s: s}, readBuffer)
	for {
		m, xid, err := readMessage(r)
		if err != nil {
			s.fail(fmt.Errorf("read from switch: %w", err))
			return
		}
		s.take(xid, m)
	}
}

func readMessage(r *bufio.Reader) (openflow.Message, uint32, error) {
	header, err := r.Peek(openflow.HeaderLen)
	if err != nil {
		return nil, 0, err
	}
	n, err := openflow.Length(header)
	if err != nil {
		return nil, 0, err
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, 0, err
	}
	return openflow.Decode(b)
}

// take hands a message to the goroutine that waits for it.
func (s *Switch) take(xid uint32, m openflow.Message) {
	switch m := m.(type) {
	case openflow.Hello:
		if m.Versions != 0 && m.Versions&(1<<openflow.Version) == 0 {
			s.fail(errVersion)
		}
	case openflow.EchoRequest:
		s.sendAside(xid, openflow.EchoReply(m))
	case openflow.PacketIn:
		s.enqueue(m)
	case openflow.RequestForward:
		s.noteForward(m)
	case openflow.MonitorReply:
		s.noteUpdates(m)
		s.answer(xid, m)
	default:
		s.answer(xid, m)
	}
}

var errVersion = errors.New("the bridge does not speak OpenFlow 1.5: add OpenFlow15 to its protocols")

func (s *Switch) answer(xid uint32, m openflow.Message) {
	if e := s.exchangeFor(xid); e != nil {
		e.take(int(xid-e.first), m)
		return
	}
	if e, ok := m.(openflow.Error); ok {
		s.log.Warn("the switch refused a message", "reason", e, "xid", xid)
	}
}

// patientReader reads from the connection. After a silence it sends an echo request, and after another silence it gives
// up.
type patientReader struct{ s *Switch }

var errSilent = errors.New("the switch does not answer")

func (r *patientReader) Read(b []byte) (int, error) {
	for asked := false; ; asked = true {
		if err := r.s.conn.SetReadDeadline(time.Now().Add(r.s.config.Patience)); err != nil {
			return 0, err
		}
		n, err := r.s.conn.Read(b)
		if n > 0 || !isTimeout(err) {
			return n, err
		}
		if asked {
			return 0, fmt.Errorf("%w: silent for %s", errSilent, 2*r.s.config.Patience)
		}
		r.s.sendAside(0, openflow.EchoRequest{})
	}
}

func isTimeout(err error) bool {
	var e net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &e) && e.Timeout()
}
