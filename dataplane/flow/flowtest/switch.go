package flowtest

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/overlane/overlane/dataplane/flow"
)

// Switch is a real ovs-vswitchd of a test's own, on OVS's dummy datapath: packets go in by command and come out into
// files, so it needs no privilege. Its bridge is called "br0" and drops everything until flows are installed.
type Switch struct {
	t     testing.TB
	dir   string
	ctl   net.Conn
	reply *json.Decoder
	ports map[uint32]string // number -> pcap file
	read  map[string]int    // packets of a pcap file that a test has had
	local netip.Addr        // VTEP
}

// startup is for what takes a fraction of a second on an idle machine.
const startup = 30 * time.Second

// StartSwitch starts OVS with one bridge and stops it when the test ends.
func StartSwitch(t testing.TB) *Switch {
	t.Helper()
	dir, err := os.MkdirTemp("", "ovs") // not t.TempDir: socket paths must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &Switch{t: t, dir: dir, ports: map[uint32]string{}, read: map[string]int{}}
	s.run("ovsdb-tool", "create", s.path("conf.db"), "/usr/share/openvswitch/vswitch.ovsschema")
	s.start("ovsdb-server", "--remote=punix:"+s.path("db.sock"), "--unixctl="+s.path("db.ctl"), s.path("conf.db"))
	s.await("db.sock")
	s.start("ovs-vswitchd", "--enable-dummy=system", "--disable-system", "--unixctl="+s.path("ctl"), "unix:"+s.path("db.sock"))
	s.ctl = s.await("ctl")
	s.reply = json.NewDecoder(s.ctl)
	t.Cleanup(func() { s.ctl.Close() })
	s.Vsctl("add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=dummy", "fail_mode=secure", "protocols=OpenFlow15")
	return s
}

func (s *Switch) path(name string) string { return filepath.Join(s.dir, name) }

func (s *Switch) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "OVS_RUNDIR="+s.dir, "OVS_LOGDIR="+s.dir, "OVS_DBDIR="+s.dir, "OVS_SYSCONFDIR="+s.dir)
	return cmd
}

func (s *Switch) run(name string, args ...string) string {
	s.t.Helper()
	out, err := s.command(name, args...).CombinedOutput()
	if err != nil {
		s.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// start runs a daemon in the foreground, as a child that is killed when the test ends.
func (s *Switch) start(name string, args ...string) {
	s.t.Helper()
	cmd := s.command(name, append(args, "-vconsole:off")...)
	if err := cmd.Start(); err != nil {
		s.t.Fatalf("start %s: %v", name, err)
	}
	s.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	})
}

// await connects to a socket as soon as somebody listens.
func (s *Switch) await(socket string) net.Conn {
	s.t.Helper()
	var conn net.Conn
	s.eventually("connect to "+socket, func() (err error) {
		conn, err = net.Dial("unix", s.path(socket))
		return err
	})
	return conn
}

func (s *Switch) eventually(what string, try func() error) {
	s.t.Helper()
	deadline := time.Now().Add(startup)
	err := try()
	for ; err != nil; err = try() {
		if time.Now().After(deadline) {
			s.t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(time.Millisecond)
	}
}

// Vsctl runs ovs-vsctl and returns what it wrote.
func (s *Switch) Vsctl(args ...string) string {
	s.t.Helper()
	return s.run("ovs-vsctl", append([]string{"--db=unix:" + s.path("db.sock"), "--timeout=30"}, args...)...)
}

// Ofctl runs an ovs-ofctl command on the bridge: Ofctl("dump-flows"), Ofctl("add-flow", "table=1,...").
func (s *Switch) Ofctl(command string, args ...string) string {
	s.t.Helper()
	return s.run("ovs-ofctl", append([]string{"-O", "OpenFlow15", command, "unix:" + s.Socket()}, args...)...)
}

// Socket is the path of the bridge's OpenFlow management socket.
func (s *Switch) Socket() string { return s.path("br0.mgmt") }

// Appctl runs an ovs-appctl command in ovs-vswitchd, over one connection for all.
func (s *Switch) Appctl(method string, params ...string) string {
	s.t.Helper()
	if params == nil {
		params = []string{}
	}
	if err := json.NewEncoder(s.ctl).Encode(map[string]any{"method": method, "params": params, "id": 0}); err != nil {
		s.t.Fatalf("%s: %v", method, err)
	}
	var answer struct {
		Result string
		Error  any
	}
	if err := s.reply.Decode(&answer); err != nil || answer.Error != nil {
		s.t.Fatalf("%s %s: %v %v", method, strings.Join(params, " "), err, answer.Error)
	}
	return answer.Result
}

// Recirculations is how deep the switch allows actions ct with a table to be nested (MAX_RECIRC_DEPTH in
// lib/dpif-netdev.c).
func (s *Switch) Recirculations() int {
	s.t.Helper()
	text := s.Appctl("version") // ovs-vswitchd (Open vSwitch) 3.1.0
	var major, minor int
	if _, err := fmt.Sscanf(text[strings.LastIndex(strings.TrimSpace(text), " ")+1:], "%d.%d", &major, &minor); err != nil {
		s.t.Fatalf("version of ovs-vswitchd %q: %v", text, err)
	}
	if major > 3 || major == 3 && minor >= 3 {
		return 8
	}
	return 6
}

// AddPort makes a port, 1 to 65279, whose name is "p" and the number.
func (s *Switch) AddPort(number uint32) {
	s.t.Helper()
	name := fmt.Sprintf("p%d", number)
	s.addDummy("br0", name, "ofport_request="+fmt.Sprint(number))
	s.ports[number] = s.path(name + ".pcap")
}

func (s *Switch) addDummy(bridge, name string, settings ...string) {
	s.t.Helper()
	s.Vsctl(append([]string{"add-port", bridge, name, "--", "set", "interface", name, "type=dummy",
		"options:tx_pcap=" + s.path(name+".pcap")}, settings...)...)
}

// Install replaces all flows and groups in one bundle each.
func (s *Switch) Install(flows []flow.Flow, groups []flow.Group) {
	s.t.Helper()
	s.Ofctl("del-flows")
	s.Ofctl("del-groups")
	var text strings.Builder
	for _, g := range groups {
		fmt.Fprintln(&text, g)
	}
	s.Ofctl("add-groups", s.write("groups", text.String()))
	text.Reset()
	for _, f := range flows {
		fmt.Fprintln(&text, f)
	}
	fmt.Fprintln(&text, s.marker())
	s.Ofctl("add-flows", s.write("flows", text.String()))
	s.Appctl("revalidator/purge") // else packets would meet datapath flows made from the former tables
}

func (s *Switch) write(name, text string) string {
	s.t.Helper()
	if err := os.WriteFile(s.path(name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return s.path(name)
}

// marker is a flow that sends frames of a type that nobody else uses to every port.
func (s *Switch) marker() flow.Flow {
	f := flow.Flow{Priority: 65535, Match: flow.On(flow.Eq(flow.EthType, flow.U32(0x88b6)))}
	for port := range s.ports {
		f.Actions = append(f.Actions, flow.Output{Port: port})
	}
	f.Actions = append(f.Actions, flow.Output{Port: flow.PortInPort})
	return f
}

var markerFrame = append(append(bytes.Repeat([]byte{2}, 12), 0x88, 0xb6), make([]byte, 46)...)

// Send puts a frame in at a port and returns what came out, by port.
func (s *Switch) Send(port uint32, frame []byte) map[uint32][][]byte {
	s.t.Helper()
	s.inject(fmt.Sprintf("p%d", port), frame)
	return s.collect()
}

func (s *Switch) inject(name string, frame []byte) {
	s.t.Helper()
	s.Appctl("netdev-dummy/receive", name, hex.EncodeToString(frame))
}

// collect waits until what was injected has been processed, and returns what came out of each port since the last time.
// A batch of packets may leave in another order than it came, so a second marker is sent when the first is through.
func (s *Switch) collect() map[uint32][][]byte {
	s.t.Helper()
	out := map[uint32][][]byte{}
	for range 2 {
		s.inject(s.anyPort(), markerFrame)
		for port, file := range s.ports {
			out[port] = append(out[port], s.untilMarker(file)...)
		}
	}
	for port, frames := range out {
		if len(frames) == 0 {
			delete(out, port)
		}
	}
	return out
}

func (s *Switch) anyPort() string {
	for port := range s.ports {
		return fmt.Sprintf("p%d", port)
	}
	s.t.Fatal("the switch has no port")
	return ""
}

// untilMarker reads new packets of a file up to a marker.
func (s *Switch) untilMarker(file string) [][]byte {
	s.t.Helper()
	var frames [][]byte
	s.eventually("wait for the marker in "+file, func() error {
		all, err := readPcap(file)
		if err != nil {
			return err
		}
		for i, frame := range all[s.read[file]:] {
			if bytes.Equal(frame, markerFrame) {
				frames = all[s.read[file] : s.read[file]+i]
				s.read[file] += i + 1
				return nil
			}
		}
		return errors.New("not there")
	})
	return frames
}
