package server

import (
	"net/http"
	"strings"

	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/server/api"
	"github.com/overlane/overlane/view"
)

// Route is one operation of the API. The mux and the OpenAPI document are made from the list of routes.
type Route struct {
	Method    string
	Path      string // in the form of http.ServeMux and OpenAPI: "/v1/hosts/{host}/view"
	ID        string // OpenAPI's operationId: "getSubnet"
	Doc       string // one sentence
	Access    Access
	Query     []Param
	Body      any   // a value of the type of the request's body; nil: no body
	Limit     int64 // of the body, bytes; default 1 MiB
	HostLimit int64 // of a host's body; default Limit
	Answer    any   // a value of the type of the answer's body
	Created   bool  // may answer 201 as well as 200
	Stream    bool  // answers with one JSON value a line, without end
	Text      bool  // answers with text that is not JSON

	// Serve answers a request after the checks of Access, Query and the body's type. The caller writes an error as a
	// Refusal.
	Serve func(w http.ResponseWriter, r *http.Request) error
}

// Access decides which callers may use a route.
type Access int

const (
	AdminOnly Access = iota
	AdminAndHosts
	Everybody
)

// Param is a query parameter.
type Param struct {
	Name string
	Doc  string
	Type string // of JSON schema; default string
}

func (a Access) allows(c Caller) bool {
	switch c.Kind {
	case LocalAdmin:
		return true
	case HostCaller:
		return a != AdminOnly && c.Host != ""
	}
	return a == Everybody
}

var (
	watchParam = Param{Name: "watch", Doc: "Answer with a stream of Event lines instead of a list.", Type: "boolean"}
	afterParam = Param{Name: "after",
		Doc:  "Only what changed after this store revision; absent: all objects first, then what changes.",
		Type: "integer"}
	kindParam = Param{Name: "kind", Doc: "Only objects of this kind."}
	hostParam = Param{Name: "host", Doc: "Only endpoints on this host."}
)

func (s *Server) ownRoutes() []Route {
	routes := []Route{
		{Method: "POST", Path: "/v1/apply", ID: "apply", Access: AdminAndHosts, Body: api.Apply{}, Limit: 64 << 20,
			HostLimit: 1 << 20, Answer: api.Applied{},
			Doc: "Create, update and delete any number of objects: all of it, or nothing.", Serve: s.apply},
		{Method: "GET", Path: "/v1/watch", ID: "watch", Query: []Param{afterParam, kindParam}, Answer: api.Event{},
			Stream: true,
			Doc:    "A stream of changes to all objects.", Serve: s.watchAll},
		{Method: "GET", Path: "/v1/status", ID: "getStatus", Answer: api.Overview{},
			Doc: "How the whole network is, as measured.", Serve: s.overview},
		{Method: "POST", Path: "/v1/status", ID: "putStatus", Access: AdminAndHosts, Body: []api.Report{},
			Limit: 4 << 20, HostLimit: 1 << 20, Answer: api.Reported{},
			Doc: "What an agent measured of its host and of the endpoints on it.", Serve: s.report},
		{Method: "GET", Path: "/v1/hosts/{host}/view", ID: "getView", Access: AdminAndHosts, Answer: view.Delta{},
			Stream: true,
			Doc: "What one host must know: first the whole view, then its changes. A line with nothing but a " +
				"revision is a heartbeat.", Serve: s.view},
		{Method: "GET", Path: "/v1/version", ID: "getVersion", Access: Everybody, Answer: api.Version{},
			Doc: "Version of the server.", Serve: s.version},
		{Method: "GET", Path: "/healthz", ID: "getHealth", Access: Everybody, Answer: api.Health{},
			Doc: "Whether the server can reach its store, and read all of it.", Serve: s.health},
		{Method: "GET", Path: "/metrics", ID: "getMetrics", Text: true,
			Doc: "Metrics in Prometheus' text format.", Serve: s.serveMetrics},
		{Method: "GET", Path: "/openapi.json", ID: "getOpenAPI", Access: Everybody, Answer: map[string]any{},
			Doc: "This document.", Serve: s.openAPI},
	}
	for _, kind := range model.Kinds {
		routes = append(routes, s.kindRoutes(kind)...)
	}
	return routes
}

func (s *Server) kindRoutes(k model.Kind) []Route {
	list, one := "/v1/"+k.Plural, onePath(k)
	return []Route{
		{Method: "GET", Path: list, ID: "list" + title(k.Plural), Access: AdminAndHosts, Query: listParams(k),
			Answer: listOf{k},
			Doc:    "List or watch objects of the kind " + k.Name + ".", Serve: func(w http.ResponseWriter,
				r *http.Request) error {
				return s.list(w, r, k)
			}},
		{Method: "GET", Path: one, ID: "get" + k.Name, Access: AdminAndHosts, Answer: objectOf{k},
			Doc: "One " + k.Name + ".", Serve: func(w http.ResponseWriter, r *http.Request) error {
				return s.get(w, r,
					k)
			}},
		{Method: "PUT", Path: one, ID: "put" + k.Name, Access: AdminAndHosts, Body: objectOf{k}, Answer: objectOf{k},
			Created: true,
			Doc:     "Create or update one " + k.Name + ". Kind and name may be left out of the body.",
			Serve:   func(w http.ResponseWriter, r *http.Request) error { return s.put(w, r, k) }},
		{Method: "DELETE", Path: one, ID: "delete" + k.Name, Access: AdminAndHosts, Answer: objectOf{k},
			Doc: "Delete one " + k.Name + "; the answer is what it was.", Serve: func(w http.ResponseWriter,
				r *http.Request) error {
				return s.delete(w, r, k)
			}},
	}
}

// objectOf and listOf stand for an object of a kind and a list of them, which have no Go types of their own.
type (
	objectOf struct{ kind model.Kind }
	listOf   struct{ kind model.Kind }
)

// onePath is the path of one object: "/v1/subnets/{vpc}/{subnet}".
func onePath(k model.Kind) string {
	path := "/v1/" + k.Plural
	for _, part := range k.Path {
		path += "/{" + strings.ToLower(part) + "}"
	}
	return path
}

// nameIn returns the name in the path of a request.
func nameIn(r *http.Request, k model.Kind) string {
	parts := make([]string, len(k.Path))
	for i, part := range k.Path {
		parts[i] = r.PathValue(strings.ToLower(part))
	}
	return strings.Join(parts, "/")
}

func listParams(k model.Kind) []Param {
	params := []Param{watchParam, afterParam}
	if len(k.Path) > 1 {
		params = append(params, Param{Name: "parent", Doc: "Only objects below this name."})
	}
	for i := range len(k.Path) - 1 {
		params = append(params, Param{Name: strings.ToLower(k.Path[i]),
			Doc: "Only objects of this " + strings.Join(k.Path[:i+1], "/") + "."})
	}
	if k.Name == "Endpoint" {
		params = append(params, hostParam)
	}
	return params
}

func title(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
