package server

import (
	"bytes"
	"cmp"
	"encoding/json"
	"io"
	"iter"
	"net/http"
	"strconv"
	"strings"

	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/server/api"
)

// revisionHeader has the revision of the store in an answer with a single object.
const revisionHeader = "Overlane-Revision"

func (s *Server) list(w http.ResponseWriter, r *http.Request, k model.Kind) error {
	query := r.URL.Query()
	watch, err := boolean(query.Get("watch"))
	if err != nil {
		return invalid("query parameter \"watch\": %v", err)
	}
	chosen, err := selectionOf(query.Get, k)
	if err != nil {
		return err
	}
	if watch {
		return s.stream(w, r, chosen)
	}
	if query.Has("after") {
		return invalid(`query parameter "after": only with watch=true`)
	}
	items, revision := s.replica.Objects(chosen.visible(CallerOf(r.Context())))
	return writeJSON(w, http.StatusOK, api.List{Revision: revision, Items: append([]model.Object{}, items...)})
}

func boolean(text string) (bool, error) {
	if text == "" {
		return false, nil
	}
	value, err := strconv.ParseBool(text)
	if err != nil {
		return false, invalid("%q is neither true nor false", text)
	}
	return value, nil
}

// selection selects the objects of a request.
type selection struct {
	kind   string // empty: all
	parent string // objects below this name; empty: all
	host   string // endpoints on this host; empty: all
}

// selectionOf reads a selection from query parameters. At most one of parent, vpc and subnet may be given, since they
// mean the same.
func selectionOf(query func(string) string, k model.Kind) (selection, error) {
	chosen := selection{kind: k.Name, host: query("host")}
	for i, name := range append([]string{"parent"}, k.Path[:len(k.Path)-1]...) {
		value := query(strings.ToLower(name))
		if value == "" {
			continue
		}
		if chosen.parent != "" {
			return chosen, invalid("query parameter %q: another parent is given as well", strings.ToLower(name))
		}
		if i > 0 && strings.Count(value, "/") != i-1 {
			return chosen, invalid("query parameter %q: %q is not a name like %s", strings.ToLower(name), value,
				strings.Join(k.Path[:i], "/"))
		}
		chosen.parent = value
	}
	return chosen, nil
}

// among iterates over the selected objects, by kind and name.
func (c selection) among(s *model.State) iter.Seq[*model.Object] {
	return func(yield func(*model.Object) bool) {
		for _, k := range model.Kinds {
			if c.kind != "" && c.kind != k.Name {
				continue
			}
			for o := range s.Under(k.Name, c.parent) {
				if c.has(o) && !yield(o) {
					return
				}
			}
		}
	}
}

func (c selection) has(o *model.Object) bool {
	return c.covers(o.Key()) && (c.host == "" || owns(o, c.host))
}

func (c selection) covers(key model.Key) bool {
	return (c.kind == "" || c.kind == key.Kind) && (c.parent == "" || strings.HasPrefix(key.Name, c.parent+"/"))
}

// visible iterates over the objects of a selection that a caller may read.
func (c selection) visible(caller Caller) func(*model.State) iter.Seq[*model.Object] {
	return func(state *model.State) iter.Seq[*model.Object] {
		return func(yield func(*model.Object) bool) {
			seen := visibilityOf(state, caller)
			for o := range c.among(state) {
				if seen(o) && !yield(o) {
					return
				}
			}
		}
	}
}

func (s *Server) get(w http.ResponseWriter, r *http.Request, k model.Kind) error {
	key, caller := model.Key{Kind: k.Name, Name: nameIn(r, k)}, CallerOf(r.Context())
	found, revision := s.replica.Objects(only(key, caller))
	switch {
	case len(found) > 0:
		w.Header().Set(revisionHeader, strconv.FormatInt(revision, 10))
		return writeJSON(w, http.StatusOK, found[0])
	case caller.Kind == LocalAdmin:
		return notFound("%s: does not exist", key)
	}
	return denied("%s may not read %s", caller, key) // the error does not reveal whether it exists
}

// only returns one object, if it exists and the caller may read it.
func only(key model.Key, caller Caller) func(*model.State) iter.Seq[*model.Object] {
	return func(state *model.State) iter.Seq[*model.Object] {
		return func(yield func(*model.Object) bool) {
			if o := state.Get(key); o != nil && visibilityOf(state, caller)(o) {
				yield(o)
			}
		}
	}
}

func (s *Server) put(w http.ResponseWriter, r *http.Request, k model.Kind) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return badBody(err)
	}
	caller := CallerOf(r.Context())
	if err := s.mayAskFor(r.Context(), caller, 1, len(body)); err != nil {
		return err
	}
	o, err := readObject(body, model.Key{Kind: k.Name, Name: nameIn(r, k)})
	if err != nil {
		return err
	}
	done, err := s.change(r.Context(), caller, model.Request{Put: []model.Object{o}})
	if err != nil {
		return err
	}
	return s.answerChange(w, done, o.Key())
}

// readObject reads an object from a body. Its kind and name are in the path.
func readObject(body []byte, key model.Key) (o model.Object, err error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil {
		return o, badBody(cmp.Or(emptyBody(body), err))
	}
	for name, want := range map[string]string{"kind": key.Kind, "name": key.Name} {
		quoted, _ := json.Marshal(want)
		if given, ok := fields[name]; ok && !bytes.Equal(given, quoted) {
			return o, invalid("body: %s is %s, but the path is that of %s", name, given, key)
		}
		fields[name] = quoted
	}
	whole, err := json.Marshal(fields)
	if err != nil {
		return o, badBody(err)
	}
	return o, json.Unmarshal(whole, &o)
}

func emptyBody(body []byte) error {
	if len(bytes.TrimSpace(body)) == 0 {
		return io.EOF
	}
	return nil
}

// answerChange answers with the object after the change or, if it is gone, before the change.
func (s *Server) answerChange(w http.ResponseWriter, done outcome, key model.Key) error {
	w.Header().Set(revisionHeader, strconv.FormatInt(done.revision, 10))
	for _, c := range done.changes {
		switch {
		case c.Key() != key:
		case c.Action == model.Create:
			return writeJSON(w, http.StatusCreated, c.After)
		case c.Action == model.Delete:
			return writeJSON(w, http.StatusOK, c.Before)
		default:
			return writeJSON(w, http.StatusOK, c.After)
		}
	}
	return refuse(api.Internal, "%s: was changed, but not by name", key)
}

func (s *Server) delete(w http.ResponseWriter, r *http.Request, k model.Kind) error {
	key := model.Key{Kind: k.Name, Name: nameIn(r, k)}
	caller := CallerOf(r.Context())
	if err := s.mayAskFor(r.Context(), caller, 1, 0); err != nil {
		return err
	}
	done, err := s.change(r.Context(), caller, model.Request{Delete: []model.Key{key}})
	if err != nil {
		return err
	}
	return s.answerChange(w, done, key)
}
