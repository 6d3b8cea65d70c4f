package drill

import "strings"

// Share is the transfer's rate in a slice, of the rate that it is held to.
func (t Tick) Share() float64 { return float64(t.Bytes) / Slice.Seconds() / bulkRate }

// Mbps is the transfer's rate in megabits per second.
func (t Tick) Mbps() float64 { return float64(t.Bytes) * 8 / 1e6 / Slice.Seconds() }

var (
	eighths = []rune(" ▏▎▍▌▋▊▉█") // of a character's width
	levels  = []rune(" ▁▂▃▄▅▆▇█") // of its height
)

// Bar is as long as a share of a width, and what is missing to the width. More than all is shown as all.
func Bar(share float64, width int) (bar, pad string) {
	n := int(min(max(share, 0), 1)*float64(width*8) + 0.5)
	bar = strings.Repeat("█", n/8)
	if n%8 > 0 {
		bar += string(eighths[n%8])
	}
	return bar, strings.Repeat(" ", width-(n+7)/8)
}

// Sparkline has a character for each slice of time: as high as the transfer's rate, and × where probes were lost.
func Sparkline(ticks []Tick) (rate, lost string) {
	var heights, marks strings.Builder
	for _, t := range ticks {
		level := int(min(max(t.Share(), 0), 1)*8 + 0.5)
		if level == 0 && t.Bytes > 0 {
			level = 1
		}
		heights.WriteRune(levels[level])
		if t.Lost > 0 {
			marks.WriteRune('×')
		} else {
			marks.WriteRune(' ')
		}
	}
	return heights.String(), marks.String()
}

// Marks has a ▲ below each slice in which something was done.
func Marks(moments []Moment) string {
	var b strings.Builder
	for _, m := range moments {
		if len(m.Marks) > 0 {
			b.WriteRune('▲')
		} else {
			b.WriteRune(' ')
		}
	}
	return strings.TrimRight(b.String(), " ")
}

// Both is what both directions have lost.
func (p Phase) Both() (sum Figures) {
	for _, f := range []*Figures{p.In, p.Out} {
		if f != nil {
			sum.Sent += f.Sent
			sum.Lost += f.Lost
			sum.Duplicates += f.Duplicates
			sum.Connections += f.Connections
			sum.Kept += f.Kept
			sum.GapMS, sum.StallMS = max(sum.GapMS, f.GapMS), max(sum.StallMS, f.StallMS)
		}
	}
	return sum
}
