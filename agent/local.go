package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/overlane/overlane/agent/local"
	"github.com/overlane/overlane/internal/unixsocket"
	"github.com/overlane/overlane/view"
)

// stopPatience is how long calls under way may take to end when the agent does, and then again to take back what they
// have made.
const stopPatience = 3 * time.Second

// serveLocal listens until stop is called, which returns when all calls have ended. The loop, which they need, must run
// until then.
func (a *Agent) serveLocal(ctx context.Context) (stop func(), err error) {
	listener, err := unixsocket.Listen(ctx, a.config.Socket, 0o600)
	if err != nil {
		return nil, fmt.Errorf("local API: %w", err)
	}
	calls, cut := context.WithCancel(context.WithoutCancel(ctx))
	server := &http.Server{
		Handler: a.localAPI(), ReadHeaderTimeout: 5 * time.Second,
		BaseContext: func(net.Listener) context.Context { return calls },
	}
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			a.log.Error("local API", "err", err)
		}
	}()
	return func() {
		defer cut()
		for range 2 {
			if shutDown(server) == nil {
				return
			}
			cut()
		}
		a.log.Error("calls of the local API do not end")
	}, nil
}

func shutDown(server *http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), stopPatience)
	defer cancel()
	return server.Shutdown(ctx)
}

func (a *Agent) localAPI() http.Handler {
	mux := http.NewServeMux()
	route(mux, "POST /v1/attach", a.attachments.attach)
	route(mux, "POST /v1/detach", a.attachments.detach)
	route(mux, "GET /v1/status", func(ctx context.Context, _ struct{}) (s local.Status, err error) {
		err = a.queue.ask(ctx, func() {
			a.count(ctx)
			s = a.status(time.Now())
		})
		return s, err
	})
	route(mux, "GET /v1/view", func(ctx context.Context, _ struct{}) (d view.Delta, err error) {
		err = a.queue.ask(ctx, func() { d = a.intent.view.Delta(a.intent.revision) })
		return d, err
	})
	return mux
}

const maxBody = 1 << 20

func route[Q, R any](mux *http.ServeMux, pattern string, call func(context.Context, Q) (R, error)) {
	mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		var q Q
		if r.Method != http.MethodGet {
			decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
			decoder.DisallowUnknownFields()
			if err := decoder.Decode(&q); err != nil {
				writeError(w, invalid("request: %v", err))
				return
			}
		}
		reply, err := call(r.Context(), q)
		if err != nil {
			writeError(w, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(reply) // who has asked may be gone
	})
}
