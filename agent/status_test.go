package agent

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/ovs"
	"github.com/overlane/overlane/view"
)

// told reports what is new, as the loop does, and gives what it was: "h" for the host, and the endpoints.
func (a *Agent) told(now time.Time, ignored []model.Key, err error) string {
	updates := a.reports.news(a.status(now), now)
	a.reports.begin(updates, now)
	a.reports.end(updates, ignored, err)
	var names []string
	for _, u := range updates {
		names = append(names, u.Key.Name)
	}
	return strings.Join(names, " ")
}

// The server forgets a status with its object. Whatever happened to an endpoint, the host reports it anew, although
// nothing that it measures has changed.
func TestReportsAreRepeated(t *testing.T) {
	const x = "blue/web/x"
	gone := view.Delta{Revision: 3, GoneAddresses: []view.AddressKey{addressDelta(1, 2).Addresses[0].AddressKey}}
	elsewhere := addressDelta(3, 2)
	elsewhere.Addresses[0].Endpoint, elsewhere.Addresses[0].Host = "blue/web/y", "h2"
	whole := addressDelta(4, 2)
	whole.Complete = true
	key := []model.Key{{Kind: "Endpoint", Name: x}}
	for _, tt := range []struct {
		name    string
		deltas  []view.Delta
		ignored []model.Key // of the first report
		err     error
		want    string
	}{
		{"nothing happens", nil, nil, nil, ""},
		{"gone and back", []view.Delta{gone, addressDelta(4, 2)}, nil, nil, x},
		{"gone with its segment and back", []view.Delta{{Revision: 3, GoneSegments: []model.VNI{100}}, addressDelta(4, 2)}, nil, nil, x},
		{"replaced by another and back", []view.Delta{elsewhere, addressDelta(4, 2)}, nil, nil, x},
		{"made anew in one step", []view.Delta{addressDelta(4, 2)}, nil, nil, x},
		{"a complete view", []view.Delta{whole}, nil, nil, "h1 " + x},
		{"ignored by the server", nil, key, nil, x},
		{"not arrived", nil, nil, errors.New("cut"), "h1 " + x},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, now := testAgent(t, t.TempDir(), "h1"), time.Now()
			a.apply(addressDelta(1, 2))
			if got := a.told(now, tt.ignored, tt.err); got != "h1 "+x {
				t.Fatalf("first %q", got)
			}
			for _, d := range tt.deltas {
				a.apply(d)
			}
			if got := a.told(now, nil, nil); got != tt.want {
				t.Errorf("then %q, want %q", got, tt.want)
			}
			if got := a.told(now, nil, nil); got != "" {
				t.Errorf("and once more %q", got)
			}
		})
	}
}

// An answer that comes when there is reason to forget already does not make it remembered again.
func TestLateAnswerIsNotRemembered(t *testing.T) {
	a, now := testAgent(t, t.TempDir(), "h1"), time.Now()
	a.apply(addressDelta(1, 2))
	updates := a.reports.news(a.status(now), now)
	a.reports.begin(updates, now)
	a.apply(addressDelta(2, 2))
	a.reports.end(updates, nil, nil)
	if got := a.told(now, nil, nil); got != "blue/web/x" {
		t.Errorf("told %q", got)
	}
}

// The host's numbers are told in time, however often endpoints change.
func TestHostIsReportedUnderChurn(t *testing.T) {
	a, now := testAgent(t, t.TempDir(), "h1"), time.Now()
	a.apply(addressDelta(1, 2))
	times := 0
	for i := range 61 {
		a.apply(addressDelta(int64(i+2), 2))
		if strings.Contains(a.told(now.Add(time.Duration(i)*time.Second), nil, nil), "h1") {
			times++
		}
	}
	if times != 3 {
		t.Errorf("the host was reported %d times in a minute, want 3", times)
	}
}

// Packets that the agent was too busy for are drops like others, and stay counted when the connection they came by is
// gone.
func TestMissedPacketsAreDrops(t *testing.T) {
	t.Parallel()
	a := testAgent(t, t.TempDir(), "h1")
	if got := a.drops()[dropBusy]; got != 0 {
		t.Errorf("%d at the start", got)
	}
	for range cap(a.queue.calls) + 3 {
		a.queue.offer(func() {})
	}
	if got := a.drops()[dropBusy]; got != 3 {
		t.Errorf("%d dropped, want 3", got)
	}
	o, hang := dummySwitch(t), make(chan struct{})
	defer close(hang)
	var err error
	if a.flows.sw, err = ovs.Dial(t.Context(), ovs.SwitchConfig{Socket: o.AddBridge("br0"), PacketIn: func(ovs.PacketIn) { <-hang }}); err != nil {
		t.Fatal(err)
	}
	poll(t, "the switch's queue is full", func() bool {
		for range 100 {
			if err := a.flows.sw.PacketOut(t.Context(), flow.PortLocal, []flow.Action{flow.Controller{Userdata: []byte{1}}}, make([]byte, 60)); err != nil {
				t.Fatal(err)
			}
		}
		return a.drops()[dropBusy] > 3
	})
	before := a.drops()[dropBusy]
	a.disconnect(errors.New("enough"))
	if after := a.drops()[dropBusy]; after < before {
		t.Errorf("%d dropped, before the end of the connection %d", after, before)
	}
}
