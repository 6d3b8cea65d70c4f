package drill

import (
	"slices"
	"sync"
	"time"
)

// Figures are what one direction has lost in a phase. A probe counts where it was sent.
type Figures struct {
	Sent        int   `json:"sent"`
	Lost        int   `json:"lost"`
	Duplicates  int   `json:"duplicates"`
	GapMS       int64 `json:"gapMs"` // longest time in which no probe was sent that came back
	Connections int   `json:"connections"`
	Kept        int   `json:"kept"`    // that answered in the phase's last second
	StallMS     int64 `json:"stallMs"` // longest time that a message waited for its answer
}

// Tick is what a direction did in a slice of time.
type Tick struct {
	Sent  int    `json:"sent"`
	Lost  int    `json:"lost"`
	Bytes uint64 `json:"bytes"` // of the transfer
}

// exchange is a probe or a message, and its answer.
type exchange struct {
	sent, back time.Time // back is zero if none came
	answers    int
}

// record is what the peers of one direction have reported.
type record struct {
	mu          sync.Mutex
	probes      []exchange
	connections []connection
	acked       []sample
	trouble     string // what the probe or the transfer met last
}

type connection struct{ messages []exchange }

// sample is how much of the transfer was acknowledged.
type sample struct {
	at    time.Time
	bytes uint64
}

func newRecord(connections int) *record { return &record{connections: make([]connection, connections)} }

func (r *record) add(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch e.What {
	case probeSent:
		r.probes = append(r.probes, exchange{sent: e.At})
	case probeBack:
		answer(r.probes, e)
	case messageSent:
		c := &r.connections[e.Flow]
		c.messages = append(c.messages, exchange{sent: e.At})
	case messageBack:
		answer(r.connections[e.Flow].messages, e)
	case bulkAcked:
		r.acked = append(r.acked, sample{e.At, e.Bytes})
	}
	if e.Error != "" {
		r.trouble = e.Error
	}
}

// answer notes the first one: exchanges are numbered from 0.
func answer(all []exchange, e Event) {
	if e.Seq >= len(all) {
		return
	}
	x := &all[e.Seq]
	if x.answers++; x.answers == 1 {
		x.back = e.At
	}
}

// echoes is the number of probes that came back.
func (r *record) echoes() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.probes {
		n += min(p.answers, 1)
	}
	return n
}

// talking is the number of connections that have heard something.
func (r *record) talking() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.connections {
		if len(c.messages) > 0 && c.messages[0].answers > 0 {
			n++
		}
	}
	return n
}

func (r *record) lastTrouble() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.trouble
}

// figures are the figures of a phase.
func (r *record) figures(from, to time.Time) Figures {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := Figures{Connections: len(r.connections)}
	sent := between(r.probes, from, to)
	f.Sent, f.GapMS = len(sent), gap(sent).Milliseconds()
	for _, p := range sent {
		if p.answers == 0 {
			f.Lost++
		}
		f.Duplicates += max(p.answers-1, 0)
	}
	for _, c := range r.connections {
		if c.answers(to.Add(-lastTime), to) {
			f.Kept++
		}
		f.StallMS = max(f.StallMS, stall(c.messages, from, to).Milliseconds())
	}
	return f
}

// between are the probes that were sent in a phase.
func between(all []exchange, from, to time.Time) (sent []exchange) {
	for _, x := range all {
		if !x.sent.Before(from) && x.sent.Before(to) {
			sent = append(sent, x)
		}
	}
	return sent
}

// gap is the longest run of lost probes: from the first of them to the next one that came back, or to the end.
func gap(probes []exchange) (longest time.Duration) {
	var first time.Time
	for _, p := range probes {
		switch {
		case p.answers > 0 && !first.IsZero():
			longest, first = max(longest, p.sent.Sub(first)), time.Time{}
		case p.answers == 0 && first.IsZero():
			first = p.sent
			fallthrough
		case p.answers == 0:
			longest = max(longest, p.sent.Add(probeEvery).Sub(first))
		}
	}
	return longest
}

// answers tells whether the connection has, between two times, been sent something and answered it.
func (c connection) answers(from, to time.Time) bool {
	return slices.ContainsFunc(between(c.messages, from, to), func(m exchange) bool { return m.answers > 0 && m.back.Before(to) })
}

// stall is the longest wait, as far as it was in a phase.
func stall(messages []exchange, from, to time.Time) (longest time.Duration) {
	for _, m := range messages {
		begin, end := m.sent, m.back
		if begin.Before(from) {
			begin = from
		}
		if m.answers == 0 || end.After(to) {
			end = to
		}
		longest = max(longest, end.Sub(begin))
	}
	return longest
}

// ticks cuts time into slices of equal length.
func (r *record) ticks(from time.Time, slice time.Duration, n int) []Tick {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]Tick, n)
	at := func(t time.Time) *Tick {
		if i := t.Sub(from) / slice; !t.Before(from) && int(i) < n {
			return &all[i]
		}
		return new(Tick)
	}
	for _, p := range r.probes {
		t := at(p.sent)
		t.Sent++
		if p.answers == 0 {
			t.Lost++
		}
	}
	for i := 1; i < len(r.acked); i++ {
		at(r.acked[i].at).Bytes += r.acked[i].bytes - r.acked[i-1].bytes
	}
	return all
}
