// Package api has the types of the JSON that the server and its clients exchange, beside the model's objects and the
// view's deltas. It is pure: it sends and receives nothing.
package api

import (
	"encoding/json"

	"github.com/overlane/overlane/model"
)

// Object is an object in a request. The spec is still text, so that the server can name each unknown field and each
// wrong type. The server ignores the status, so that a client can send back an object that it has read.
type Object struct {
	Kind     string          `json:"kind" doc:"Kind of the object, such as Subnet."`
	Name     string          `json:"name" doc:"Name of the object, such as blue/web."`
	Revision int64           `json:"revision,omitempty" doc:"If not zero, the change happens only if the object is still at this revision."`
	Spec     json.RawMessage `json:"spec" doc:"What is wanted."`
	Status   json.RawMessage `json:"status,omitempty" doc:"Ignored."`
}

// List is the answer to GET /v1/{plural}.
type List struct {
	Revision int64          `json:"revision" doc:"Store revision of the list; watch after it to see what changes."`
	Items    []model.Object `json:"items" doc:"The objects, by name."`
}

// Apply is the body of POST /v1/apply.
type Apply struct {
	Objects []Object    `json:"objects,omitempty" doc:"To create or update, in any order."`
	Delete  []model.Key `json:"delete,omitempty" doc:"To delete, in any order."`
	DryRun  bool        `json:"dryRun,omitempty" doc:"Only say what would change."`
	Flows   bool        `json:"flows,omitempty" doc:"With dryRun: also say which flows would change on each host."`
}

// Applied is the answer to POST /v1/apply.
type Applied struct {
	Revision int64       `json:"revision" doc:"Store revision after the change; of a dry run, the one it was judged at."`
	Changes  []Change    `json:"changes" doc:"What became of each object, in the order it was done."`
	Flows    []HostFlows `json:"flows,omitempty" doc:"Flows that would change, by host."`
	Disturbs []string    `json:"disturbs,omitempty" doc:"With flows: connections with the outside that the change would disturb, one line for each public address, and for the SNAT of each VPC."`
}

// Change is the outcome for one object.
type Change struct {
	Action model.Action  `json:"action" doc:"create, update, delete or none."`
	Kind   string        `json:"kind" doc:"Kind of the object."`
	Name   string        `json:"name" doc:"Name of the object."`
	Before *model.Object `json:"before,omitempty" doc:"The object before; absent if it was created."`
	After  *model.Object `json:"after,omitempty" doc:"The object after; absent if it was deleted."`
}

// HostFlows are the flows of one host that a plan adds and deletes, as text in the form of ovs-ofctl.
type HostFlows struct {
	Host   string   `json:"host" doc:"Name of the host."`
	Add    []string `json:"add,omitempty" doc:"Flows that would be added or changed."`
	Delete []string `json:"delete,omitempty" doc:"Flows that would be deleted."`
}

// EventType is the type of a line of a watch.
type EventType string

const (
	Put    EventType = "put"    // spec or status of the object have changed; the line has the object as it is now
	Delete EventType = "delete" // the object is gone; the line has only its kind and name
	Sync   EventType = "sync"   // the watch is complete up to this revision; also the heartbeat
	Failed EventType = "error"  // the stream ends here; the line has the error
)

// Event is one line of a watch. To resume, watch after the Revision of the last Sync.
type Event struct {
	Type     EventType     `json:"type" doc:"put, delete, sync or error."`
	Revision int64         `json:"revision" doc:"Store revision of the change."`
	Object   *model.Object `json:"object,omitempty" doc:"The object, of a put and a delete."`
	Error    *Error        `json:"error,omitempty" doc:"Why the stream ends."`
}

// MaxReports is how many reports a host may send in one request.
const MaxReports = 1000

// Report is one element of the body of POST /v1/status: the status of one object, as an agent measured it.
type Report struct {
	Kind   string          `json:"kind" doc:"Host or Endpoint."`
	Name   string          `json:"name" doc:"Name of the object."`
	Status json.RawMessage `json:"status" doc:"What was measured."`
}

// Overview is the answer to GET /v1/status.
type Overview struct {
	Revision  int64                `json:"revision" doc:"Store revision of all this."`
	Head      int64                `json:"head" doc:"Store revision of the last change of intent; a host whose status has this revision is up to date."`
	Objects   map[string]int       `json:"objects" doc:"How many objects there are, by kind."`
	Endpoints model.EndpointCounts `json:"endpoints" doc:"Endpoints by state."`
	Hosts     []model.Object       `json:"hosts" doc:"All hosts, with what their agents measured last, by name."`
}

// Version is the answer to GET /v1/version.
type Version struct {
	Version string `json:"version" doc:"Version of the server."`
	API     string `json:"api" doc:"Version of the API: v1."`
}

// Health is the answer to GET /healthz.
type Health struct {
	Status   string `json:"status" doc:"ok."`
	Revision int64  `json:"revision" doc:"Store revision that the server has seen."`
}

// Reported is the answer to POST /v1/status.
type Reported struct {
	Revision int64       `json:"revision" doc:"Store revision at which it is kept."`
	Ignored  []model.Key `json:"ignored,omitempty" doc:"Objects that do not exist, or are not plugged in anywhere (any more)."`
}

// Line is a value as a line of a stream.
func Line(value any) []byte {
	line, err := json.Marshal(value)
	if err != nil { // cannot happen with the types of this package
		panic("encode a line of a stream: " + err.Error())
	}
	return append(line, '\n')
}
