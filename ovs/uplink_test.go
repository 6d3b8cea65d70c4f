package ovs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/overlane/overlane/dataplane/flow"
	"github.com/overlane/overlane/ovs/ovstest"
)

// An uplink belongs to the network namespace of the process, so each step is a process of its own in the namespace that
// plays the host: this test binary again.

type uplinkStep struct {
	Do        string // ensure, remove, restore, check
	DB        string
	Uplink    Uplink
	Reachable string // one of those below, or a shell command
}

// These need no process, so that they take no time worth mentioning also on a machine that is busy.
const (
	untilMoved = "until it is moved"
	cutsWire   = "always; once it is moved, the wire is dead" // at the first question, before a neighbour is asked
)

func (s uplinkStep) reachable(ctx context.Context) error {
	_, err := os.Stat("/proc/sys/net/ipv4/conf/" + UplinkBridge)
	moved := err == nil
	switch {
	case s.Reachable == untilMoved && moved:
		return errors.New("it is moved")
	case s.Reachable == cutsWire && moved:
		return cutWire(ctx, filepath.Join(filepath.Dir(s.DB), UplinkBridge+".mgmt"))
	case s.Reachable == untilMoved || s.Reachable == cutsWire:
		return nil
	}
	return exec.CommandContext(ctx, "sh", "-c", s.Reachable).Run()
}

func cutWire(ctx context.Context, socket string) error {
	sw, err := Dial(ctx, SwitchConfig{Socket: socket})
	if err != nil {
		return err
	}
	defer sw.Close()
	return sw.Apply(ctx, Change{Add: []flow.Flow{{Priority: 65535}}})
}

const uplinkStepEnv = "OVERLANE_UPLINK_STEP"

func (s uplinkStep) run(ctx context.Context) (string, error) {
	if s.Do == "restore" {
		restored, err := RestoreUplink(s.Uplink.Journal)
		return fmt.Sprintf("restored %t", restored), err
	}
	db, err := Open(ctx, Config{Socket: s.DB})
	if err != nil {
		return "", err
	}
	defer db.Close()
	s.Uplink.Reachable = s.reachable
	var warned bytes.Buffer
	s.Uplink.Log = slog.New(slog.NewTextHandler(&warned, &slog.HandlerOptions{Level: slog.LevelWarn}))
	switch s.Do {
	case "ensure":
		moved, err := db.EnsureUplink(ctx, s.Uplink)
		return fmt.Sprintf("moved %t", moved) + strings.TrimSpace(warned.String()), err
	case "remove":
		return "", db.RemoveUplink(ctx, s.Uplink)
	}
	return "", db.CheckVTEP(netip.MustParseAddr("192.168.5.2"), Userspace)
}

// TestUplinkStep is the other process.
func TestUplinkStep(t *testing.T) {
	text := os.Getenv(uplinkStepEnv)
	if text == "" {
		return
	}
	var s uplinkStep
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatal(err)
	}
	out, err := s.run(t.Context())
	fmt.Printf("result: %s %v\n", out, err)
}

// uplinkHost is a host with a NIC to another.
type uplinkHost struct {
	t        *testing.T
	ns, peer string
	ovs      *ovstest.OVS
	journal  string
}

func newUplinkHost(t *testing.T, name string) *uplinkHost {
	h := &uplinkHost{t: t, ns: name, peer: name + "-peer", journal: filepath.Join(t.TempDir(), "state", "uplink.json")}
	h.ovs = startIn(t, h.ns)
	ip(t, "netns", "add", h.peer)
	t.Cleanup(func() { ip(t, "netns", "del", h.peer) })
	for _, line := range []string{
		"-n NS link add eth0 type veth peer name eth0 netns PEER",
		"-n PEER addr add 192.168.5.3/24 dev eth0", "-n PEER link set eth0 up",
		"-n NS addr add 192.168.5.2/24 dev eth0", "-n NS addr add 10.7.7.7/32 dev eth0",
		"-n NS addr add fd00:5::2/64 nodad dev eth0", "-n NS link set eth0 mtu 1400", "-n NS link set eth0 up", "-n NS link set lo up",
		"-n NS route add default via 192.168.5.3", "-n NS route add 10.8.0.0/16 via 192.168.5.3 metric 50 src 10.7.7.7",
		"-n NS route add 10.9.0.0/16 dev eth0 table 77", "-n NS -6 route add default via fd00:5::3",
	} {
		ip(t, strings.Fields(strings.NewReplacer("PEER", h.peer, "NS", h.ns).Replace(line))...)
	}
	h.inPeer("ethtool", "-K", "eth0", "tx", "off") // like a real NIC, which sends whole checksums
	return h
}

func (h *uplinkHost) command(step uplinkStep) *exec.Cmd {
	step.DB = h.ovs.DB
	step.Uplink.NIC, step.Uplink.Journal = "eth0", h.journal
	text, err := json.Marshal(struct {
		Do, DB, Reachable string
		Uplink            any
	}{step.Do, step.DB, step.Reachable, map[string]any{"NIC": step.Uplink.NIC, "Journal": step.Uplink.Journal, "Patience": step.Uplink.Patience}})
	if err != nil {
		h.t.Fatal(err)
	}
	cmd := exec.Command("nsenter", "--net="+"/var/run/netns/"+h.ns, os.Args[0], "-test.run=^TestUplinkStep$")
	cmd.Env = append(os.Environ(), uplinkStepEnv+"="+string(text))
	return cmd
}

// do runs a step and returns what it printed.
func (h *uplinkHost) do(step uplinkStep) string {
	h.t.Helper()
	out, err := h.command(step).Output()
	if err != nil {
		h.t.Fatalf("%+v: %v: %s", step, err, out)
	}
	for line := range strings.Lines(string(out)) {
		if result, ok := strings.CutPrefix(line, "result: "); ok {
			return strings.TrimSpace(result)
		}
	}
	h.t.Fatalf("%+v: no result: %s", step, out)
	return ""
}

func (h *uplinkHost) inPeer(args ...string) string {
	h.t.Helper()
	out, err := exec.Command("nsenter", append([]string{"--net=/var/run/netns/" + h.peer}, args...)...).CombinedOutput()
	if err != nil {
		h.t.Fatalf("%v: %v: %s", args, err, out)
	}
	return string(out)
}

// state is what a person would look at, without the words that are the kernel's business.
func (h *uplinkHost) state() string {
	var b strings.Builder
	for _, iface := range []string{"eth0", UplinkBridge} {
		if exec.Command("ip", "-n", h.ns, "link", "show", iface).Run() != nil {
			continue
		}
		for _, family := range []string{"-4", "-6"} {
			for line := range strings.Lines(ip(h.t, "-n", h.ns, family, "-o", "addr", "show", "scope", "global", "dev", iface)) {
				fmt.Fprintln(&b, strings.Join(strings.Fields(line)[1:4], " "))
			}
			for line := range strings.Lines(ip(h.t, "-n", h.ns, family, "route", "show", "table", "all", "dev", iface)) {
				if !strings.Contains(line, "proto kernel") && !strings.HasPrefix(line, "multicast") {
					fmt.Fprintln(&b, iface, strings.TrimSpace(line))
				}
			}
		}
	}
	return b.String()
}

func on(iface string) string {
	return strings.ReplaceAll(`IF inet 192.168.5.2/24
IF inet 10.7.7.7/32
IF 10.9.0.0/16 table 77 scope link
IF default via 192.168.5.3
IF 10.8.0.0/16 via 192.168.5.3 src 10.7.7.7 metric 50
IF inet6 fd00:5::2/64
IF default via fd00:5::3 metric 1024 pref medium
`, "IF", iface)
}

func (h *uplinkHost) mustBe(want string) {
	h.t.Helper()
	if diff := cmp.Diff(sorted(want), sorted(h.state())); diff != "" {
		h.t.Error(diff)
	}
}

func sorted(text string) []string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for i, l := range lines {
		lines[i] = strings.ReplaceAll(l, " linkdown", "")
	}
	return lines
}

// mustPing has the peer reach the host, and be answered once only.
func (h *uplinkHost) mustPing() {
	h.t.Helper()
	out := h.inPeer("ping", "-n", "-i", "0.02", "-c", "20", "-w", "10", "192.168.5.2")
	if !strings.Contains(out, " 20 received") || strings.Contains(out, "DUP!") {
		h.t.Errorf("peer pings: %s", out)
	}
}

const canPing = "ping -c 1 -W 1 192.168.5.3"

func TestUplink(t *testing.T) {
	t.Parallel()
	h := newUplinkHost(t, "ovsup-host")
	h.mustBe(on("eth0"))
	if got := h.do(uplinkStep{Do: "check"}); !strings.Contains(got, "--uplink eth0") {
		t.Errorf("check before: %s", got)
	}
	mac := ip(t, "-n", h.ns, "-br", "link", "show", "eth0")
	h.mustPing()
	if got := h.do(uplinkStep{Do: "ensure", Reachable: canPing}); got != "moved true <nil>" {
		t.Fatal(got)
	}
	h.mustBe(on(UplinkBridge))
	if got := ip(t, "-n", h.ns, "-br", "link", "show", UplinkBridge); strings.Fields(got)[2] != strings.Fields(mac)[2] {
		t.Errorf("MAC was %s, is %s", mac, got)
	}
	if got := ip(t, "-n", h.ns, "link", "show", UplinkBridge); !strings.Contains(got, "mtu 1400") {
		t.Errorf("MTU of the bridge: %s", got)
	}
	h.mustPing()
	h.mustCarryTCP()
	if got := h.do(uplinkStep{Do: "check"}); got != "<nil>" {
		t.Errorf("check after: %s", got)
	}
	if got := h.do(uplinkStep{Do: "restore"}); got != "restored false <nil>" {
		t.Errorf("restored what was confirmed: %s", got)
	}
	if got := h.do(uplinkStep{Do: "ensure", Reachable: "false"}); got != "moved false <nil>" {
		t.Errorf("again: %s", got)
	}
	h.ovs.StopSwitchd()
	h.ovs.StartSwitchd()
	h.mustPing()
	// Something takes the addresses away; the journal knows them.
	ip(t, "-n", h.ns, "addr", "flush", "dev", UplinkBridge)
	if got := h.do(uplinkStep{Do: "ensure", Reachable: canPing}); got != "moved true <nil>" {
		t.Error(got)
	}
	h.mustBe(on(UplinkBridge))
	h.mustPing()
	if got := h.do(uplinkStep{Do: "remove"}); got != "<nil>" {
		t.Error(got)
	}
	h.mustBeAsBefore()
}

// mustBeAsBefore looks at everything that the uplink touched.
func (h *uplinkHost) mustBeAsBefore() {
	h.t.Helper()
	h.mustBe(on("eth0"))
	if bridges := h.ovs.Vsctl("list-br"); bridges != "" {
		h.t.Errorf("bridges left: %s", bridges)
	}
	if _, err := os.Stat(h.journal); err == nil {
		h.t.Error("the journal is left")
	}
	if link := ip(h.t, "-n", h.ns, "link", "show", "eth0"); strings.Contains(link, "NOARP") || !strings.Contains(link, "mtu 1400") {
		h.t.Errorf("NIC: %s", link)
	}
	sysctl, err := exec.Command("nsenter", "--net=/var/run/netns/"+h.ns, "sysctl", "-n", "net.ipv4.conf.eth0.rp_filter", "net.ipv6.conf.eth0.disable_ipv6").Output()
	if err != nil || string(sysctl) != "0\n0\n" {
		h.t.Errorf("sysctl: %s, %v", sysctl, err)
	}
	h.mustPing()
}

// mustCarryTCP proves that checksums are right in both directions.
func (h *uplinkHost) mustCarryTCP() {
	h.t.Helper()
	data := bytes.Repeat([]byte("0123456789abcde\n"), 1<<14)
	listener := exec.CommandContext(h.t.Context(), "nsenter", "--net=/var/run/netns/"+h.ns, "busybox", "nc", "-l", "-p", "5005")
	var got bytes.Buffer
	listener.Stdout = &got
	if _, err := listener.StdinPipe(); err != nil { // stays open: nc ends when either side does
		h.t.Fatal(err)
	}
	if err := listener.Start(); err != nil {
		h.t.Fatal(err)
	}
	eventually(h.t, "listening", func() bool {
		out, _ := exec.Command("nsenter", "--net=/var/run/netns/"+h.ns, "busybox", "netstat", "-ltn").Output()
		return strings.Contains(string(out), ":5005")
	})
	sender := exec.Command("nsenter", "--net=/var/run/netns/"+h.peer, "timeout", "20", "busybox", "nc", "-w", "10", "192.168.5.2", "5005")
	sender.Stdin = bytes.NewReader(data)
	if out, err := sender.CombinedOutput(); err != nil {
		h.t.Errorf("send: %v: %s", err, out)
	}
	if err := listener.Wait(); err != nil {
		h.t.Errorf("receive: %v", err)
	}
	if !bytes.Equal(got.Bytes(), data) {
		h.t.Errorf("sent %d bytes, %d arrived", len(data), got.Len())
	}
}

// The host loses its connection by the move: all is as before, and the error says why.
func TestUplinkRollsBack(t *testing.T) {
	t.Parallel()
	h := newUplinkHost(t, "ovsup-back")
	got := h.do(uplinkStep{Do: "ensure", Reachable: untilMoved, Uplink: Uplink{Patience: time.Second}})
	if !strings.Contains(got, "the move was rolled back, because the connection was lost for 1s") {
		t.Error(got)
	}
	h.mustBeAsBefore()
	if got := h.do(uplinkStep{Do: "ensure", Reachable: "false", Uplink: Uplink{Patience: time.Second}}); !strings.Contains(got, "no connection to begin with") {
		t.Error(got)
	}
	h.mustBeAsBefore()
}

// The server is on the machine itself and answers whatever becomes of the wire, as on the first machine of most. The
// gateway is what counts then.
func TestUplinkRollsBackWhenTheWireIsDead(t *testing.T) {
	t.Parallel()
	h := newUplinkHost(t, "ovsup-local")
	h.mustPing()
	got := h.do(uplinkStep{Do: "ensure", Reachable: cutsWire, Uplink: Uplink{Patience: 5 * time.Second}})
	if !strings.Contains(got, "the move was rolled back, because the connection was lost for 5s: none of [192.168.5.3] answers ARP any more") {
		t.Error(got)
	}
	h.mustBeAsBefore()
}

// The end of the time cuts the last question short. What it would have said is not known, so the one before says why.
func TestUplinkSaysWhyItRollsBack(t *testing.T) {
	t.Parallel()
	asked := 0
	err := Uplink{Patience: 2 * askAgainAfter}.await(t.Context(), func(ctx context.Context) error {
		if asked++; asked == 1 {
			return errors.New("nobody answers")
		}
		<-ctx.Done()
		return ctx.Err()
	})
	if err == nil || !strings.Contains(err.Error(), "nobody answers") {
		t.Errorf("got %v", err)
	}
}

// Where nobody answered before, nobody is missed; but that is said.
func TestUplinkWithNobodyToAsk(t *testing.T) {
	t.Parallel()
	h := newUplinkHost(t, "ovsup-alone")
	h.inPeer("ip", "link", "set", "eth0", "down")
	if got := h.do(uplinkStep{Do: "ensure", Reachable: "true"}); !strings.HasPrefix(got, "moved true") || !strings.Contains(got, "nobody on the link") {
		t.Error(got)
	}
	h.mustBe(on(UplinkBridge))
}

// The process is killed between the move and its confirmation: the next one puts all back, also without Open vSwitch.
func TestUplinkKilled(t *testing.T) {
	t.Parallel()
	h := newUplinkHost(t, "ovsup-kill")
	cmd := h.command(uplinkStep{Do: "ensure", Reachable: untilMoved, Uplink: Uplink{Patience: 10 * time.Minute}})
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the move", func() bool {
		link, err := exec.Command("ip", "-n", h.ns, "link", "show", "eth0").Output()
		return err == nil && strings.Contains(string(link), "NOARP")
	})
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Fatal("ended by itself")
	}
	h.mustBe(on(UplinkBridge))
	h.ovs.StopSwitchd()
	if got := h.do(uplinkStep{Do: "restore"}); got != "restored true <nil>" {
		t.Error(got)
	}
	h.mustBe(on("eth0"))
	h.mustPing()
	h.ovs.StartSwitchd()
	if got := h.do(uplinkStep{Do: "ensure", Reachable: canPing}); got != "moved true <nil>" {
		t.Error(got)
	}
	h.mustBe(on(UplinkBridge))
	h.mustPing()
	if got := h.do(uplinkStep{Do: "remove"}); got != "<nil>" {
		t.Error(got)
	}
	h.mustBeAsBefore()
}

func TestUplinkRefusesWhatIsNotOurs(t *testing.T) {
	t.Parallel()
	h := newUplinkHost(t, "ovsup-foreign")
	h.ovs.Vsctl("add-br", UplinkBridge, "--", "set", "bridge", UplinkBridge, "datapath_type=netdev")
	if got := h.do(uplinkStep{Do: "ensure", Reachable: canPing}); !strings.Contains(got, "Overlane has not made") {
		t.Error(got)
	}
	h.ovs.Vsctl("del-br", UplinkBridge)
	h.ovs.Vsctl("add-br", "br-phy", "--", "set", "bridge", "br-phy", "datapath_type=netdev", "--", "add-port", "br-phy", "eth0")
	if got := h.do(uplinkStep{Do: "ensure", Reachable: canPing}); !strings.Contains(got, "in bridge br-phy already") {
		t.Error(got)
	}
	h.mustBe(on("eth0"))
}
