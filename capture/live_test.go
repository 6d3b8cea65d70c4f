package capture

import (
	"context"
	"fmt"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"github.com/overlane/overlane/internal/roottest"
	"github.com/overlane/overlane/model"
	"github.com/vishvananda/netns"
)

const (
	hereNS  = "capture-here"
	thereNS = "capture-there"
)

// Two namespaces with the kernel's own VXLAN devices on VNI 100 and 200 between them. What tunnel 100 carries is seen,
// decoded and named; tunnel 200 and what is in no tunnel does not pass the filter.
func TestLive(t *testing.T) {
	makeHosts(t)
	live := openIn(t, hereNS, []string{"up0"}, DefaultPort, []model.VNI{100})
	run(t, "ip", "netns", "exec", hereNS, "ping", "-c", "1", "-W", "5", "192.168.5.3")
	run(t, "ip", "netns", "exec", hereNS, "ping", "-c", "1", "-W", "5", "-I", "vx200", "10.200.0.3")
	run(t, "ip", "netns", "exec", hereNS, "ping", "-c", "1", "-W", "5", "-I", "vx100", "172.17.42.10")

	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var summaries []string
	for len(summaries) < 4 { // who has and is at, request and reply; IPv6's own business aside
		p, err := live.Next(ctx)
		if err != nil {
			t.Fatalf("after %q: %v", summaries, err)
		}
		f := Decode(p, DefaultPort)
		if vni, tunnel := f.VNI(); !tunnel || vni != 100 || p.Interface != "up0" {
			t.Errorf("passed the filter: tunnel %v, VNI %d on %s", tunnel, vni, p.Interface)
		}
		if _, dst := f.Inner.addresses(); dst.Is4() {
			line := Printer{Names: NewNames(testView)}.Line(p, &f)
			summaries = append(summaries, line[len(clock)+2:])
			t.Log(line)
		}
	}
	const asks = "host1 > host2 VNI 100 blue/web  172.17.42.2 (blue/web/web1) > 172.17.42.10 (blue/web/db1)  ICMP echo request"
	const answers = "host2 > host1 VNI 100 blue/web  172.17.42.10 (blue/web/db1) > 172.17.42.2 (blue/web/web1)  ICMP echo reply"
	for i, want := range []string{asks, answers} {
		if got := summaries[2+i]; len(got) < len(want) || got[:len(want)] != want {
			t.Errorf("got  %s\nwant %s...", got, want)
		}
	}
	stats, err := live.Stats()
	if err != nil || stats.Seen < 4 || stats.Dropped != 0 {
		t.Errorf("statistics %+v, %v", stats, err)
	}
}

// All interfaces, no filter: what is in no tunnel is seen too, with the interface's name.
func TestLiveWithoutFilter(t *testing.T) {
	makeHosts(t)
	live := openIn(t, hereNS, []string{"up0", "vx100"}, 0, nil)
	run(t, "ip", "netns", "exec", hereNS, "ping", "-c", "1", "-W", "5", "-I", "vx100", "172.17.42.10")
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	seen := map[string]bool{}
	for !seen["up0 true"] || !seen["vx100 false"] {
		p, err := live.Next(ctx)
		if err != nil {
			t.Fatalf("seen %v: %v", seen, err)
		}
		f := Decode(p, DefaultPort)
		_, tunnel := f.VNI()
		seen[fmt.Sprint(p.Interface, " ", tunnel)] = true
	}
}

func TestOpenErrors(t *testing.T) {
	for _, names := range [][]string{nil, {"no-such-interface"}, {"lo", "no-such-interface"}} {
		if l, err := Open(names, DefaultPort, nil); err == nil {
			l.Close()
			t.Errorf("%q was opened", names)
		} else {
			t.Log(err)
		}
	}
}

func TestCloseEndsNext(t *testing.T) {
	roottest.Need(t)
	l, err := Open([]string{"lo"}, 9, []model.VNI{1})
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if p, err := l.Next(context.Background()); err == nil {
		t.Errorf("a packet after the end: %v", p)
	}
}

func makeHosts(t *testing.T) {
	t.Helper()
	roottest.Need(t)
	gone := func() {
		for _, ns := range []string{hereNS, thereNS} {
			_ = exec.Command("ip", "netns", "del", ns).Run() // it may not be there
		}
	}
	gone()
	t.Cleanup(gone)
	run(t, "ip", "netns", "add", hereNS)
	run(t, "ip", "netns", "add", thereNS)
	run(t, "ip", "-n", hereNS, "link", "add", "up0", "type", "veth", "peer", "name", "up0", "netns", thereNS)
	for i, ns := range []string{hereNS, thereNS} {
		other := fmt.Sprint("192.168.5.", 3-i)
		run(t, "ip", "-n", ns, "addr", "add", fmt.Sprintf("192.168.5.%d/24", 2+i), "dev", "up0")
		run(t, "ip", "-n", ns, "link", "set", "up0", "up")
		for vni, address := range map[string]string{"100": fmt.Sprintf("172.17.42.%d/24", []int{2, 10}[i]), "200": fmt.Sprintf("10.200.0.%d/24", 2+i)} {
			run(t, "ip", "-n", ns, "link", "add", "vx"+vni, "type", "vxlan", "id", vni, "dstport", "4789", "remote", other, "dev", "up0")
			run(t, "ip", "-n", ns, "addr", "add", address, "dev", "vx"+vni)
			run(t, "ip", "-n", ns, "link", "set", "vx"+vni, "up")
		}
	}
}

// openIn opens in a network namespace: the thread goes there, and back.
func openIn(t *testing.T, name string, interfaces []string, port uint16, vnis []model.VNI) *Live {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	back, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	defer back.Close()
	there, err := netns.GetFromName(name)
	if err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	if err := netns.Set(there); err != nil {
		t.Fatal(err)
	}
	live, err := Open(interfaces, port, vnis)
	if e := netns.Set(back); e != nil {
		panic(e) // this thread is of no use any more
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(live.Close)
	return live
}
