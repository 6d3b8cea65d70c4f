package lab_test

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netns"

	"github.com/overlane/overlane/examples"
	"github.com/overlane/overlane/internal/roottest"
	"github.com/overlane/overlane/lab"
	"github.com/overlane/overlane/lab/labtest"
)

func TestTwoHostsWithDocker(t *testing.T) {
	l := labtest.Up(t, `
hosts:
- {name: host1, docker: true}
- {name: host2, docker: true}
`)
	one, two := l.Host("host1"), l.Host("host2")
	labtest.Exec(t, one, "ping", "-c1", "-W5", "host2")
	for _, h := range []*lab.Host{one, two} {
		labtest.Exec(t, h, "ovs-vsctl", "add-br", "br-"+h.Name, "--", "set", "bridge", "br-"+h.Name, "datapath_type=netdev")
		if got, want := labtest.Exec(t, h, "ovs-vsctl", "list-br"), "br-"+h.Name+"\n"; got != want {
			t.Errorf("bridges of %s: %q, want %q", h.Name, got, want)
		}
		labtest.Exec(t, h, "docker", "run", "-d", "--net=none", "--name", "c-"+h.Name, lab.Image, "sleep", "1000")
		if got, want := labtest.Exec(t, h, "docker", "ps", "--format", "{{.Names}}"), "c-"+h.Name+"\n"; got != want {
			t.Errorf("containers of %s: %q, want %q", h.Name, got, want)
		}
		if got := labtest.Exec(t, h, "docker", "exec", "c-"+h.Name, "ip", "-o", "link"); strings.Count(got, "\n") != 1 {
			t.Errorf("a container without network has more than lo:\n%s", got)
		}
	}
}

// Inside a host everything is at its usual place, and is nobody else's.
func TestHostHasItsOwnFiles(t *testing.T) {
	l := labtest.Up(t, `hosts: [{name: host1}, {name: host2}]`)
	for _, name := range []string{"host1", "host2"} {
		h := l.Host(name)
		labtest.Exec(t, h, "sh", "-c", `mkdir -p /etc/overlane /run/overlane /var/lib/overlane &&
			for d in etc run var/lib; do hostname >/$d/overlane/lab-test; done`)
		for _, dir := range []string{"/etc", "/run", "/var/lib"} {
			inside, err := os.ReadFile(h.Root() + dir + "/overlane/lab-test")
			if err != nil || string(inside) != name+"\n" {
				t.Errorf("%s of %s has %q, %v", dir, name, inside, err)
			}
			if _, err := os.Stat(dir + "/overlane/lab-test"); err == nil {
				t.Errorf("a file in %s of %s is on the machine itself", dir, name)
			}
		}
	}
}

func TestThreeHostsJoinAndLeave(t *testing.T) {
	ctx := t.Context()
	l := labtest.Up(t, `
underlay:
  cidr: 10.9.0.0/16
  mtu: 9000
  links: [{host: small, mtu: 1400}]
hosts: [{name: host1}, {name: small, address: 10.9.1.1}]
`)
	if got := labtest.Exec(t, l.Host("host1"), "ip", "-o", "link", "show", "eth0"); !strings.Contains(got, "mtu 9000 ") {
		t.Errorf("link of host1: %s", got)
	}
	if got := labtest.Exec(t, l.Host("small"), "ip", "-o", "link", "show", "eth0"); !strings.Contains(got, "mtu 1400 ") {
		t.Errorf("link of small: %s", got)
	}
	three, err := l.AddHost(ctx, lab.HostSpec{Name: "host3"})
	if err != nil {
		t.Fatal(err)
	}
	labtest.Exec(t, three, "ping", "-c1", "-W5", "10.9.1.1")
	labtest.Exec(t, l.Host("host1"), "ping", "-c1", "-W5", "host3")
	if err := l.RemoveHost(ctx, "small"); err != nil {
		t.Fatal(err)
	}
	if out, err := three.Exec(ctx, "ping", "-c1", "-W1", "10.9.1.1"); err == nil {
		t.Errorf("a host that was removed answers:\n%s", out)
	}
	if err := l.SetLink("host3", false); err != nil {
		t.Fatal(err)
	}
	if out, err := three.Exec(ctx, "ping", "-c1", "-W1", l.Host("host1").Address.String()); err == nil {
		t.Errorf("a link that is down carries:\n%s", out)
	}
}

// A host leaves in the router's name, and nobody outside reaches it unasked. What another network's addresses send
// passes as it is.
func TestOutside(t *testing.T) {
	ctx := t.Context()
	l := labtest.Up(t, `
underlay: {mtu: 9000}
outside:
  machines: [{name: client}, {name: server, address: 198.51.100.20}]
  routes:
  - {to: 192.0.2.0/24, via: [203.0.113.11, 203.0.113.12]}
  - {to: 192.0.2.128/32, via: [203.0.113.5]}
hosts: [{name: host1}, {name: edge1, uplink: true, uplinkAddress: 203.0.113.5}, {name: edge2, uplink: true}]
`)
	host1, edge1, edge2 := l.Host("host1"), l.Host("edge1"), l.Host("edge2")
	client, server, router := l.Machine("client"), l.Machine("server"), l.Machine("router")
	var names []string
	for _, m := range l.Machines() {
		names = append(names, m.Name)
	}
	if got, want := strings.Join(names, " "), "host1 edge1 edge2 router client server"; got != want || len(l.Hosts()) != 3 || l.Host("client") != nil {
		t.Errorf("machines %s, want %s; %d hosts", got, want, len(l.Hosts()))
	}
	for _, m := range []*lab.Machine{client, server} {
		tellPeers(t, m)
	}
	labtest.Exec(t, host1, "ping", "-c1", "-W5", "client")
	labtest.Exec(t, client, "ping", "-c1", "-W5", "server")
	expect(t, "of host1 the client sees", peerSeen(t, host1, "client"), "198.51.100.1")
	expect(t, "of a machine outside the client sees", peerSeen(t, server, "client"), "198.51.100.20")
	for _, target := range []string{"host1", "edge1"} {
		silent(t, client, target)
	}

	labtest.Exec(t, edge1, "ping", "-c1", "-W5", "-I", "eth1", "203.0.113.1")
	labtest.Exec(t, client, "ping", "-c1", "-W5", "203.0.113.5")
	labtest.Exec(t, edge1, "ip", "address", "add", "192.0.2.128/32", "dev", "lo")
	labtest.Exec(t, client, "ping", "-c1", "-W5", "192.0.2.128")
	labtest.Exec(t, edge1, "ip", "route", "add", "198.51.100.20", "via", "203.0.113.1", "src", "192.0.2.128")
	expect(t, "of a public address the server sees", peerSeen(t, edge1, "server"), "192.0.2.128")
	if got := labtest.Exec(t, edge2, "ip", "-o", "address", "show", "dev", "eth1"); got != "" {
		t.Errorf("an uplink has an address unasked: %s", got)
	}
	expect(t, "several next hops", strings.Join(strings.Fields(labtest.Exec(t, router, "ip", "route", "show", "192.0.2.0/24")), " "),
		"192.0.2.0/24 nexthop via 203.0.113.11 dev eth1 weight 1 nexthop via 203.0.113.12 dev eth1 weight 1")
	expect(t, "next hops are chosen by", labtest.Exec(t, router, "cat", "/proc/sys/net/ipv4/fib_multipath_hash_policy"), "1\n")

	for _, cable := range []struct {
		of  *lab.Machine
		nic string
		via string // answers by it
	}{{host1.Machine, "eth0", "192.168.5.2"}, {edge1.Machine, "eth1", "203.0.113.5"}, {client, "eth0", "client"}, {router, "eth2", "client"}} {
		if err := cable.of.SetLink(cable.nic, false); err != nil {
			t.Fatal(err)
		}
		silent(t, router, cable.via)
		if err := cable.of.SetLink(cable.nic, true); err != nil {
			t.Fatal(err)
		}
		labtest.Exec(t, router, "sh", "-c", "until ping -c1 -W1 "+cable.via+"; do :; done")
	}
	if err := client.SetLink("eth1", false); err == nil || !strings.Contains(err.Error(), "client has no interface eth1") {
		t.Errorf("a cable that is not there: %v", err)
	}

	added, err := l.AddHost(ctx, lab.HostSpec{Name: "edge3", Uplink: true, UplinkAddress: netip.MustParseAddr("203.0.113.12")})
	if err != nil {
		t.Fatal(err)
	}
	labtest.Exec(t, added, "ping", "-c1", "-W5", "203.0.113.5")
	labtest.Exec(t, client, "ping", "-c1", "-W5", "203.0.113.12")
	if err := l.RemoveMachine(ctx, "server"); err != nil {
		t.Fatal(err)
	}
	silent(t, host1, "198.51.100.20")
	for _, name := range []string{"server", "router", "host1"} {
		if err := l.RemoveMachine(ctx, name); err == nil {
			t.Errorf("%s was removed as a machine outside", name)
		}
	}
	if err := l.RemoveHost(ctx, "edge3"); err != nil {
		t.Fatal(err)
	}
	silent(t, client, "203.0.113.12")
	if err := l.Down(ctx); err != nil {
		t.Fatal(err)
	}
	nothingLeft(t, l.Dir, l.File.Name)
}

// tellPeers has a machine answer on port 80 with the address that it sees its peer at.
func tellPeers(t *testing.T, m *lab.Machine) {
	t.Helper()
	var listener net.Listener
	listened := make(chan error)
	go func() {
		runtime.LockOSThread() // and it ends with this function
		ns, err := netns.GetFromPath(m.Netns())
		if err == nil {
			defer ns.Close()
			err = netns.Set(ns)
		}
		if err == nil {
			listener, err = net.Listen("tcp4", ":80")
		}
		listened <- err
	}()
	if err := <-listened; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(c, c.RemoteAddr().(*net.TCPAddr).IP)
			c.Close()
		}
	}()
}

func peerSeen(t *testing.T, from labtest.Runner, to string) string {
	t.Helper()
	return labtest.Exec(t, from, "busybox", "nc", "-w5", to, "80")
}

// silent fails the test if an address answers.
func silent(t *testing.T, from labtest.Runner, address string) {
	t.Helper()
	if out, err := from.Exec(t.Context(), "ping", "-c1", "-W1", address); err == nil {
		t.Errorf("%s answers:\n%s", address, out)
	}
}

func expect(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s %q, want %q", what, got, want)
	}
}

func TestExamples(t *testing.T) {
	files, err := fs.Glob(examples.Files, "*.lab.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no examples", err)
	}
	for _, file := range files {
		data, err := examples.Files.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := lab.Parse(data); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// What hosts write is in memory, or where the options say.
func TestDisk(t *testing.T) {
	disk := t.TempDir()
	l := labtest.Up(t, `hosts: [{name: host1}]`, func(o *lab.Options) { o.Disk = disk })
	labtest.Exec(t, l.Host("host1"), "sh", "-c", "echo hello >/var/lib/lab-test")
	found, err := filepath.Glob(disk + "/*/host1/lib/lab-test")
	if err != nil || len(found) != 1 {
		t.Errorf("on the disk: %v, %v", found, err)
	}
	if err := l.Down(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(disk); err != nil || len(left) > 0 {
		t.Errorf("left on the disk: %v, %v", left, err)
	}
}

func TestRestartOVS(t *testing.T) {
	l := labtest.Up(t, `hosts: [{name: host1}]`)
	h := l.Host("host1")
	labtest.Exec(t, h, "ovs-vsctl", "add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev")
	before := h.Daemons()["ovs-vswitchd"].PID()
	if err := h.RestartOVS(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after := h.Daemons()["ovs-vswitchd"].PID(); after == before || after == 0 {
		t.Errorf("ovs-vswitchd was process %d and is %d", before, after)
	}
	if got := labtest.Exec(t, h, "ovs-vsctl", "list-br"); got != "br0\n" {
		t.Errorf("bridges after the restart: %q", got)
	}
}

// A lab that one process left is found and ended by another one, as often as that likes.
func TestDownFromAnotherProcess(t *testing.T) {
	roottest.Need(t)
	dir := t.TempDir()
	f, err := lab.Parse([]byte(`hosts: [{name: host1, docker: true}]`))
	if err != nil {
		t.Fatal(err)
	}
	f.Name = labtest.Name(t)
	if _, err := lab.Up(t.Context(), f, lab.Options{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	l, err := lab.Open(f.Name, lab.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	labtest.Exec(t, l.Host("host1"), "docker", "run", "-d", "--net=none", lab.Image, "sleep", "1000")
	if len(thatSee(t, dir)) == 0 {
		t.Error("no process of the lab shows by its mounts: the test cannot fail")
	}
	if _, err := lab.Up(t.Context(), f, lab.Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "exists already") {
		t.Errorf("up a second time: %v", err)
	}
	for range 2 {
		if err := l.Down(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	nothingLeft(t, dir, f.Name)
}

// Whenever the process that brings a lab up is killed, down leaves nothing, and needs no luck for it: at the first sign
// of a folder, and after each step, while others are half done.
func TestKilledWhileComingUp(t *testing.T) {
	roottest.Need(t)
	for steps := 0; ; steps++ {
		dir := t.TempDir()
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestBringUpForAnother$")
		cmd.Env = append(os.Environ(), "LAB_DIR="+dir, fmt.Sprintf("LAB_STEPS=%d", steps))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if steps == 0 {
			awaitEntry(t, dir)
			_ = cmd.Process.Kill()
		}
		err := cmd.Wait()
		if err != nil && !cmd.ProcessState.Sys().(syscall.WaitStatus).Signaled() {
			t.Fatal(steps, err)
		}
		names, listed := lab.List(dir)
		if listed != nil {
			t.Fatal(listed)
		}
		t.Logf("%d steps done: %v, %v", steps, err, names)
		for _, name := range names {
			l, err := lab.Open(name, lab.Options{Dir: dir})
			if err != nil {
				t.Fatal(steps, err)
			}
			if err := l.Down(t.Context()); err != nil {
				t.Fatal(steps, err)
			}
		}
		nothingLeft(t, dir, killed)
		if err == nil { // it was done before it had taken so many steps
			if steps < 8 {
				t.Errorf("there are %d steps only", steps-1)
			}
			return
		}
	}
}

// awaitEntry waits until something is in a folder.
func awaitEntry(t *testing.T, dir string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("nothing comes up")
		}
	}
}

const killed = "t-killed"

// A lab that is tied to a process ends with it, however that ends.
func TestTiedLabEndsWithItsProcess(t *testing.T) {
	roottest.Need(t)
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestBringUpForAnother$")
	cmd.Env = append(os.Environ(), "LAB_DIR="+dir, "LAB_TIED=1")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	l := waitUp(t, dir)
	if l.Abandoned() {
		t.Error("abandoned by a process that lives")
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if !l.Abandoned() {
		t.Error("its process is dead, and it is not abandoned")
	}
	awaitNobodySees(t, dir)
	if err := l.Down(t.Context()); err != nil {
		t.Fatal(err)
	}
	nothingLeft(t, dir, killed)
}

// waitUp waits until another process has brought up its lab, all three hosts of it.
func waitUp(t *testing.T, dir string) *lab.Lab {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		l, err := lab.Open(killed, lab.Options{Dir: dir})
		if err == nil && len(l.Hosts()) == 3 && l.Host("host3").Daemons()["ovs-vswitchd"] != nil {
			return l
		}
		if time.Now().After(deadline) {
			t.Fatal("the lab did not come up:", err)
		}
	}
}

// TestBringUpForAnother is the process that others kill, or that kills itself after so many steps.
func TestBringUpForAnother(t *testing.T) {
	dir := os.Getenv("LAB_DIR")
	if dir == "" {
		return // it is no test by itself
	}
	f, err := lab.Parse([]byte(`
outside: {machines: [{name: client}]}
hosts: [{name: host1, docker: true}, {name: host2, docker: true, uplink: true}, {name: host3}]`))
	if err != nil {
		t.Fatal(err)
	}
	f.Name = killed
	tied := os.Getenv("LAB_TIED") != ""
	steps, _ := strconv.Atoi(os.Getenv("LAB_STEPS"))
	var done atomic.Int64
	progress := func(lab.Step) {
		if done.Add(1) == int64(steps) {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
	}
	if _, err := lab.Up(t.Context(), f, lab.Options{Dir: dir, Tied: tied, Progress: progress}); err != nil {
		t.Fatal(err)
	}
	if tied {
		select {} // until it is killed
	}
}

func TestUpThatFailsLeavesNothing(t *testing.T) {
	roottest.Need(t)
	ctx, cancel := context.WithCancel(t.Context())
	f, err := lab.Parse([]byte(`hosts: [{name: host1}, {name: host2, docker: true}]`))
	if err != nil {
		t.Fatal(err)
	}
	f.Name = labtest.Name(t)
	dir := t.TempDir()
	stop := func(s lab.Step) {
		if s.What == "Open vSwitch" {
			cancel()
		}
	}
	if _, err := lab.Up(ctx, f, lab.Options{Dir: dir, Progress: stop}); err == nil {
		t.Fatal("a lab came up although it was called off")
	}
	nothingLeft(t, dir, f.Name)
}

// nothingLeft fails the test if anything is left of a lab: its folder, a cgroup, a mount here, or a process, which
// shows by its mounts, since all processes of a lab see its folder mounted. Other tests run beside this one, so it
// looks for this lab only.
func nothingLeft(t *testing.T, dir, name string) {
	t.Helper()
	if names, err := lab.List(dir); err != nil || len(names) > 0 {
		t.Errorf("labs left: %v, %v", names, err)
	}
	for _, pattern := range []string{"/sys/fs/cgroup/*/overlane-lab-" + name, "/sys/fs/cgroup/overlane-lab-" + name} {
		if found, err := filepath.Glob(pattern); err != nil || len(found) > 0 {
			t.Errorf("cgroups left: %v, %v", found, err)
		}
	}
	awaitNobodySees(t, dir)
}

// awaitNobodySees is patient: a first process that was never recorded ends when it finds that its maker is gone, not
// before.
func awaitNobodySees(t *testing.T, dir string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); len(thatSee(t, dir)) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("processes left: %v", thatSee(t, dir))
		}
	}
}

// thatSee are the processes that have mounts of a folder.
func thatSee(t *testing.T, dir string) (found []string) {
	t.Helper()
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil || len(processes) == 0 {
		t.Fatal("no processes", err)
	}
	for _, p := range processes {
		mounts, err := os.ReadFile(p + "/mountinfo")
		if err == nil && strings.Contains(string(mounts), dir) {
			command, _ := os.ReadFile(p + "/cmdline")
			found = append(found, p+" "+strings.ReplaceAll(string(command), "\x00", " "))
		}
	}
	return found
}
