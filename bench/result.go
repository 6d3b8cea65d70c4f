package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
)

// result is one figure. All values are in its unit.
type result struct {
	Name   string   `json:"name"`
	Unit   string   `json:"unit"`
	Ours   float64  `json:"ours"`
	Peer   string   `json:"peer,omitempty"` // the system that Overlane is compared with
	Theirs *float64 `json:"theirs,omitempty"`
	Ratio  *float64 `json:"ratio,omitempty"` // Overlane's value to the peer's
	Goal   string   `json:"goal,omitempty"`
	Met    *bool    `json:"met,omitempty"`
	Runs   int      `json:"runs"`
	Low    float64  `json:"low"`  // the tenth percentile of Overlane's values
	High   float64  `json:"high"` // and the ninetieth
	Note   string   `json:"note,omitempty"`
}

// goal judges a result.
type goal struct {
	text string
	met  func(result) bool
}

func ratioAtMost(limit float64) goal {
	return goal{fmt.Sprintf("ratio <= %.3g", limit), func(r result) bool { return r.Ratio != nil && *r.Ratio <= limit }}
}

func ratioAtLeast(limit float64) goal {
	return goal{fmt.Sprintf("ratio >= %.3g", limit), func(r result) bool { return r.Ratio != nil && *r.Ratio >= limit }}
}

func atMost(limit float64) goal {
	return goal{fmt.Sprintf("<= %.6g", limit), func(r result) bool { return r.Ours <= limit }}
}

// median makes a result of the medians of runs.
func median(name, unit string, ours []float64) result { return quantile(name, unit, 0.5, ours) }

func quantile(name, unit string, q float64, ours []float64) result {
	return result{Name: name, Unit: unit, Ours: at(ours, q), Runs: len(ours), Low: at(ours, 0.1), High: at(ours, 0.9)}
}

// against compares with a peer's value.
func (r result) against(peer string, theirs float64) result {
	ratio := r.Ours / theirs
	r.Peer, r.Theirs, r.Ratio = peer, &theirs, &ratio
	return r
}

// inTurns compares each run with the peer's run right after it: the machine's other load changes slowly, so it affects
// both.
func (r result) inTurns(peer string, ours, theirs []float64) result {
	r = r.against(peer, at(theirs, 0.5))
	ratio := ratioInTurns(ours, theirs)
	r.Ratio = &ratio
	return r
}

// ratioInTurns is the median of the ratios of neighbouring runs.
func ratioInTurns(ours, theirs []float64) float64 {
	var ratios []float64
	for i := range min(len(ours), len(theirs)) {
		ratios = append(ratios, ours[i]/theirs[i])
	}
	return at(ratios, 0.5)
}

func (r result) wants(g goal) result {
	met := g.met(r)
	r.Goal, r.Met = g.text, &met
	return r
}

func (r result) noting(format string, args ...any) result {
	r.Note = fmt.Sprintf(format, args...)
	return r
}

// at is a quantile of samples, by nearest rank.
func at(samples []float64, q float64) float64 {
	if len(samples) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(samples))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

func (r result) String() string {
	theirs, ratio, verdict := "-", "-", ""
	if r.Theirs != nil {
		theirs = fmt.Sprintf("%s %s", r.Peer, number(*r.Theirs))
		ratio = fmt.Sprintf("%.3f", *r.Ratio)
	}
	if r.Met != nil {
		verdict = "met"
		if !*r.Met {
			verdict = "MISSED"
		}
	}
	line := fmt.Sprintf("%-52s %10s %-5s %-28s %7s  %-14s %-7s runs %-4d spread %s..%s",
		r.Name, number(r.Ours), r.Unit, theirs, ratio, cmp.Or(r.Goal, "-"), cmp.Or(verdict, "-"), r.Runs, number(r.Low), number(r.High))
	if r.Note != "" {
		line += "  (" + r.Note + ")"
	}
	return line
}

// number has three significant digits, and every digit before the point.
func number(x float64) string {
	if x >= 100 || x <= -100 {
		return fmt.Sprintf("%.0f", x)
	}
	return fmt.Sprintf("%.3g", x)
}

// reporter prints results as they come.
type reporter struct{ lines, json io.Writer }

func (p reporter) report(results ...result) {
	for _, r := range results {
		fmt.Fprintln(p.lines, r)
		line, err := json.Marshal(r)
		if err != nil { // a value that is not a number
			line, _ = json.Marshal(map[string]string{"name": r.Name, "error": err.Error()})
		}
		fmt.Fprintf(p.json, "%s\n", line)
	}
}
