package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// cpu is the CPU time that processes have used up to now, to the nanosecond: the sum over their threads (schedstat; see
// Documentation/scheduler/sched-stats in the kernel). The time of threads that have ended is missing; Go's threads do
// not end.
func cpu(pids ...int) (sum time.Duration) {
	for _, pid := range pids {
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
		for _, file := range threads {
			text, err := os.ReadFile(file)
			if err != nil {
				continue // it has just ended
			}
			first, _, _ := strings.Cut(string(text), " ")
			ns, _ := strconv.ParseInt(first, 10, 64)
			sum += time.Duration(ns)
		}
	}
	return sum
}

// rss is a process's memory in MB (2^20 bytes).
func rss(pid int) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text))
	pages, _ := strconv.ParseInt(fields[1], 10, 64)
	return float64(pages*int64(os.Getpagesize())) / (1 << 20)
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// samples are wall and CPU times of repeated runs, in milliseconds.
type samples struct{ wall, cpu []float64 }

// take runs f once. Spent gives the CPU time that all processes involved have used so far; f may return more.
func (s *samples) take(spent func() time.Duration, f func() (more time.Duration, err error)) error {
	before, began := spent(), time.Now()
	more, err := f()
	s.wall = append(s.wall, ms(time.Since(began)))
	s.cpu = append(s.cpu, ms(spent()-before+more))
	return err
}

// f is the only process involved.
func nobody() time.Duration { return 0 }
