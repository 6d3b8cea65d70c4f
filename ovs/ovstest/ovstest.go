// Package ovstest runs a private Open vSwitch for a test: ovsdb-server and ovs-vswitchd in a temporary directory,
// stopped and removed by the test's cleanup, or by the kernel if the test process dies first. It never touches an Open
// vSwitch that it did not start.
package ovstest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const schema = "/usr/share/openvswitch/vswitch.ovsschema"

// patience bounds every wait. It is generous, because two cores may be shared by many tests.
const patience = 30 * time.Second

// Options choose the datapath. The zero value is the dummy datapath: every port is simulated and no packet leaves the
// process.
type Options struct {
	// Netns is the name of a network namespace (as in /var/run/netns). The switch then runs there with real ports, on
	// the userspace datapath. The caller makes the namespace and removes it.
	Netns string
	// Kernel asks for the kernel datapath in place of the userspace one. Only with Netns.
	Kernel bool
}

// OVS is one running Open vSwitch.
type OVS struct {
	Dir string // run, database and log directory; short, since the path of a unix socket must be under 108 bytes
	DB  string // unix socket of ovsdb-server

	t        testing.TB
	opts     Options
	dbserver *daemon
	switchd  *daemon
}

// Start starts the daemons and returns when ovs-vswitchd has read the database.
func Start(t testing.TB, opts Options) *OVS {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "ovs")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	o := &OVS{Dir: dir, DB: filepath.Join(dir, "db.sock"), t: t, opts: opts}
	o.run("ovsdb-tool", "create", filepath.Join(dir, "conf.db"), schema)
	t.Cleanup(o.stop)
	o.StartDB()
	o.Vsctl("--no-wait", "init")
	o.StartSwitchd()
	return o
}

// Mgmt is the unix socket on which a bridge serves OpenFlow.
func (o *OVS) Mgmt(bridge string) string { return filepath.Join(o.Dir, bridge+".mgmt") }

// DatapathType is the datapath_type that bridges of this switch need.
func (o *OVS) DatapathType() string {
	if o.opts.Netns != "" && !o.opts.Kernel {
		return "netdev"
	}
	return "system" // which the dummy datapath has taken the name of, where it is enabled
}

// AddBridge makes a bridge without flows (fail-mode secure) that speaks OpenFlow 1.5, and returns its OpenFlow socket.
func (o *OVS) AddBridge(name string) string {
	o.t.Helper()
	o.Vsctl("add-br", name, "--", "set", "bridge", name, "datapath_type="+o.DatapathType(), "protocols=OpenFlow15", "fail-mode=secure")
	return o.Mgmt(name)
}

// AddDummyPort adds a simulated port. What the switch sends there is appended to the pcap file whose path is returned.
// Only with the dummy datapath; [OVS.Receive] makes a packet arrive.
func (o *OVS) AddDummyPort(bridge, port string, ofport int) string {
	o.t.Helper()
	sent := filepath.Join(o.Dir, port+".pcap")
	o.Vsctl("add-port", bridge, port, "--", "set", "interface", port, "type=dummy",
		fmt.Sprintf("ofport_request=%d", ofport), "options:tx_pcap="+sent)
	return sent
}

// Receive makes a frame arrive on a simulated port.
func (o *OVS) Receive(port string, frame []byte) {
	o.t.Helper()
	o.Appctl("netdev-dummy/receive", port, fmt.Sprintf("%x", frame))
}

// Vsctl, Ofctl and Appctl run OVS's tools against this switch and return what they print. The test fails if they do.
func (o *OVS) Vsctl(args ...string) string {
	o.t.Helper()
	return o.run("ovs-vsctl", append([]string{"--db=unix:" + o.DB, "--timeout=30"}, args...)...)
}

// Ofctl runs ovs-ofctl with OpenFlow 1.5. Bridges may be given by name.
func (o *OVS) Ofctl(args ...string) string {
	o.t.Helper()
	return o.run("ovs-ofctl", append([]string{"-O", "OpenFlow15", "--timeout=30"}, args...)...)
}

// Appctl runs ovs-appctl on ovs-vswitchd.
func (o *OVS) Appctl(args ...string) string {
	o.t.Helper()
	return o.run("ovs-appctl", append([]string{"--timeout=30"}, args...)...)
}

// Env is what the environment of an OVS tool needs to reach this switch.
func (o *OVS) Env() []string {
	return []string{"OVS_RUNDIR=" + o.Dir, "OVS_DBDIR=" + o.Dir, "OVS_LOGDIR=" + o.Dir, "OVS_SYSCONFDIR=" + o.Dir}
}

func (o *OVS) run(name string, args ...string) string {
	o.t.Helper()
	out, err := o.command(name, args...).CombinedOutput()
	if err != nil {
		o.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func (o *OVS) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), o.Env()...)
	return cmd
}

// StartDB starts ovsdb-server, which Start has done already; for tests that stopped it.
func (o *OVS) StartDB() {
	o.t.Helper()
	o.dbserver = o.spawn("ovsdb-server", filepath.Join(o.Dir, "conf.db"), "--remote=punix:"+o.DB)
	o.await("ovsdb-server to listen", func() bool { return o.command("ovsdb-client", "list-dbs", "unix:"+o.DB).Run() == nil })
}

// StopDB kills ovsdb-server. The userspace datapath forwards nothing until it is back.
func (o *OVS) StopDB() { o.dbserver.kill() }

// StartSwitchd starts ovs-vswitchd, which Start has done already, and waits until it has configured all bridges; for
// tests that stopped it.
func (o *OVS) StartSwitchd() {
	o.t.Helper()
	args := []string{"unix:" + o.DB}
	if o.opts.Netns == "" {
		args = append(args, "--enable-dummy=system", "--disable-system", "--disable-system-route")
	}
	o.switchd = o.spawn("ovs-vswitchd", args...)
	// A real change, because that is what ovs-vsctl waits for.
	o.Vsctl("set", "open_vswitch", ".", fmt.Sprintf("external_ids:started-by-test=%d", o.Switchd().Pid))
}

// StopSwitchd kills ovs-vswitchd: its flows, groups and meters are lost, as in a crash.
func (o *OVS) StopSwitchd() { o.switchd.kill() }

// Switchd is the running ovs-vswitchd, for signals: SIGSTOP makes a switch that hangs.
func (o *OVS) Switchd() *os.Process { return o.switchd.cmd.Process }

// spawn starts a daemon in the foreground, so that its pid is ours to remember.
func (o *OVS) spawn(name string, args ...string) *daemon {
	o.t.Helper()
	args = append(args, "--no-chdir", "--pidfile", "--log-file", "-vconsole:off", "-vsyslog:off")
	cmd := o.command(name, args...)
	if o.opts.Netns != "" {
		cmd = o.command("nsenter", append([]string{"--net=/var/run/netns/" + o.opts.Netns, name}, args...)...)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	d := &daemon{cmd: cmd, ended: make(chan struct{})}
	cmd.Stderr = &d.stderr
	if err := cmd.Start(); err != nil {
		o.t.Fatalf("start %s: %v", name, err)
	}
	go d.reap()
	return d
}

func (o *OVS) await(what string, ok func() bool) {
	o.t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if o.dbserver.dead() {
			o.t.Fatalf("ovsdb-server ended: %s", o.dbserver.stderr.String())
		}
		if time.Now().After(deadline) {
			o.t.Fatalf("waited in vain for %s", what)
		}
	}
}

// stop ends both daemons; the switch is asked first to take its ports and its datapath with it, which a kernel datapath
// would survive.
func (o *OVS) stop() {
	if o.switchd != nil && !o.switchd.dead() {
		_ = o.switchd.cmd.Process.Signal(syscall.SIGCONT)
		_ = o.command("ovs-appctl", "--timeout=5", "exit", "--cleanup").Run()
		o.switchd.kill()
	}
	if o.dbserver != nil {
		o.dbserver.kill()
	}
	if o.t.Failed() {
		o.t.Logf("ovs-vswitchd warned:\n%s", o.Warnings())
	}
}

// Warnings is what ovs-vswitchd has logged at level warning or above.
func (o *OVS) Warnings() string {
	log, err := os.ReadFile(filepath.Join(o.Dir, "ovs-vswitchd.log"))
	if err != nil {
		return err.Error()
	}
	var keep strings.Builder
	for line := range strings.Lines(string(log)) {
		if strings.Contains(line, "|WARN|") || strings.Contains(line, "|ERR|") || strings.Contains(line, "|EMER|") {
			keep.WriteString(line)
		}
	}
	return keep.String()
}

type daemon struct {
	cmd    *exec.Cmd
	stderr bytes.Buffer // read it only when the daemon has ended
	ended  chan struct{}
}

func (d *daemon) reap() {
	_ = d.cmd.Wait() // killed is how a daemon usually ends
	close(d.ended)
}

func (d *daemon) dead() bool {
	select {
	case <-d.ended:
		return true
	default:
		return false
	}
}

// kill ends a daemon at once, if it has not ended by itself.
func (d *daemon) kill() {
	if !d.dead() {
		_ = d.cmd.Process.Kill() // it may have ended just now
	}
	<-d.ended
}
