package agent

import (
	"context"
	"errors"
	"log/slog"
	"reflect"
	"slices"
	"time"

	"github.com/overlane/overlane/agent/local"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/server/api"
	"github.com/overlane/overlane/view"
)

// hostReportEvery is how often a host's numbers go to the server when nothing of weight has happened.
const hostReportEvery = 30 * time.Second

// reports tells the server what this host has measured, and remembers what it was told, so that only what is new is
// told.
type reports struct {
	server     Server
	log        *slog.Logger
	queue      *queue
	conditions *conditions

	sending bool // a report is under way
	hurry   bool // an endpoint was attached or detached, and somebody may look at its status next
	sent    map[model.Key]any
	at      time.Time // when the server was last told of the host
}

func newReports(s Server, log *slog.Logger, q *queue, problems *conditions) *reports {
	return &reports{server: s, log: log, queue: q, conditions: problems, sent: map[model.Key]any{}}
}

// send tells the server what has changed. One report is under way at a time; if it fails, the next one says the same.
func (r *reports) send(ctx context.Context, s local.Status, now time.Time) {
	updates := r.news(s, now)
	if len(updates) == 0 {
		return
	}
	r.sending = true
	r.begin(updates, now)
	go func() {
		ignored, err := r.server.PutStatus(ctx, updates)
		r.queue.do(ctx, func() { r.end(updates, ignored, err) })
	}()
}

// news are the statuses that the server has not been told.
func (r *reports) news(s local.Status, now time.Time) []model.StatusUpdate {
	var updates []model.StatusUpdate
	host := model.Key{Kind: "Host", Name: s.Name}
	if old, ok := r.sent[host].(*model.HostStatus); !ok || weighty(*old, s.Host) || now.Sub(r.at) >= hostReportEvery {
		updates = append(updates, model.StatusUpdate{Key: host, Status: &s.Host})
	}
	for name, e := range s.Endpoints {
		key := model.Key{Kind: "Endpoint", Name: name}
		if old, ok := r.sent[key].(*model.EndpointStatus); !ok || *old != e {
			updates = append(updates, model.StatusUpdate{Key: key, Status: &e})
		}
	}
	for key := range r.sent {
		if _, ok := s.Endpoints[key.Name]; !ok && key.Kind == "Endpoint" {
			delete(r.sent, key)
		}
	}
	return updates
}

// begin remembers what goes to the server now, and not when it has arrived: meanwhile there may be reason to forget it.
func (r *reports) begin(updates []model.StatusUpdate, now time.Time) {
	for _, u := range updates {
		r.sent[u.Key] = u.Status
		if u.Key.Kind == "Host" {
			r.at = now
		}
	}
}

// end forgets what did not arrive, and what the server had no object for.
func (r *reports) end(updates []model.StatusUpdate, ignored []model.Key, err error) {
	r.sending = false
	for _, key := range ignored {
		delete(r.sent, key)
	}
	if errors.Is(err, &api.Error{Kind: api.Unavailable}) {
		r.log.Debug("report status", "err", err) // that the server is away is said of its view stream
	} else {
		r.conditions.set(condReports, err)
	}
	if err == nil {
		return
	}
	for _, u := range updates {
		if r.sent[u.Key] == u.Status {
			delete(r.sent, u.Key)
		}
	}
}

// expect has an endpoint's status told soon, whatever it is.
func (r *reports) expect(endpoint string) {
	r.forget(endpoint)
	r.hurry = true
}

func (r *reports) forget(endpoint string) {
	delete(r.sent, model.Key{Kind: "Endpoint", Name: endpoint})
}

// forgetAll has everything told again.
func (r *reports) forgetAll() { clear(r.sent) }

// outdate forgets what was reported of the endpoints that a delta is about, for the server forgets a status with its
// object. After a complete delta it may be another server, or one with an older store. before are the addresses of this
// host that the delta replaces.
func (r *reports) outdate(d view.Delta, before map[view.AddressKey]view.Address) {
	if d.Complete {
		r.forgetAll()
	}
	for _, address := range before {
		r.forget(address.Endpoint)
	}
	for _, address := range d.Addresses {
		r.forget(address.Endpoint)
	}
}

// weighty tells a change that somebody may wait for from a number that moved.
func weighty(old, now model.HostStatus) bool {
	plain := func(s model.HostStatus) model.HostStatus {
		s.Time, s.Drops = time.Time{}, nil
		s.Tunnels = slices.Clone(s.Tunnels)
		for i := range s.Tunnels {
			s.Tunnels[i].RTTMicros, s.Tunnels[i].LostProbes = 0, 0
		}
		return s
	}
	return !reflect.DeepEqual(plain(old), plain(now))
}
