package server

import (
	"bytes"
	"encoding/json"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/server/api"
	"github.com/overlane/overlane/store"
)

// FuzzBody sends anything to every route that takes a body, as a host and as an admin. The answer is never a fault of
// the server, and always JSON.
func FuzzBody(f *testing.F) {
	paths := []string{"PUT /v1/hosts/h", "PUT /v1/vpcs/v", "PUT /v1/subnets/v/s", "PUT /v1/endpoints/v/s/e",
		"POST /v1/apply", "POST /v1/status"}
	for i, body := range []string{
		`{"spec": {"address": "192.168.5.2", "mtu": 9000}}`, `{"spec": {"mtu": 1400}}`,
		`{"spec": {"cidr": "10.0.0.0/8", "vni": 1}}`,
		`{"revision": 7, "spec": {"host": "h", "mac": "02:00:00:00:00:01", "attachment": {"netns": "/run/x"}, "ephemeral": true}}`,
		`{"objects": [{"kind": "VPC", "name": "v"}], "delete": [{"kind": "VPC", "name": "w"}], "dryRun": true, "flows": true}`,
		`[{"kind": "Host", "name": "h", "status": {"ready": true, "drops": {"x": 1}}}]`,
	} {
		f.Add(i, true, []byte(body))
		f.Add(i, false, []byte(body))
	}
	f.Add(4, true, []byte(`{"objects": [null, 1, "", [], {}]}`))
	f.Add(1, true, []byte(`{"kind": null, "name": 5, "spec": null}`))
	server, err := New(f.Context(), Config{Store: store.NewMemory(0)})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(server.Close)
	h := model.Object{Kind: "Host", Name: "h", Spec: &model.HostSpec{Address: netip.MustParseAddr("192.168.5.2")}}
	if _, err := server.change(f.Context(), Caller{Kind: LocalAdmin},
		model.Request{Put: []model.Object{h}}); err != nil {
		f.Fatal(err)
	}
	handler := server.Handler(byHeader)
	f.Fuzz(func(t *testing.T, path int, admin bool, body []byte) {
		method, target, _ := bytes.Cut([]byte(paths[uint(path)%uint(len(paths))]), []byte(" "))
		r := httptest.NewRequest(string(method), string(target), bytes.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Test-Caller", "h")
		if admin {
			r.Header.Set("Test-Caller", "admin")
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		var refusal api.Refusal
		if w.Code >= 500 || !json.Valid(w.Body.Bytes()) {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		if w.Code >= 400 && (json.Unmarshal(w.Body.Bytes(), &refusal) != nil || refusal.Error == nil ||
			refusal.Error.Message == "") {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	})
}
