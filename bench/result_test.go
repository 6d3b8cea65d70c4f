package main

import (
	"strings"
	"testing"
)

func TestResultsPrintALineAndJSON(t *testing.T) {
	var lines, json strings.Builder
	reporter{&lines, &json}.report(
		median("attach", "ms", []float64{5, 7, 6}).against("script", 60).wants(ratioAtMost(0.125)),
		median("cpu", "ms", []float64{4}).wants(atMost(3)).noting("as %s", "seen"),
		median("flows", "", []float64{31510}),
		median("trips", "/s", []float64{90, 50, 20}).inTurns("plain", []float64{90, 50, 20}, []float64{100, 40, 25}).wants(ratioAtLeast(0.95)),
	)
	wantLines := `
attach                                                        6 ms    script 60                      0.100  ratio <= 0.125 met     runs 3    spread 5..7
cpu                                                           4 ms    -                                  -  <= 3           MISSED  runs 1    spread 4..4  (as seen)
flows                                                     31510       -                                  -  -              -       runs 1    spread 31510..31510
trips                                                        50 /s    plain 40                       0.900  ratio >= 0.95  MISSED  runs 3    spread 20..90
`
	wantJSON := `
{"name":"attach","unit":"ms","ours":6,"peer":"script","theirs":60,"ratio":0.1,"goal":"ratio \u003c= 0.125","met":true,"runs":3,"low":5,"high":7}
{"name":"cpu","unit":"ms","ours":4,"goal":"\u003c= 3","met":false,"runs":1,"low":4,"high":4,"note":"as seen"}
{"name":"flows","unit":"","ours":31510,"runs":1,"low":31510,"high":31510}
{"name":"trips","unit":"/s","ours":50,"peer":"plain","theirs":40,"ratio":0.9,"goal":"ratio \u003e= 0.95","met":false,"runs":3,"low":20,"high":90}
`
	if got := "\n" + lines.String(); got != wantLines {
		t.Errorf("lines:%s\nwant:%s", got, wantLines)
	}
	if got := "\n" + json.String(); got != wantJSON {
		t.Errorf("JSON:%s\nwant:%s", got, wantJSON)
	}
}

// A peer of which there is nothing gives no number, and JSON has no way to say that.
func TestNoNumber(t *testing.T) {
	var lines, json strings.Builder
	reporter{&lines, &json}.report(median("lost", "", []float64{0}).against("nothing", 0))
	if got := json.String(); !strings.HasPrefix(got, `{"error":`) {
		t.Errorf("JSON: %s", got)
	}
}

func TestQuantiles(t *testing.T) {
	samples := []float64{9, 1, 2, 3, 4, 5, 6, 7, 8, 0}
	for q, want := range map[float64]float64{0: 0, 0.1: 1, 0.5: 5, 0.99: 9, 1: 9} {
		if got := at(samples, q); got != want {
			t.Errorf("quantile %v: %v, want %v", q, got, want)
		}
	}
}
