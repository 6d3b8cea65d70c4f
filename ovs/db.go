// Package ovs is the only one that talks to Open vSwitch: it reads the database (OVSDB, type [DB]) and the flows of one
// bridge (OpenFlow, type [Switch]), and applies changes to them. It decides nothing about packets, runs no OVS tool,
// and never changes rows or flows that are not marked as Overlane's.
package ovs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"github.com/ovn-kubernetes/libovsdb/cache"
	"github.com/ovn-kubernetes/libovsdb/client"
	"github.com/ovn-kubernetes/libovsdb/model"

	"github.com/overlane/overlane/internal/backoff"
	"github.com/overlane/overlane/ovs/vswitch"
)

// Every call has a deadline, whether or not its caller gave one.
const (
	callTimeout = 10 * time.Second // of a change, with the wait for ovs-vswitchd; its first bridge takes it some 100 ms
	echoEvery   = 3 * time.Second
	echoTimeout = 2 * time.Second
	redialTime  = 5 * time.Second // of one attempt to connect again
	redialPause = 200 * time.Millisecond
)

// ErrNotConnected is the cause when ovsdb-server is away.
var ErrNotConnected = errors.New("not connected to ovsdb-server")

// Config says which Open vSwitch.
type Config struct {
	Socket string // unix socket of ovsdb-server, as in /var/run/openvswitch/db.sock
	Log    *slog.Logger
}

// DB is Open vSwitch's configuration database: a local copy of the columns that Overlane uses, and transactions. It
// reconnects by itself; until then, reads give the last known rows, and changes fail at once with [ErrNotConnected].
// Its methods may be called from any goroutine.
type DB struct {
	config  Config
	stop    context.CancelFunc
	stopped chan struct{}

	session atomic.Pointer[session] // the last one, connected or not
	up      atomic.Bool

	ensuring sync.Mutex
	bridge   atomic.Pointer[string] // of the layout that was ensured last
	numbers  numbers

	ports   atomic.Pointer[portList] // the last result of Ports
	changes atomic.Uint64            // counts them

	changed chan struct{}
	mu      sync.Mutex
	wake    chan struct{} // closed and replaced at every change
}

// session is one connection. libovsdb could reconnect by itself, but then it calls itself connected while the server is
// gone, and it purges and refills its copy without telling; so each connection gets a client of its own, which is
// looked at only when it is complete.
type session struct {
	client client.Client
	rows   *cache.TableCache // stays readable when the connection is gone
}

// Open connects and reads the database. It fails if that does not work within ctx.
func Open(ctx context.Context, c Config) (*DB, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	run, stop := context.WithCancel(context.Background())
	db := &DB{config: c, stop: stop, stopped: make(chan struct{}), changed: make(chan struct{}, 1), wake: make(chan struct{})}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	s, err := db.dial(ctx)
	if err != nil {
		stop()
		return nil, err
	}
	db.use(s)
	go db.run(run, s)
	return db, nil
}

// Close ends the connection. The database stays as it is.
func (db *DB) Close() error {
	db.stop()
	<-db.stopped
	return nil
}

// Changed receives when bridges, ports or the connection have changed since the last receive; the caller reads them to
// find out which.
func (db *DB) Changed() <-chan struct{} { return db.changed }

// Connected reports whether ovsdb-server answers. It notices a server that hangs after at most five seconds.
func (db *DB) Connected() bool { return db.up.Load() }

// dial makes a complete session.
func (db *DB) dial(ctx context.Context) (*session, error) {
	dbModel, err := vswitch.FullDatabaseModel()
	if err != nil {
		return nil, err
	}
	log := logr.FromSlogHandler(db.config.Log.Handler()) // libovsdb has no other way to report some errors
	c, err := client.NewOVSDBClient(dbModel, client.WithEndpoint("unix:"+db.config.Socket), client.WithLogger(&log))
	if err != nil {
		return nil, fmt.Errorf("connect to ovsdb-server: %w", err)
	}
	if err := c.Connect(ctx); err != nil {
		return nil, fmt.Errorf("connect to ovsdb-server at %s: %w", db.config.Socket, err)
	}
	s := &session{c, c.Cache()}
	s.rows.AddEventHandler(&cache.EventHandlerFuncs{
		AddFunc:    func(table string, _ model.Model) { db.notifyOf(table) },
		UpdateFunc: func(table string, _, _ model.Model) { db.notifyOf(table) },
		DeleteFunc: func(table string, _ model.Model) { db.notifyOf(table) },
	})
	if _, err := c.Monitor(ctx, monitor(c)); err != nil {
		c.Close()
		return nil, fmt.Errorf("read the database of ovsdb-server: %w", err)
	}
	return s, nil
}

// monitor names the columns of package vswitch. MonitorAll would send all of the server's, which libovsdb chokes on,
// and among them statistics, which change every five seconds.
func monitor(c client.Client) *client.Monitor {
	root, b, p, i, t := &vswitch.OpenvSwitch{}, &vswitch.Bridge{}, &vswitch.Port{}, &vswitch.Interface{}, &vswitch.FlowTable{}
	return c.NewMonitor(
		client.WithTable(root, &root.Bridges, &root.CurCfg, &root.NextCfg),
		client.WithTable(b, &b.Name, &b.Ports, &b.DatapathType, &b.FailMode, &b.Protocols, &b.FlowTables, &b.ExternalIDs, &b.OtherConfig),
		client.WithTable(p, &p.Name, &p.Interfaces, &p.ExternalIDs),
		client.WithTable(i, &i.Name, &i.Type, &i.Options, &i.Ofport, &i.OfportRequest, &i.Error, &i.ExternalIDs, &i.Ifindex,
			&i.MAC, &i.MTURequest, &i.BFD, &i.BFDStatus),
		client.WithTable(t, &t.Name, &t.ExternalIDs))
}

func (db *DB) use(s *session) {
	db.session.Store(s)
	db.up.Store(true)
	db.notify()
}

// notifyOf announces a change of a table. Only the waiters of await need to know that a configuration was applied, which
// is all that changes in table Open_vSwitch while the bridges stay.
func (db *DB) notifyOf(table string) {
	if table == vswitch.OpenvSwitchTable {
		db.wakeWaiters()
		return
	}
	db.notify()
}

// notify announces a change to the receiver of Changed and to the waiters of await.
func (db *DB) notify() {
	db.changes.Add(1)
	select {
	case db.changed <- struct{}{}:
	default:
	}
	db.wakeWaiters()
}

func (db *DB) wakeWaiters() {
	db.mu.Lock()
	defer db.mu.Unlock()
	close(db.wake)
	db.wake = make(chan struct{})
}

func (db *DB) nextChange() <-chan struct{} {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.wake
}

// run watches the connection, and makes a new one when it is lost.
func (db *DB) run(ctx context.Context, s *session) {
	defer close(db.stopped)
	for s != nil {
		err := s.watch(ctx)
		db.up.Store(false)
		go s.client.Close() // which may block if the server has stopped reading
		if ctx.Err() != nil {
			return
		}
		db.config.Log.Warn("connection to ovsdb-server lost", "socket", db.config.Socket, "err", err)
		db.notify()
		s = db.redial(ctx)
	}
}

// watch returns when the connection is gone, or when the server does not answer. libovsdb reports a lost connection
// only to a receiver that is ready at that moment, so an echo finds a loss that was missed.
func (s *session) watch(ctx context.Context) error {
	ticker := time.NewTicker(echoEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.client.DisconnectNotify():
			return errors.New("closed by the server")
		case <-ticker.C:
			if err := s.echo(ctx); err != nil {
				return fmt.Errorf("no answer to an echo: %w", err)
			}
		}
	}
}

func (s *session) echo(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, echoTimeout)
	defer cancel()
	return s.client.Echo(ctx)
}

// redial returns nil when ctx ends.
func (db *DB) redial(ctx context.Context) *session {
	for pause := (backoff.Backoff{First: redialPause, Most: redialPause}); pause.Wait(ctx); {
		attempt, cancel := context.WithTimeout(ctx, redialTime)
		s, err := db.dial(attempt)
		cancel()
		if err == nil {
			db.config.Log.Info("connected to ovsdb-server again", "socket", db.config.Socket)
			db.use(s)
			return s
		}
		db.config.Log.Debug("connect again", "err", err)
	}
	return nil
}
