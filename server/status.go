package server

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/server/api"
	"github.com/overlane/overlane/server/replica"
	"github.com/overlane/overlane/store"
)

// report stores the statuses that an agent has measured. They are separate from intent and do not move the head.
func (s *Server) report(w http.ResponseWriter, r *http.Request) error {
	reports, err := s.readReports(r)
	if err != nil {
		return err
	}
	if err := stillCaller(r); err != nil {
		return err
	}
	judged, err := s.judgeReports(CallerOf(r.Context()), reports)
	if err != nil {
		return err
	}
	answer := api.Reported{Ignored: judged.ignored}
	if answer.Revision, err = s.keep(r.Context(), store.Batch{Put: s.replica.Unlike(judged.items)}); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, answer)
}

// readReports charges the host for the length of the body before it decodes the body.
func (s *Server) readReports(r *http.Request) (reports []api.Report, err error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, badBody(err)
	}
	caller := CallerOf(r.Context())
	if err := s.mayReport(caller, len(body)); err != nil {
		return nil, err
	}
	if err := decodeBody(bytes.NewReader(body), &reports); err != nil {
		return nil, err
	}
	return reports, mayReportOf(caller, len(reports))
}

// keep writes a batch of statuses, and waits until all streams have been told.
func (s *Server) keep(ctx context.Context, b store.Batch) (int64, error) {
	if b.Len() == 0 {
		return s.replica.Revision(), nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTime)
	defer cancel()
	revision, err := s.config.Store.Write(ctx, b)
	if err != nil {
		return 0, err
	}
	return revision, s.replica.Await(ctx, revision)
}

// judged are the reports to store and the reports to ignore.
type judged struct {
	items   []store.Item
	ignored []model.Key
}

// judgeReports refuses all reports if one is about an object of another host. It ignores reports about missing objects,
// since the agent may not know of a deletion yet.
func (s *Server) judgeReports(caller Caller, reports []api.Report) (j judged, err error) {
	state, seen := s.State(), map[model.Key]bool{}
	for _, report := range reports {
		key := model.Key{Kind: report.Kind, Name: report.Name}
		if seen[key] {
			return j, invalid("body: the status of %s is there twice; send it once", key)
		}
		seen[key] = true
		status, err := readStatus(key, report.Status)
		if err != nil {
			return j, err
		}
		host, err := measuredBy(state, caller, key)
		if err != nil {
			return j, err
		}
		item, err := s.statusItem(key, status, host)
		if err != nil {
			return j, err
		}
		if host == "" {
			j.ignored = append(j.ignored, key)
		} else {
			j.items = append(j.items, item)
		}
	}
	return j, nil
}

// statusItem returns the stored form of a status: corrected, and with the fields that the host may not set itself.
func (s *Server) statusItem(key model.Key, status any, host string) (item store.Item, err error) {
	if err := legible(status); err != nil {
		return item, invalid("body: the status of %s: %v", key, err)
	}
	switch status := status.(type) {
	case *model.EndpointStatus:
		status.Host = host
	case *model.HostStatus:
		status.Time = s.config.now() // an agent's clock may be wrong, or lie
	}
	value, err := json.Marshal(status)
	if err != nil {
		return item, err
	}
	if most := maxStatus(key); len(value) > most {
		return item, invalid("body: the status of %s is longer than %d bytes", key, most)
	}
	return replica.StatusItem(key, value), nil
}

// readStatus ignores unknown fields, since an agent may be newer than the server.
func readStatus(key model.Key, raw json.RawMessage) (any, error) {
	if key.Kind != "Host" && key.Kind != "Endpoint" {
		return nil, denied("the status of %s is not reported, but counted", key)
	}
	status, err := replica.DecodeStatus(key, raw)
	if err != nil {
		return nil, invalid("body: %v", err)
	}
	return status, nil
}

// measuredBy returns the host whose agent measures the object; empty: there is no such object, or it is on no host. The
// caller must be that host or an admin.
func measuredBy(state *model.State, caller Caller, key model.Key) (string, error) {
	host := ""
	if key.Kind == "Endpoint" {
		if spec := state.Endpoint(key.Name); spec != nil {
			host = spec.Host
		}
	} else if state.Host(key.Name) != nil || caller.Kind == HostCaller {
		host = key.Name
	}
	if host != "" && caller.Kind == HostCaller && caller.Host != host {
		return "", denied("%s may not report the status of %s", caller, key)
	}
	return host, nil
}

func (s *Server) overview(w http.ResponseWriter, r *http.Request) error {
	return writeJSON(w, http.StatusOK, s.replica.Overview())
}

func (s *Server) version(w http.ResponseWriter, r *http.Request) error {
	return writeJSON(w, http.StatusOK, api.Version{Version: s.config.Version, API: "v1"})
}

// healthWrites is the least time between two writes of health. Every caller may ask, and a write costs a disk sync.
const healthWrites = 5 * time.Second

// health writes to the store. The watch of an unreachable cluster only waits, and a full cluster still answers reads.
func (s *Server) health(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	if _, err := s.config.Store.Load(ctx, "none/"); err != nil {
		return err
	}
	if err := s.tryWrite(ctx); err != nil {
		return err
	}
	if err := s.replica.Complete(); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, api.Health{Status: "ok", Revision: s.replica.Revision()})
}

// tryWrite writes a key that nobody reads, unless a write has succeeded a moment ago.
func (s *Server) tryWrite(ctx context.Context) error {
	s.healthy.Lock()
	defer s.healthy.Unlock()
	if time.Since(s.healthy.at) < healthWrites {
		return nil
	}
	revision, err := s.config.Store.Write(ctx, store.Batch{Put: []store.Item{{Key: "health"}}})
	if err != nil {
		return err
	}
	s.healthy.at = time.Now()
	return s.replica.Await(ctx, revision)
}

// health has the time of the last successful write.
type health struct {
	sync.Mutex
	at time.Time
}
