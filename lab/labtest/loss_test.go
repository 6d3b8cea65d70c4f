package labtest_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/overlane/overlane/lab/labtest"
)

// at is a time in milliseconds; 0 is never.
func at(ms int) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(ms))
}

func TestLoss(t *testing.T) {
	var got labtest.Loss
	got.Add([]labtest.Packet{{at(10), at(11)}, {at(20), at(0)}, {at(30), at(0)}, {at(40), at(45)}, {at(50), at(51)}, {at(60), at(0)}})
	got.Add([]labtest.Packet{{at(10), at(0)}, {at(20), at(22)}})
	want := labtest.Loss{Sent: 8, Lost: 4, Pause: 34 * time.Millisecond, Runs: []labtest.Run{{2, at(20), at(30)}, {1, at(60), at(60)}, {1, at(10), at(10)}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestVerdict(t *testing.T) {
	lost := func(n, overflow int) labtest.Window { return labtest.Window{Lost: n, Overflow: overflow} }
	for _, tt := range []struct {
		name    string
		with    labtest.Window
		without []labtest.Window
		want    labtest.Verdict
	}{
		{"nothing is lost", lost(0, 0), nil, labtest.LosesNothing},
		{"nothing of this traffic is lost", lost(0, 30), nil, labtest.LosesNothing},
		{"the switches had room", lost(1, 0), nil, labtest.Loses},
		{"they had room for some of it", lost(12, 11), []labtest.Window{lost(40, 90)}, labtest.Loses},
		{"no window without it yet", lost(12, 49), nil, labtest.Unclear},
		{"less is lost without it", lost(12, 49), []labtest.Window{lost(0, 0), lost(11, 49)}, labtest.Unclear},
		{"as much is lost without it", lost(12, 49), []labtest.Window{lost(0, 0), lost(12, 30)}, labtest.LosesNothing},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := (labtest.Comparison{With: tt.with, Without: tt.without}).Verdict(); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// told is a test that only notes whether it has failed.
type told struct {
	testing.TB
	failed bool
}

func (t *told) Helper()               {}
func (t *told) Log(...any)            {}
func (t *told) Error(...any)          { t.failed = true }
func (t *told) Errorf(string, ...any) { t.failed = true }
func (t *told) Failed() bool          { return t.failed }

func TestLossless(t *testing.T) {
	held, unclear, gap := labtest.Window{}, labtest.Window{Lost: 1, Overflow: 2}, labtest.Window{Lost: 2, Overflow: 1}
	for _, tt := range []struct {
		name   string
		rounds []labtest.Window
		tries  int
		fails  bool
	}{
		{"held", []labtest.Window{held}, 1, false},
		{"a loss that the machine has no part in is not tried again", []labtest.Window{gap}, 1, true},
		{"what is unclear once is not what the event does", []labtest.Window{unclear, held}, 2, false},
		{"what is unclear may turn out to be a loss", []labtest.Window{unclear, gap}, 2, true},
		{"what is unclear each time is what the event does", []labtest.Window{unclear, unclear, unclear}, 3, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			seen, tries := &told{TB: t}, 0
			labtest.Lossless(seen, labtest.Tries, func() []labtest.Comparison {
				tries++
				return []labtest.Comparison{{With: tt.rounds[tries-1]}}
			})
			if seen.failed != tt.fails || tries != tt.tries {
				t.Errorf("failed: %v after %d tries, want %v after %d", seen.failed, tries, tt.fails, tt.tries)
			}
		})
	}
}
