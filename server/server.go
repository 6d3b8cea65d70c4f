// Package server serves the API: plain HTTP with JSON over the table of kinds, streams of changes, and each host's view.
// What it knows is a copy of the store, fed by the store's watch; it keeps nothing that is not in the store, so that any
// number of servers may work on one. It never decides what objects may be: that is model.Admit's work.
package server

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/server/replica"
	"github.com/overlane/overlane/store"
)

// Config is what a server works with. Only Store is needed.
type Config struct {
	Store   store.Store // stays open when the server is closed
	Log     *slog.Logger
	Version string // of the program, for GET /v1/version

	// Heartbeat is how often a stream without news sends a line, so that both ends notice a dead connection; default 10 s.
	Heartbeat time.Duration
	// Backlog is how many commits a stream may lag behind before it is ended; default 256.
	Backlog int

	now func() time.Time // the time, which tests make
}

// Server is the API over one store.
type Server struct {
	config  Config
	log     *slog.Logger
	replica *replica.Replica
	turn    chan struct{} // holds one token; who has it may judge and commit
	metrics *metrics
	routes  []Route
	limits  limits
	healthy health

	ctx    context.Context // ends when the server is closed, and every stream with it
	cancel context.CancelFunc
	work   sync.WaitGroup
}

// New reads the store and starts to follow it. The error is the store's.
func New(ctx context.Context, c Config) (*Server, error) {
	c.Heartbeat = cmp.Or(c.Heartbeat, 10*time.Second)
	c.Backlog = cmp.Or(c.Backlog, 256)
	c.Version = cmp.Or(c.Version, "devel")
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.now == nil {
		c.now = time.Now
	}
	r, err := replica.New(ctx, replica.Config{Store: c.Store, Log: c.Log, Now: c.now})
	if err != nil {
		return nil, fmt.Errorf("read the store: %w", err)
	}
	s := &Server{config: c, log: c.Log, replica: r, turn: make(chan struct{}, 1), limits: newLimits()}
	s.metrics = newMetrics(r)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.routes = s.ownRoutes()
	s.work.Go(func() { r.Run(s.ctx) })
	return s, nil
}

// Add adds routes to the server's own. It comes before [Server.Handler].
func (s *Server) Add(routes ...Route) { s.routes = append(s.routes, routes...) }

// Close ends all streams and stops following the store.
func (s *Server) Close() {
	s.cancel()
	s.work.Wait()
}

// State is all objects as the server knows them now.
func (s *Server) State() *model.State { return s.replica.State() }
