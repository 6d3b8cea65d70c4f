package ovs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/overlane/overlane/openflow"
)

// SwitchConfig says how to reach a bridge, and where packets and log lines go.
type SwitchConfig struct {
	Socket string // the bridge's management socket: RUNDIR/BRIDGE.mgmt
	Log    *slog.Logger

	// PacketIn is called for every packet that a flow sends to the controller, one at a time. While it runs, up to 256
	// more packets wait; further packets are dropped and counted. It may be nil.
	PacketIn func(PacketIn)

	// Patience is how long the switch may be silent before an echo request is sent, and then again before the
	// connection is closed. Zero means 5 seconds.
	Patience time.Duration
}

const (
	switchPatience = 5 * time.Second
	queueLen       = 256
)

// Switch is an OpenFlow connection to one bridge. Its methods may be called from any goroutine. It is never repaired:
// when [Switch.Done] is closed, dial a new one and read the switch back.
type Switch struct {
	config SwitchConfig
	log    *slog.Logger
	conn   net.Conn

	turn     chan struct{} // holds a token while a goroutine writes
	applying chan struct{} // holds a token while a change is being applied

	mu        sync.Mutex
	exchanges []*exchange
	nextXID   uint32

	bundles atomic.Uint32 // bundle IDs given out
	ours    *keySet       // keys of flows that we have made or found, to detect drift
	drift   chan DriftEvent
	queue   chan openflow.PacketIn
	dropped atomic.Uint64

	end  sync.Once
	done chan struct{}
	err  error // why done is closed
}

// ErrClosed is the cause of Err after Close.
var ErrClosed = errors.New("connection closed")

// Dial connects to a bridge and subscribes to packets for the controller, and to changes of flows, groups and meters by
// others.
func Dial(ctx context.Context, config SwitchConfig) (*Switch, error) {
	if config.Patience == 0 {
		config.Patience = switchPatience
	}
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	s, err := dial(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("connect to switch %s: %w", config.Socket, err)
	}
	return s, nil
}

func dial(ctx context.Context, config SwitchConfig) (*Switch, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", config.Socket)
	if err != nil {
		return nil, err
	}
	s := &Switch{
		config: config, log: config.Log, conn: conn,
		turn: make(chan struct{}, 1), applying: make(chan struct{}, 1),
		ours: newKeySet(), drift: make(chan DriftEvent, 1), queue: make(chan openflow.PacketIn, queueLen),
		done: make(chan struct{}),
	}
	go s.read()
	go s.deliver()
	if err := s.greet(ctx); err != nil {
		s.fail(err)
		return nil, err
	}
	return s, nil
}

// greet agrees on the version and sets the connection up.
func (s *Switch) greet(ctx context.Context) error {
	_, err := s.ask(ctx,
		openflow.Hello{Versions: 1 << openflow.Version},
		openflow.SetPacketInFormat{},
		openflow.SetConfig{MissSendLen: 0xffff},
		openflow.SetAsync{PacketIn: openflow.AllPacketIn, RequestForward: openflow.AllRequestForward},
		openflow.MonitorRequest{
			ID: 1, Table: openflow.AllTables,
			Flags: openflow.MonitorAdd | openflow.MonitorRemoved | openflow.MonitorModify,
		})
	return err
}

// Dropped is how many packets were dropped because PacketIn was too slow.
func (s *Switch) Dropped() uint64 { return s.dropped.Load() }

// Done is closed when the connection has ended; Err then says why.
func (s *Switch) Done() <-chan struct{} { return s.done }

// Err is nil until Done is closed.
func (s *Switch) Err() error {
	select {
	case <-s.done:
		return s.err
	default:
		return nil
	}
}

// Close ends the connection. The switch keeps its flows, groups and meters.
func (s *Switch) Close() { s.fail(ErrClosed) }

func (s *Switch) fail(err error) {
	s.end.Do(func() {
		s.err = err
		close(s.done)
		s.conn.Close()
	})
}
