package lab

import (
	"context"
	"strconv"

	"github.com/overlane/overlane/internal/pattern"
)

// Overflows counts, for each socket by which the hosts' switches get packets, those that found it full. On the
// userspace datapath these are the packets that a busy machine loses: ovs-vswitchd did not run for too long. On the
// kernel's there are no such sockets.
type Overflows map[string]int

// socketLine is a socket of ovs-vswitchd in what "ss -0 -a -n -m -p" prints; see ss(8), --memory.
var socketLine = pattern.Of(`users:\(\(("ovs-vswitchd",pid=\d+,fd=\d+)\)\)\s+skmem:\([^)]*,d(\d+)\)`)

// Overflows reads all hosts'.
func (l *Lab) Overflows(ctx context.Context) (Overflows, error) {
	all := Overflows{}
	for _, h := range l.Hosts() {
		out, err := h.Exec(ctx, "ss", "-0", "-a", "-n", "-m", "-p")
		if err != nil {
			return nil, err
		}
		for _, m := range socketLine().FindAllStringSubmatch(out, -1) {
			n, err := strconv.Atoi(m[2])
			if err != nil {
				return nil, err
			}
			all[h.Name+" "+m[1]] += n
		}
	}
	return all, nil
}

// Since is how many packets were lost after an earlier count. Those of a socket that has been closed meanwhile are not
// known.
func (now Overflows) Since(before Overflows) (packets int) {
	for socket, n := range now {
		packets += max(n-before[socket], 0)
	}
	return packets
}
