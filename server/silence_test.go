package server

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/server/api"
	"github.com/overlane/overlane/server/replica"
	"github.com/overlane/overlane/store"
)

// TestSilentHost: an agent that has died reports nothing, and what it said last may not be shown for ever.
func TestSilentHost(t *testing.T) {
	var passed atomic.Int64
	kept := store.NewMemory(0)
	clock := func() time.Time { return noon.Add(time.Duration(passed.Load())) }
	srv := newAPIOf(t, Config{Store: kept, now: clock})
	srv.must(t, "POST", "/v1/apply", network)
	report := `[{"kind": "Host", "name": "host1", "status": {"ready": true, "flows": 7, "time": "2099-01-01T00:00:00Z",
			"tunnels": [{"peer": "host2", "vtep": "192.168.5.3", "state": "Up"}]}},
		{"kind": "Endpoint", "name": "blue/web/a", "status": {"state": "Ready", "port": "ovl1"}}]`
	srv.must(t, "POST", "/v1/status", report)
	ready, counted := shown(t, srv)
	expect(t, ready, "yes  Ready: ")
	expect(t, counted, `{"total":1,"pending":0,"attached":0,"ready":1,"unknown":0}`)

	passed.Store(int64(replica.Silence) + 1)
	silent, counted := shown(t, srv)
	expect(t, silent, "no silent since 2026-01-02T12:00:00Z: its agent does not report Unknown: Host host1 is silent since 2026-01-02T12:00:00Z; before that: Ready")
	expect(t, counted, `{"total":1,"pending":0,"attached":0,"ready":0,"unknown":1}`)

	another := newAPIOf(t, Config{Store: kept, now: clock})
	ready, _ = shown(t, another)
	expect(t, ready, "yes  Ready: ") // it has listened to nobody yet

	srv.must(t, "POST", "/v1/status", report)
	ready, _ = shown(t, srv)
	expect(t, ready, "yes  Ready: ")
}

// shown is how the host and the endpoint of [network] are, and how the subnet and the overview count it.
func shown(t *testing.T, a testServer) (states, counted string) {
	t.Helper()
	host := statusAt[model.HostStatus](t, a, "/v1/hosts/host1")
	endpoint := statusAt[model.EndpointStatus](t, a, "/v1/endpoints/blue/web/a")
	ready := map[bool]string{true: "yes", false: "no"}[host.Ready]
	if up := host.Tunnels[0].State == model.TunnelUp; up != host.Ready {
		t.Errorf("a host whose tunnel is %s has ready %v", host.Tunnels[0].State, host.Ready)
	}
	subnet := statusAt[model.SubnetStatus](t, a, "/v1/subnets/blue/web")
	var o api.Overview
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
func statusAt[S any](t *testing.T, a testServer, path string) S {
	t.Helper()
	var o struct{ Status S }
	if err := json.Unmarshal(a.must(t, "GET", path, "").body, &o); err != nil {
		t.Fatal(err)
	}
	return o.Status
}

// TestSilenceIsTold: that a host falls silent is written nowhere, so who watches is told of it, and who comes back
// later. So it is when the host speaks again, also of its endpoints, of which the agent has nothing new to say.
func TestSilenceIsTold(t *testing.T) {
	var passed atomic.Int64
	kept := store.NewMemory(0)
	clock := func() time.Time { return noon.Add(time.Duration(passed.Load())) }
	srv := newAPIOf(t, Config{Store: kept, now: clock})
	srv.must(t, "POST", "/v1/apply", network)
	const host = `{"kind": "Host", "name": "host1", "status": {"ready": true}}`
	srv.must(t, "POST", "/v1/status",
		`[`+host+`, {"kind": "Endpoint", "name": "blue/web/a", "status": {"state": "Ready"}}]`)
	srv.must(t, "PUT", "/v1/vpcs/red", `{"spec": {}}`)
	const both = "put Host host1 @%[1]d\nput Endpoint blue/web/a @%[1]d\nsync @%[1]d"

	watch := srv.open(t, "admin", "/v1/watch?after=3")
	expect(t, watch.until(3), "sync @3")
	passed.Store(int64(replica.Silence) + 1)
	expect(t, watch.until(3), fmt.Sprintf(both, 3)) // within a tick
	for _, after := range []int{2, 3} {
		late := srv.open(t, "admin", fmt.Sprintf("/v1/watch?kind=ep&after=%d", after))
		if line, _ := late.next(); !strings.Contains(line, `"state":"Unknown"`) {
			t.Errorf("after %d a watcher is told %s", after, line)
		}
	}

	another := newAPIOf(t, Config{Store: kept, now: clock}) // it has listened to nobody yet
	moved := another.open(t, "admin", "/v1/watch?after=3")
	expect(t, moved.until(3), "sync @3")
	srv.must(t, "POST", "/v1/status", `[`+host+`]`)
	for _, s := range []stream{watch, moved, srv.open(t, "admin", "/v1/watch?after=3")} {
		expect(t, s.until(4), fmt.Sprintf(both, 4))
	}
	passed.Add(1)
	srv.must(t, "POST", "/v1/status", `[`+host+`]`)
	expect(t, watch.until(5), "put Host host1 @5", "sync @5")
	if line, _ := srv.open(t, "admin", "/v1/watch?kind=ep&after=3").next(); !strings.Contains(line, `"state":"Ready"`) {
		t.Errorf("who was away meanwhile is told %s", line)
	}
}

// TestSilenceGoesByOwnClock: a status is as old as this server has known it, whatever the clock of the server said that
// took it.
func TestSilenceGoesByOwnClock(t *testing.T) {
	for _, off := range []time.Duration{-time.Hour, time.Hour} {
		var passed atomic.Int64
		blind := newBlindStore()
		srv := newAPIOf(t, Config{Store: blind,
			now: func() time.Time { return noon.Add(time.Duration(passed.Load())) }})
		srv.must(t, "POST", "/v1/apply", network)
		passed.Store(int64(replica.Silence) + 1)
		write := func(values map[string]any) {
			t.Helper()
			var b store.Batch
			for key, value := range values {
				text, err := json.Marshal(value)
				if err != nil {
					t.Fatal(err)
				}
				b.Put = append(b.Put, store.Item{Key: key, Value: text})
			}
			if _, err := blind.Write(t.Context(), b); err != nil {
				t.Fatal(err)
			}
		}
		write(map[string]any{
			"status/Host/host1": model.HostStatus{Ready: true,
				Tunnels: []model.TunnelStatus{{State: model.TunnelUp}}, Time: noon.Add(off)},
			"status/Endpoint/blue/web/a": model.EndpointStatus{State: model.Ready, Host: "host1"},
		})
		await(t, srv, 2)
		ready, _ := shown(t, srv)
		expect(t, ready, "yes  Ready: ")

		passed.Add(int64(replica.Silence) + 1)
		silent := "no silent since "
		if states, _ := shown(t, srv); !strings.HasPrefix(states, silent) {
			t.Errorf("by a clock %v off, a host that has said nothing is %s", off, states)
		}
		blind.cover() // what a server reads once more is no news
		write(map[string]any{"status/Host/host2": model.HostStatus{}})
		if err := blind.Compact(t.Context(), 3); err != nil {
			t.Fatal(err)
		}
		blind.uncover()
		await(t, srv, 3)
		if states, _ := shown(t, srv); !strings.HasPrefix(states, silent) {
			t.Errorf("after a reload the host is %s", states)
		}
	}
}
