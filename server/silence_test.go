package server

import (
	"encoding/json"
	"sync/atomic"
	"testing"
	"time"

	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/server/wire"
	"github.com/overlane/overlane/store"
)

// TestSilentHost: an agent that has died reports nothing, and what it said last may not be shown for ever.
func TestSilentHost(t *testing.T) {
	var passed atomic.Int64
	kept := store.NewMemory(0)
	clock := func() time.Time { return noon.Add(time.Duration(passed.Load())) }
	api := newAPIOf(t, Config{Store: kept, now: clock})
	api.must(t, "POST", "/v1/apply", network)
	report := `[{"kind": "Host", "name": "host1", "status": {"ready": true, "flows": 7, "time": "2099-01-01T00:00:00Z",
			"tunnels": [{"peer": "host2", "vtep": "192.168.5.3", "state": "Up"}]}},
		{"kind": "Endpoint", "name": "blue/web/a", "status": {"state": "Ready", "port": "ovl1"}}]`
	api.must(t, "POST", "/v1/status", report)
	ready, counted := shown(t, api)
	expect(t, ready, "yes  Ready: ")
	expect(t, counted, `{"total":1,"pending":0,"attached":0,"ready":1,"unknown":0}`)

	passed.Store(int64(silence) + 1)
	silent, counted := shown(t, api)
	expect(t, silent, "no silent since 2026-01-02T12:00:00Z: its agent does not report Unknown: Host host1 is silent since 2026-01-02T12:00:00Z; before that: Ready")
	expect(t, counted, `{"total":1,"pending":0,"attached":0,"ready":0,"unknown":1}`)

	another := newAPIOf(t, Config{Store: kept, now: clock})
	ready, _ = shown(t, another)
	expect(t, ready, "yes  Ready: ") // it has listened to nobody yet

	api.must(t, "POST", "/v1/status", report)
	ready, _ = shown(t, api)
	expect(t, ready, "yes  Ready: ")
}

// shown is how the host and the endpoint of [network] are, and how the subnet and the overview count it.
func shown(t *testing.T, a api) (states, counted string) {
	t.Helper()
	host := statusAt[model.HostStatus](t, a, "/v1/hosts/host1")
	endpoint := statusAt[model.EndpointStatus](t, a, "/v1/endpoints/blue/web/a")
	ready := map[bool]string{true: "yes", false: "no"}[host.Ready]
	if up := host.Tunnels[0].State == model.TunnelUp; up != host.Ready {
		t.Errorf("a host whose tunnel is %s has ready %v", host.Tunnels[0].State, host.Ready)
	}
	subnet := statusAt[model.SubnetStatus](t, a, "/v1/subnets/blue/web")
	var o wire.Overview
	if err := json.Unmarshal(a.must(t, "GET", "/v1/status", "").body, &o); err != nil {
		t.Fatal(err)
	}
	if o.Endpoints != subnet.Endpoints {
		t.Errorf("the overview counts %+v, the subnet %+v", o.Endpoints, subnet.Endpoints)
	}
	text, err := json.Marshal(o.Endpoints)
	if err != nil {
		t.Fatal(err)
	}
	return ready + " " + host.Reason + " " + string(endpoint.State) + ": " + endpoint.Reason, string(text)
}

// statusAt is the status of an object.
func statusAt[S any](t *testing.T, a api, path string) S {
	t.Helper()
	var o struct{ Status S }
	if err := json.Unmarshal(a.must(t, "GET", path, "").body, &o); err != nil {
		t.Fatal(err)
	}
	return o.Status
}
