package server

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/overlane/overlane/store"
)

// A host that was revoked while its requests were under way writes nothing with them: their bodies may take as long as
// they like.
func TestRevokedHostFinishesNothing(t *testing.T) {
	server := newAPI(t, store.NewMemory(0))
	server.must(t, "POST", "/v1/apply", network)
	requests := map[string]string{
		"PUT /v1/endpoints/blue/web/b": `{"spec": {"host": "host1", "ephemeral": true}}`,
		"POST /v1/apply":               `{"objects": [{"kind": "Endpoint", "name": "blue/web/c", "spec": {"host": "host1", "ephemeral": true}}]}`,
		"POST /v1/status":              `[{"kind": "Endpoint", "name": "blue/web/a", "status": {"state": "Ready"}}]`,
	}
	judged := make(chan bool, 2*len(requests)) // each again, when its body has come
	hosts := serveAs(t, server.Server, func(*http.Request) (Caller, error) {
		defer func() { judged <- true }()
		caller := Caller{Kind: HostCaller, Host: "host1"}
		return caller, caller.stands(server.State())
	})
	bodies, answers := map[string]*io.PipeWriter{}, make(chan answer, len(requests))
	for request := range requests {
		method, path, _ := strings.Cut(request, " ")
		r := hosts.request(t, "", method, path, "")
		r.ContentLength = -1
		r.Body, bodies[request] = io.Pipe()
		go func() { answers <- hosts.do(t, r) }()
		<-judged
	}
	server.must(t, "PUT", "/v1/hosts/host1", `{"spec": {"address": "192.168.5.2", "identity": "none"}}`)
	before := server.replica.Revision()
	for request, body := range requests {
		if _, err := io.WriteString(bodies[request], body); err != nil {
			t.Fatal(err)
		}
		check(t, bodies[request].Close())
		expect(t, told(<-answers), "403 denied: the certificate of host host1 was revoked, or another machine has taken the name; "+
			"join again with a token for this host's name")
	}
	if after := server.replica.Revision(); after != before {
		t.Errorf("the store went from revision %d to %d", before, after)
	}
}
