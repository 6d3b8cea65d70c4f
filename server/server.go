// Package server serves the API: HTTP with JSON for all kinds of objects, streams of changes, and the view of each
// host. It serves from a replica of the store and has no state of its own, so any number of servers may share a store.
// model.Admit decides which objects are valid, not this package.
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

// Config has the dependencies and settings of a server. Only Store is required.
type Config struct {
	Store   store.Store // stays open when the server is closed
	Log     *slog.Logger
	Version string // of the program, for GET /v1/version

	// Heartbeat is the interval at which a stream without news sends a line, so that both ends notice a dead
	// connection; default 10 s.
	Heartbeat time.Duration
	// Backlog is the number of commits that a stream may lag behind before it ends; default 256.
	Backlog int

	now func() time.Time // the clock, which tests replace
}

// Server is the API over one store.
type Server struct {
	config  Config
	log     *slog.Logger
	replica *replica.Replica
	turn    chan struct{} // has one token; its holder may commit
	metrics *metrics
	routes  []Route
	limits  limits
	healthy health

	ctx    context.Context // ends when the server is closed, and every stream with it
	cancel context.CancelFunc
	work   sync.WaitGroup
}

// New reads the store and starts to follow it. The error is from the store.
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

// Add adds routes to the server's own. Call it before [Server.Handler].
func (s *Server) Add(routes ...Route) { s.routes = append(s.routes, routes...) }

// Close ends all streams and stops following the store.
func (s *Server) Close() {
	s.cancel()
	s.work.Wait()
}

// State returns all objects as they are now.
func (s *Server) State() *model.State { return s.replica.State() }
