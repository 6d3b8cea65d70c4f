package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/overlane/overlane/internal/unixsocket"
)

// Listener accepts connections and identifies the callers.
type Listener struct {
	net.Listener
	Identify Identify

	remote *connections // nil: connections are not counted
}

// ListenUnix listens on a unix socket that its owner and group may use, all of whom are admins. It replaces the socket
// of a dead server. A socket that still answers is an error.
func ListenUnix(path string) (Listener, error) {
	l, err := unixsocket.Listen(context.Background(), path, 0o660)
	if errors.Is(err, unixsocket.ErrInUse) {
		return Listener{}, fmt.Errorf("listen on %s: another server is there", path)
	}
	if err != nil {
		return Listener{}, err
	}
	return Listener{Listener: l, Identify: Admins}, nil
}

// stopTime is the time that open requests have to end when the server stops. Streams end at once.
const stopTime = 5 * time.Second

// Serve serves on all listeners until ctx ends or one of them fails, which is the error. Then it closes the server.
func (s *Server) Serve(ctx context.Context, listeners ...Listener) error {
	ended := make(chan error, len(listeners))
	servers := make([]*http.Server, len(listeners))
	for i, l := range listeners {
		servers[i] = s.httpServer(l)
		go func() { ended <- servers[i].Serve(l) }()
	}
	var broken error
	serving := len(listeners)
	select {
	case <-ctx.Done():
	case err := <-ended:
		broken = fmt.Errorf("serve: %w", err)
		serving--
	}
	s.cancel() // ends the streams, which Shutdown would wait for
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	for _, h := range servers {
		if h.Shutdown(stopping) != nil {
			_ = h.Close() // cuts off open requests
		}
	}
	for range serving { // one that had not begun still has its listener, and would remove the socket of the next server
		if err := <-ended; broken == nil && !errors.Is(err, http.ErrServerClosed) {
			broken = fmt.Errorf("serve: %w", err)
		}
	}
	s.Close()
	return broken
}

// httpServer disconnects slow senders of headers, and pings HTTP/2 clients to notice vanished ones.
func (s *Server) httpServer(l Listener) *http.Server {
	h := &http.Server{
		Handler:           s.Handler(l.Identify),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		HTTP2:             &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 10 * time.Second},
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	if l.remote != nil {
		h.ConnState = l.remote.met
	}
	return h
}
