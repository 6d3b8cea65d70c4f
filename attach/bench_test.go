package attach

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/overlane/overlane/ovs"
	"github.com/overlane/overlane/ovs/ovstest"
)

// article is what the article's work_net.sh does for one container, with the commands that it uses.
const article = `set -e
ns=$1 host=$2 ip=$3 gw=$4 db=$5
ip link add "$host" type veth peer name "peer$host"
ip link set "$host" up
ovs-vsctl --db="unix:$db" add-port br-article "$host" tag=100
ip link set "peer$host" netns "$ns"
ip -n "$ns" link set "peer$host" name eth0
ip -n "$ns" addr add "$ip/24" dev eth0
ip -n "$ns" link set eth0 up
ip -n "$ns" route add default via "$gw"
nsenter --net=/var/run/netns/"$ns" ethtool -K eth0 tx off >/dev/null
`

// BenchmarkAttach measures one endpoint's interface and port, ours and the article's script in turns, on the same Open
// vSwitch. It prints the median and 99th percentile of wall time, and CPU time with that of children (but not of the
// switch, which is the same for both).
func BenchmarkAttach(b *testing.B) {
	o, db, state := hostSwitch(b)
	o.Vsctl("add-br", "br-article", "--", "set", "bridge", "br-article", "datapath_type="+state.Datapath)
	script := filepath.Join(b.TempDir(), "work_net.sh")
	if err := os.WriteFile(script, []byte(article), 0o755); err != nil {
		b.Fatal(err)
	}
	const ns = "attach-bench"
	var ours, theirs samples
	for b.Loop() {
		newNetnsOnce(b, ns, func() {
			r := request(ns, ns, 2)
			ours.take(func() { attachOurs(b, db, r) })
			if err := db.RemovePort(b.Context(), r.HostIf); err != nil {
				b.Fatal(err)
			}
			unplumb(b, r.HostIf)
		})
		newNetnsOnce(b, ns, func() {
			theirs.take(func() { attachTheirs(b, script, o, ns) })
			o.Vsctl("del-port", "art0")
			ip(b, "link", "del", "art0")
		})
	}
	ours.report(b, "ours")
	theirs.report(b, "script")
	fmt.Printf("attach: wall p50 ours/script %.3f\n", float64(ours.percentile(50))/float64(theirs.percentile(50)))
}

func attachOurs(b *testing.B, db *ovs.DB, r Request) {
	if _, err := Plumb(b.Context(), r); err != nil {
		b.Fatal(err)
	}
	if _, err := db.AddPort(b.Context(), ovs.Port{Name: r.HostIf, ExternalIDs: map[string]string{"overlane-endpoint": "blue/web/db1"}}); err != nil {
		b.Fatal(err)
	}
}

func attachTheirs(b *testing.B, script string, o *ovstest.OVS, ns string) {
	if out, err := exec.Command("bash", script, ns, "art0", "172.17.42.2", "172.17.42.1", o.DB).CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
}

func newNetnsOnce(b *testing.B, name string, f func()) {
	ip(b, "netns", "add", name)
	defer ip(b, "netns", "del", name)
	f()
}

type samples struct{ wall, cpu []time.Duration }

func (s *samples) take(f func()) {
	cpu, start := cpuTime(), time.Now()
	f()
	s.wall = append(s.wall, time.Since(start))
	s.cpu = append(s.cpu, cpuTime()-cpu)
}

func (s *samples) percentile(p int) time.Duration { return percentile(s.wall, p) }

func percentile(d []time.Duration, p int) time.Duration {
	sorted := slices.Sorted(slices.Values(d))
	return sorted[min(len(sorted)*p/100, len(sorted)-1)]
}

func (s *samples) report(b *testing.B, name string) {
	fmt.Printf("attach %-7s n=%-4d wall p50 %-12v p99 %-12v cpu p50 %-12v p99 %v\n", name+":", len(s.wall),
		percentile(s.wall, 50), percentile(s.wall, 99), percentile(s.cpu, 50), percentile(s.cpu, 99))
	unit := strings.ReplaceAll(name, " ", "-")
	b.ReportMetric(float64(percentile(s.wall, 50).Microseconds()), unit+"-p50-µs")
	b.ReportMetric(float64(percentile(s.cpu, 50).Microseconds()), unit+"-cpu-µs")
}

// cpuTime is what this process and its finished children have used.
func cpuTime() (sum time.Duration) {
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		_ = syscall.Getrusage(who, &u) // fails for an unknown who only
		sum += time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	return sum
}
