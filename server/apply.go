package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/server/api"
	"github.com/overlane/overlane/server/plan"
)

// apply commits all changes of a request at once. With dryRun it only returns the outcome.
func (s *Server) apply(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		api.Apply
		Objects []json.RawMessage `json:"objects"` // hides the field of Apply
	}
	if err := readBody(r, &body); err != nil {
		return err
	}
	if body.Flows && !body.DryRun {
		return invalid("body: flows is only for dryRun")
	}
	caller := CallerOf(r.Context())
	if err := s.mayAskFor(r.Context(), caller, len(body.Objects)+len(body.Delete), size(body.Objects)); err != nil {
		return err
	}
	q, err := request(body.Objects, body.Delete)
	if err != nil {
		return err
	}
	if body.DryRun {
		return s.plan(w, caller, q, body.Flows)
	}
	done, err := s.change(r.Context(), caller, q)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, applied(caller, done))
}

func size(objects []json.RawMessage) (bytes int) {
	for _, raw := range objects {
		bytes += len(raw)
	}
	return bytes
}

// request decodes all objects, so that one answer has the problems of all of them.
func request(objects []json.RawMessage, delete []model.Key) (model.Request, error) {
	q := model.Request{Put: make([]model.Object, len(objects)), Delete: delete}
	var problems, all model.Problems
	for i, raw := range objects {
		switch err := json.Unmarshal(raw, &q.Put[i]); {
		case errors.As(err, &problems):
			all = append(all, at(problems, i)...)
		case err != nil:
			return q, invalid("body: objects[%d]: %v", i, err)
		}
	}
	if len(all) > 0 {
		return q, all
	}
	return q, nil
}

// at identifies an object without a name by its index.
func at(problems model.Problems, i int) model.Problems {
	for j := range problems {
		if problems[j].Object == "object" {
			problems[j].Object = fmt.Sprintf("objects[%d]", i)
		}
	}
	return problems
}

// plan returns the changes that a request would make. Only admins get the flows of hosts.
func (s *Server) plan(w http.ResponseWriter, caller Caller, q model.Request, flows bool) error {
	if flows && caller.Kind != LocalAdmin {
		return denied("%s may not see the flows of other hosts", caller)
	}
	done, err := s.judge(caller, asks(q))
	if err != nil {
		return err
	}
	answer := applied(caller, done)
	if flows {
		after := done.before.With(done.before.Revision(), done.changes)
		answer.Flows = plan.Flows(done.before, after, done.changes)
		answer.Disturbs = plan.Disturbed(done.before, after, done.changes)
	}
	return writeJSON(w, http.StatusOK, answer)
}

// applied returns the changes of a request. Only admins get changes of other objects, which may belong to other hosts.
func applied(caller Caller, done outcome) api.Applied {
	a := api.Applied{Revision: done.revision, Changes: make([]api.Change, 0, len(done.changes))}
	for _, c := range done.changes {
		if key := c.Key(); caller.Kind == LocalAdmin || !c.Derived {
			a.Changes = append(a.Changes, api.Change{Action: c.Action, Kind: key.Kind, Name: key.Name, Before: c.Before,
				After: c.After})
		}
	}
	return a
}
