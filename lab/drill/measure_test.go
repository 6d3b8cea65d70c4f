package drill

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func ms(n int) time.Duration { return time.Duration(n) * time.Millisecond }

// probes makes a record out of a picture: a probe each 10 ms that came back (.), was lost (x), or came back twice (2).
func probes(picture string) *record {
	r := newRecord(0)
	for seq, c := range picture {
		at := start.Add(time.Duration(seq) * probeEvery)
		r.add(Event{At: at, What: probeSent, Seq: seq})
		for range map[rune]int{'.': 1, 'x': 0, '2': 2}[c] {
			r.add(Event{At: at.Add(ms(1)), What: probeBack, Seq: seq})
		}
	}
	return r
}

func TestProbes(t *testing.T) {
	for _, test := range []struct {
		name, picture string
		want          Figures
	}{
		{"nothing is lost", "....", Figures{Sent: 4}},
		{"nothing was sent", "", Figures{}},
		{"one is lost", "..x.", Figures{Sent: 4, Lost: 1, GapMS: 10}},
		{"the longest gap counts", "x.xxx.xx.", Figures{Sent: 9, Lost: 6, GapMS: 30}},
		{"gaps do not add up", "x.x.x.", Figures{Sent: 6, Lost: 3, GapMS: 10}},
		{"a gap at the end", "xx..xxxx", Figures{Sent: 8, Lost: 6, GapMS: 40}},
		{"all are lost", "xxx", Figures{Sent: 3, Lost: 3, GapMS: 30}},
		{"one came twice", ".2x2", Figures{Sent: 4, Lost: 1, Duplicates: 2, GapMS: 10}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, probes(test.picture).figures(start, start.Add(time.Hour))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// A probe counts in the phase that it was sent in, to whose end the next one begins.
func TestProbesOfAPhase(t *testing.T) {
	r := probes("x..xx.xxxx")
	for _, test := range []struct {
		from, to int
		want     Figures
	}{
		{0, 40, Figures{Sent: 4, Lost: 2, GapMS: 10}},
		{40, 70, Figures{Sent: 3, Lost: 2, GapMS: 10}},
		{70, 100, Figures{Sent: 3, Lost: 3, GapMS: 30}},
	} {
		if diff := cmp.Diff(test.want, r.figures(start.Add(ms(test.from)), start.Add(ms(test.to)))); diff != "" {
			t.Errorf("from %d to %d (-want +got):\n%s", test.from, test.to, diff)
		}
	}
}

func TestConnections(t *testing.T) {
	r := newRecord(3)
	message := func(flow, seq, at, after int) {
		r.add(Event{At: start.Add(ms(at)), What: messageSent, Flow: flow, Seq: seq})
		if after >= 0 {
			r.add(Event{At: start.Add(ms(at + after)), What: messageBack, Flow: flow, Seq: seq})
		}
	}
	message(0, 0, 0, 3)
	message(0, 1, 1000, 900) // waits for a while
	message(0, 2, 2500, 5)
	message(1, 0, 0, 2)
	message(1, 1, 2500, -1) // never hears again
	message(2, 0, 0, 2)
	r.add(Event{At: start.Add(ms(1500)), What: broken, Flow: 2, Error: "connection reset by peer"})
	for _, test := range []struct {
		name     string
		from, to int
		want     Figures
	}{
		{"all answer", 0, 900, Figures{Connections: 3, Kept: 3, StallMS: 3}},
		{"a wait counts as far as it is in the phase", 900, 1600, Figures{Connections: 3, StallMS: 600}},
		{"the rest of it is in the next", 1600, 2400, Figures{Connections: 3, StallMS: 300}},
		{"who does not answer in the end is not kept", 2000, 3000, Figures{Connections: 3, Kept: 1, StallMS: 500}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, r.figures(start.Add(ms(test.from)), start.Add(ms(test.to)))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	if got := r.lastTrouble(); got != "connection reset by peer" {
		t.Errorf("the trouble is %q", got)
	}
}

func TestTicks(t *testing.T) {
	r := probes("...xx2....")
	for i, bytes := range []uint64{100, 300, 300, 1000} {
		r.add(Event{At: start.Add(ms(20 * i)), What: bulkAcked, Bytes: bytes})
	}
	want := []Tick{{Sent: 3, Bytes: 200}, {Sent: 3, Lost: 2}, {Sent: 3, Bytes: 700}}
	if diff := cmp.Diff(want, r.ticks(start, ms(30), 3)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestPicture(t *testing.T) {
	full := uint64(bulkRate * Slice.Seconds())
	ticks := []Tick{{Bytes: full}, {Bytes: 2 * full}, {Bytes: full / 2}, {Bytes: 1, Lost: 1}, {Lost: 25}, {Bytes: full / 4}}
	rate, lost := Sparkline(ticks)
	if want := "██▄▁ ▂"; rate != want {
		t.Errorf("rates are %q, not %q", rate, want)
	}
	if want := "   ×× "; lost != want {
		t.Errorf("losses are %q, not %q", lost, want)
	}
	for share, want := range map[float64]string{0: "    ", 1: "████", 7: "████", 0.5: "██  ", 0.53125: "██▏ ", 0.96875: "███▉"} {
		if bar, pad := Bar(share, 4); bar+pad != want {
			t.Errorf("the bar of %v is %q, not %q", share, bar+pad, want)
		}
	}
	if got := Marks([]Moment{{}, {Marks: []Mark{{}}}, {}}); got != " ▲" {
		t.Errorf("marks are %q", got)
	}
}

func TestCounters(t *testing.T) {
	const text = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:   24627      94    0    0    0     0          0         0    24627      94    0    0    0     0       0          0
  eth0:   49356     313    0    0    0     0          0         0    57604     256    0    0    0     0       0          0
`
	got, err := parseCounters(text, "eth0")
	if want := (counters{313, 256}); err != nil || got != want {
		t.Errorf("counters are %v, %v", got, err)
	}
	if _, err := parseCounters(text, "eth1"); err == nil {
		t.Error("an interface that is not there has counters")
	}
}

func TestKindsAreChecked(t *testing.T) {
	for _, test := range []struct{ kind, design, how, want string }{
		{"gateway", "central", "", ""},
		{"gateway", "central", "power", ""},
		{"gateway", "snat", "", `drill gateway is not for the design "snat"; it is for central`},
		{"gateway", "central", "fire", `drill gateway does not come by "fire"; it comes by process, link, power`},
		{"agent", "snat", "power", `drill agent comes in one way only, not by "power"`},
	} {
		kind, err := KindNamed(test.kind)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if err := (Options{Kind: kind, Design: test.design, Mode: test.how}).Check(); err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%s, %s, %q: %q, not %q", test.kind, test.design, test.how, got, test.want)
		}
	}
	if _, err := KindNamed("fire"); err == nil {
		t.Error("there is a drill fire")
	}
}
