package ovs

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/overlane/overlane/internal/roottest"
	"github.com/overlane/overlane/ovs/ovstest"
)

const patience = 30 * time.Second

var testLayout = Layout{
	Bridge: "br-overlane", Tunnel: "ovl-vxlan", VTEP: netip.MustParseAddr("192.168.5.2"),
	Datapath: Userspace, Tables: map[uint8]string{0: "admit", 3: "locate"},
}

// startIn runs an Open vSwitch with real ports in a new network namespace.
func startIn(t *testing.T, ns string) *ovstest.OVS {
	t.Helper()
	roottest.Need(t)
	ip(t, "netns", "add", ns)
	t.Cleanup(func() { ip(t, "netns", "del", ns) })
	return ovstest.Start(t, ovstest.Options{Netns: ns})
}

func ip(t testing.TB, args ...string) string {
	t.Helper()
	cmd := exec.Command("ip", args...)
	var problems strings.Builder // apart: ip warns of interfaces whose other end's namespace is just going
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, problems.String())
	}
	return string(out)
}

func open(t testing.TB, o *ovstest.OVS) *DB {
	t.Helper()
	db, err := Open(t.Context(), Config{Socket: o.DB})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func ensure(t testing.TB, db *DB, l Layout) State {
	t.Helper()
	s, err := db.Ensure(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func columns(o *ovstest.OVS, table, record string, names ...string) string {
	var b strings.Builder
	for _, name := range names {
		fmt.Fprintf(&b, "%s %s\n", name, strings.TrimSpace(o.Vsctl("get", table, record, name)))
	}
	return b.String()
}

func TestEnsureMakesTheBridge(t *testing.T) {
	t.Parallel()
	o := startIn(t, "ovsdb-make")
	db := open(t, o)
	s := ensure(t, db, testLayout)
	if diff := cmp.Diff(State{Datapath: "netdev", TunnelOFPort: 1}, s); diff != "" {
		t.Error(diff)
	}
	want := `datapath_type netdev
fail_mode secure
protocols [OpenFlow10, OpenFlow13, OpenFlow14, OpenFlow15]
external_ids {overlane=bridge}
type vxlan
options {dst_port="4789", key=flow, local_ip="192.168.5.2", remote_ip=flow}
external_ids {overlane=tunnel}
ofport 1
`
	got := columns(o, "bridge", "br-overlane", "datapath_type", "fail_mode", "protocols", "external_ids") +
		columns(o, "interface", "ovl-vxlan", "type", "options", "external_ids", "ofport")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	o.Ofctl("add-flow", "br-overlane", "actions=goto_table:3")
	if flows := o.Ofctl("--names", "dump-flows", "br-overlane"); !strings.Contains(flows, "table=admit") || !strings.Contains(flows, "goto_table:locate") {
		t.Errorf("tables have no names: %s", flows)
	}
	if s := ensure(t, db, testLayout); len(s.Repaired) > 0 {
		t.Errorf("a second time repaired %q", s.Repaired)
	}
}

// Without a wish, the machine decides, and a bridge that is there keeps what it has.
func TestEnsureChoosesTheDatapath(t *testing.T) {
	t.Parallel()
	o := startIn(t, "ovsdb-choose")
	l := testLayout
	l.Datapath = ""
	want := Userspace
	if kernelDatapath() {
		want = Kernel
	}
	if s := ensure(t, open(t, o), l); s.Datapath != want {
		t.Errorf("datapath %s, want %s", s.Datapath, want)
	}
	l.Datapath = "dpdk"
	if _, err := open(t, o).Ensure(t.Context(), l); err == nil {
		t.Error("took an unknown datapath")
	}
}

func TestEnsureRepairsDrift(t *testing.T) {
	t.Parallel()
	o := startIn(t, "ovsdb-drift")
	db := open(t, o)
	ensure(t, db, testLayout)
	for _, tt := range []struct{ by, want string }{
		{"set interface ovl-vxlan options:remote_ip=192.168.5.9", "tunnel port was vxlan with options dst_port=4789,key=flow,local_ip=192.168.5.2,remote_ip=192.168.5.9"},
		{"set interface ovl-vxlan options:csum=true", "tunnel port was vxlan with options csum=true,dst_port=4789,key=flow,local_ip=192.168.5.2,remote_ip=flow"},
		{"del-port ovl-vxlan", "tunnel port ovl-vxlan was missing"},
		{"set bridge br-overlane fail_mode=standalone", "fail_mode was not secure"},
		{"set bridge br-overlane protocols=OpenFlow10", "protocols were [OpenFlow10]"},
		{"clear bridge br-overlane flow_tables", "names of flow tables differed"},
		{"set bridge br-overlane datapath_type=system", `datapath_type was "system"`},
		{"del-br br-overlane", "bridge br-overlane was missing"},
	} {
		// ovs-vswitchd cannot do all of these, so ovs-vsctl must not wait for it.
		o.Vsctl(append([]string{"--no-wait"}, strings.Fields(tt.by)...)...)
		eventually(t, tt.by, func() bool { return len(db.rows().compare(testLayout)) > 0 })
		s := ensure(t, db, testLayout)
		if diff := cmp.Diff([]string{tt.want}, s.Repaired); diff != "" {
			t.Errorf("%s: %s", tt.by, diff)
		}
		if s := ensure(t, db, testLayout); len(s.Repaired) > 0 {
			t.Errorf("%s: a second time repaired %q", tt.by, s.Repaired)
		}
	}
}

func TestEnsureRefusesWhatIsNotOurs(t *testing.T) {
	t.Parallel()
	o := startIn(t, "ovsdb-foreign")
	db := open(t, o)
	o.Vsctl("--no-wait", "add-br", "br-theirs", "--", "set", "bridge", "br-theirs", "datapath_type=netdev", "--",
		"add-port", "br-theirs", "their-vxlan", "--", "set", "interface", "their-vxlan", "type=vxlan", "options:remote_ip=192.168.5.77")
	before := o.Vsctl("list", "bridge") + o.Vsctl("list", "port")
	for _, tt := range []struct{ bridge, tunnel, want string }{
		{"br-theirs", "ovl-vxlan", "a bridge of this name exists that Overlane has not made"},
		{"br-overlane", "their-vxlan", "a port their-vxlan exists that Overlane has not made"},
		{"their-vxlan", "ovl-vxlan", "a port of this name exists that Overlane has not made"},
	} {
		l := testLayout
		l.Bridge, l.Tunnel = tt.bridge, tt.tunnel
		eventually(t, "the bridge in the copy", func() bool { return db.rows().port("their-vxlan") != nil })
		if _, err := db.Ensure(t.Context(), l); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: got %v", tt, err)
		}
	}
	if diff := cmp.Diff(before, o.Vsctl("list", "bridge")+o.Vsctl("list", "port")); diff != "" {
		t.Errorf("changed what is not ours: %s", diff)
	}
}

// Somebody else's tunnel has what ours needs: that is said, and once it is gone all is well.
func TestTunnelInTheWay(t *testing.T) {
	t.Parallel()
	o := startIn(t, "ovsdb-inway")
	db := open(t, o)
	o.Vsctl("add-br", "br-theirs", "--", "set", "bridge", "br-theirs", "datapath_type=netdev", "--", "add-port", "br-theirs", "theirs", "--",
		"set", "interface", "theirs", "type=vxlan", "options:key=flow", "options:remote_ip=flow", "options:local_ip=192.168.5.2")
	for range 2 {
		if s, err := db.Ensure(t.Context(), testLayout); err == nil || !strings.Contains(err.Error(), "tunnel port ovl-vxlan: ") {
			t.Errorf("got %+v, %v", s, err)
		}
	}
	o.Vsctl("del-port", "theirs")
	eventually(t, "a tunnel port", func() bool {
		s, err := db.Ensure(t.Context(), testLayout)
		return err == nil && s.TunnelOFPort != 0
	})
}

func TestPortsComeAndGo(t *testing.T) {
	t.Parallel()
	const ns = "ovsdb-ports"
	o := startIn(t, ns)
	db := open(t, o)
	if _, err := db.AddPort(t.Context(), Port{Name: "ovla"}); !errors.Is(err, errNotEnsured) {
		t.Errorf("before the bridge is made: %v", err)
	}
	ensure(t, db, testLayout)
	ids := map[string]string{"overlane-endpoint": "blue/web/db1"}
	ip(t, "-n", ns, "link", "add", "ovla", "up", "type", "veth", "peer", "name", "peer-a")
	ip(t, "-n", ns, "link", "set", "peer-a", "up")
	got, err := db.AddPort(t.Context(), Port{Name: "ovla", ExternalIDs: ids})
	if err != nil {
		t.Fatal(err)
	}
	want := Port{Name: "ovla", OFPort: 2, OFPortRequest: 2, ExternalIDs: ids}
	if diff := cmp.Diff([]Port{want}, db.Ports()); diff != "" {
		t.Error(diff)
	}
	again, err := db.AddPort(t.Context(), Port{Name: "ovla", ExternalIDs: map[string]string{"overlane-endpoint": "blue/web/db2"}})
	if err != nil || again.OFPort != got.OFPort || again.ExternalIDs["overlane-endpoint"] != "blue/web/db2" {
		t.Errorf("again: %+v, %v", again, err)
	}
	for range 2 {
		if err := db.RemovePort(t.Context(), "ovla"); err != nil {
			t.Error(err)
		}
	}
	if ports := db.Ports(); len(ports) > 0 {
		t.Errorf("left: %v", ports)
	}
	if next, err := db.AddPort(t.Context(), Port{Name: "ovla"}); err != nil || next.OFPort == got.OFPort {
		t.Errorf("the number %d is used again at once (%v)", next.OFPort, err)
	}
}

// An interface that is missing is refused with ovs-vswitchd's words, and no row stays behind.
func TestPortWithoutInterface(t *testing.T) {
	t.Parallel()
	const ns = "ovsdb-nodev"
	o := startIn(t, ns)
	db := open(t, o)
	ensure(t, db, testLayout)
	_, err := db.AddPort(t.Context(), Port{Name: "ovlnone"})
	if err == nil || !strings.Contains(err.Error(), "No such device") {
		t.Errorf("got %v", err)
	}
	if ports := o.Vsctl("list-ports", "br-overlane"); ports != "ovl-vxlan\n" {
		t.Errorf("left: %s", ports)
	}
	// A row that was there with its error (the host had been off, say) recovers when the interface is back.
	o.Vsctl("--no-wait", "add-port", "br-overlane", "ovlback", "--", "set", "port", "ovlback", "external_ids:overlane=endpoint")
	eventually(t, "the error", func() bool { return portOf(db.rows().iface("ovlback")).Err != "" })
	ip(t, "-n", ns, "link", "add", "ovlback", "up", "type", "veth", "peer", "name", "peer-b")
	if p, err := db.AddPort(t.Context(), Port{Name: "ovlback"}); err != nil || p.OFPort == 0 {
		t.Errorf("got %+v, %v", p, err)
	}
}

// The time of a call is up when the server has made the port, but before it has said so: the port is taken back,
// although the copy knows nothing of it.
func TestPortIsTakenBack(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t, ovstest.Options{})
	line := listenBefore(t, o.DB)
	db, err := Open(t.Context(), Config{Socket: line.socket})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	l := testLayout
	l.Datapath = Kernel
	ensure(t, db, l)
	aside := open(t, o)
	line.hold()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		_, err := db.AddPort(ctx, Port{Name: "ovla"})
		ended <- err
	}()
	eventually(t, "the port in the database", func() bool { return aside.rows().port("ovla") != nil })
	asked := line.asked.Load()
	cancel()
	eventually(t, "something more asked", func() bool { return line.asked.Load() > asked || len(ended) > 0 })
	line.release()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if ports := o.Vsctl("list-ports", "br-overlane"); ports != "ovl-vxlan\n" {
		t.Errorf("left: %s", ports)
	}
}

// line is a connection to ovsdb-server on which its answers can be held up.
type line struct {
	socket string
	gate   sync.Mutex   // held: nothing comes back
	asked  atomic.Int64 // bytes that have gone there
}

func listenBefore(t *testing.T, server string) *line {
	t.Helper()
	l := &line{socket: filepath.Join(t.TempDir(), "line.sock")}
	listener, err := net.Listen("unix", l.socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go l.carry(c, server)
		}
	}()
	return l
}

func (l *line) hold()    { l.gate.Lock() }
func (l *line) release() { l.gate.Unlock() }

// carry ends when either side does.
func (l *line) carry(c net.Conn, server string) {
	defer c.Close()
	s, err := net.Dial("unix", server)
	if err != nil {
		return
	}
	defer s.Close()
	go func() {
		defer s.Close()
		l.copy(s, c, func(n int) { l.asked.Add(int64(n)) })
	}()
	l.copy(c, s, func(int) {
		l.gate.Lock()
		defer l.gate.Unlock()
	})
}

func (l *line) copy(to, from net.Conn, before func(n int)) {
	b := make([]byte, 1<<16)
	for {
		n, err := from.Read(b)
		if err != nil {
			return
		}
		before(n)
		if _, err := to.Write(b[:n]); err != nil {
			return
		}
	}
}

func TestForeignPortsStay(t *testing.T) {
	t.Parallel()
	o := startIn(t, "ovsdb-theirs")
	db := open(t, o)
	ensure(t, db, testLayout)
	o.Vsctl("add-port", "br-overlane", "theirs", "--", "set", "interface", "theirs", "type=internal")
	eventually(t, "the port in the copy", func() bool { return db.rows().port("theirs") != nil })
	if ports := db.Ports(); len(ports) > 0 {
		t.Errorf("counts as ours: %v", ports)
	}
	if err := db.RemovePort(t.Context(), "theirs"); err == nil {
		t.Error("removed a foreign port")
	}
	if _, err := db.AddPort(t.Context(), Port{Name: "theirs"}); err == nil {
		t.Error("took over a foreign port")
	}
}

// Callers that add ports at the same time each get a number of their own.
func TestPortsAtTheSameTime(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t, ovstest.Options{})
	db := open(t, o)
	l := testLayout
	l.Datapath = Kernel // which the dummy datapath has taken the name of
	ensure(t, db, l)
	const n = 20
	var all sync.Map
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			p, err := db.AddPort(t.Context(), Port{Name: fmt.Sprintf("ovl%d", i)})
			if err != nil || p.OFPort != p.OFPortRequest {
				t.Errorf("%+v: %v", p, err)
			}
			if other, twice := all.LoadOrStore(p.OFPort, p.Name); twice {
				t.Errorf("%s and %s share number %d", other, p.Name, p.OFPort)
			}
		})
	}
	wg.Wait()
	if ports := db.Ports(); len(ports) != n {
		t.Errorf("%d ports", len(ports))
	}
}

// While ovsdb-server is away, what was known stays readable, changes fail at once, and all of it heals.
func TestServerGoesAndComes(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t, ovstest.Options{})
	db := open(t, o)
	l := testLayout
	l.Datapath = Kernel
	ensure(t, db, l)
	if _, err := db.AddPort(t.Context(), Port{Name: "ovla"}); err != nil {
		t.Fatal(err)
	}
	for len(db.Changed()) > 0 {
		<-db.Changed()
	}
	o.StopDB()
	select {
	case <-db.Changed():
	case <-time.After(patience):
		t.Fatal("nobody told")
	}
	eventually(t, "disconnected", func() bool { return !db.Connected() })
	if ports := db.Ports(); len(ports) != 1 {
		t.Errorf("ports known: %v", ports)
	}
	if _, err := db.AddPort(t.Context(), Port{Name: "ovlb"}); !errors.Is(err, ErrNotConnected) {
		t.Errorf("got %v", err)
	}
	o.StartDB()
	eventually(t, "connected", db.Connected)
	if _, err := db.AddPort(t.Context(), Port{Name: "ovlb"}); err != nil {
		t.Error(err)
	}
	if ports := db.Ports(); len(ports) != 2 {
		t.Errorf("ports: %v", ports)
	}
}

// A server that hangs is noticed, and no call hangs with it.
func TestServerHangs(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t, ovstest.Options{})
	db := open(t, o)
	text, err := os.ReadFile(filepath.Join(o.Dir, "ovsdb-server.pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	signal := func(s syscall.Signal) {
		if err := syscall.Kill(pid, s); err != nil {
			t.Error(err)
		}
	}
	signal(syscall.SIGSTOP)
	defer signal(syscall.SIGCONT)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := db.RemovePort(ctx, "ovla"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	eventually(t, "disconnected", func() bool { return !db.Connected() })
	signal(syscall.SIGCONT)
	eventually(t, "connected", db.Connected)
}

// Without ovs-vswitchd, what waits for it says so.
func TestSwitchdIsAway(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t, ovstest.Options{})
	db := open(t, o)
	l := testLayout
	l.Datapath = Kernel
	ensure(t, db, l)
	o.StopSwitchd()
	timesOut(t, "ovs-vswitchd", func(ctx context.Context) error {
		_, err := db.AddPort(ctx, Port{Name: "ovla"})
		return err
	})
	if ports := db.Ports(); len(ports) > 0 {
		t.Errorf("left: %v", ports)
	}
	l.UDPPort = 4790
	timesOut(t, "is it running?", func(ctx context.Context) error {
		_, err := db.Ensure(ctx, l)
		return err
	})
	o.StartSwitchd()
	ensure(t, db, l)
}

// timesOut wants an error that tells what was waited for. The time must do for what comes before, so more is given if
// it did not.
func timesOut(t *testing.T, want string, call func(context.Context) error) {
	t.Helper()
	for timeout := 100 * time.Millisecond; ; timeout *= 2 {
		ctx, cancel := context.WithTimeout(t.Context(), timeout)
		err := call(ctx)
		cancel()
		if err != nil && strings.Contains(err.Error(), want) {
			return
		}
		if err == nil || timeout > callTimeout {
			t.Fatalf("got %v; want one that says %q", err, want)
		}
	}
}

func TestOpenWithoutServer(t *testing.T) {
	t.Parallel()
	_, err := Open(t.Context(), Config{Socket: "/nonexistent/db.sock"})
	if err == nil || !strings.Contains(err.Error(), "/nonexistent/db.sock") {
		t.Errorf("got %v", err)
	}
}
