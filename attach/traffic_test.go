package attach

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/overlane/overlane/internal/roottest"
	"github.com/overlane/overlane/ovs"
	"github.com/overlane/overlane/ovs/ovstest"
)

const hostNetnsEnv = "OVERLANE_ATTACH_HOST_NETNS"

// hostNetns is the name of the namespace that all tests of this package run in. It plays the host.
var hostNetns = os.Getenv(hostNetnsEnv)

// TestMain runs the tests again in a network namespace of their own, so that the machine's stays as it is.
func TestMain(m *testing.M) {
	if hostNetns != "" {
		os.Exit(m.Run())
	}
	if roottest.Left() {
		fmt.Println("--- SKIP: all of attach needs root")
		return
	}
	hostNetns = fmt.Sprintf("attach-host-%d", os.Getpid())
	for _, step := range []string{"netns add " + hostNetns, "-n " + hostNetns + " link set lo up"} {
		if out, err := exec.Command("ip", strings.Fields(step)...).CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "ip %s: %v: %s\n", step, err, out)
			os.Exit(1)
		}
	}
	cmd := exec.Command("nsenter", append([]string{"--net=" + netnsDir + "/" + hostNetns}, os.Args...)...)
	cmd.Env = append(os.Environ(), hostNetnsEnv+"="+hostNetns)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err := cmd.Run()
	if err := errors.Join(err, exec.Command("ip", "netns", "del", hostNetns).Run()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// hostSwitch is an Open vSwitch of the host, with our bridge, on the datapath that the machine has.
func hostSwitch(t testing.TB) (*ovstest.OVS, *ovs.DB, ovs.State) {
	t.Helper()
	o := ovstest.Start(t, ovstest.Options{Netns: hostNetns})
	db, err := ovs.Open(t.Context(), ovs.Config{Socket: o.DB})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	l := ovs.Layout{Bridge: "br-overlane", Tunnel: "ovl-vxlan", VTEP: netip.MustParseAddr("192.168.5.2")}
	s, err := db.Ensure(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	return o, db, s
}

// Two endpoints: pings pass, and TCP, which needs checksums.
func TestTraffic(t *testing.T) {
	o, db, s := hostSwitch(t)
	t.Logf("datapath %s", s.Datapath)
	o.Ofctl("add-flow", "br-overlane", "actions=NORMAL")
	for i, ns := range []string{"attach-left", "attach-right"} {
		newNetns(t, ns)
		r := request(ns, ns, byte(2+i))
		r.ChecksumOffload = s.Datapath == ovs.Kernel
		plumbed(t, r)
		if _, err := db.AddPort(t.Context(), ovs.Port{Name: r.HostIf}); err != nil {
			t.Fatal(err)
		}
	}
	ping := exec.Command("nsenter", "--net="+netnsDir+"/attach-left", "ping", "-n", "-i", "0.02", "-c", "10", "-w", "10", "172.17.42.3")
	if out, err := ping.CombinedOutput(); err != nil || !strings.Contains(string(out), " 0% packet loss") || strings.Contains(string(out), "DUP") {
		t.Errorf("ping: %v: %s", err, out)
	}
	data := bytes.Repeat([]byte("0123456789abcde\n"), 1<<14)
	if got := sendTCP(t, "attach-left", "attach-right", "172.17.42.3", data); !bytes.Equal(got, data) {
		t.Errorf("sent %d bytes, %d arrived", len(data), len(got))
	}
	// Open vSwitch sees to the queueing disciplines of its ports, at start and when one changes.
	o.StopSwitchd()
	o.StartSwitchd()
	for _, ns := range []string{"attach-left", "attach-right"} {
		ip(t, "link", "set", hostIf(ns), "txqueuelen", "500")
		o.Vsctl("set", "port", hostIf(ns), "external_ids:touched=yes")
		mustBeDeafTo(t, ns, request(ns, ns, 2).MAC)
	}
}

// sendTCP returns what arrived.
func sendTCP(t testing.TB, from, to, address string, data []byte) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	listener := exec.CommandContext(ctx, "nsenter", "--net="+netnsDir+"/"+to, "busybox", "nc", "-l", "-p", "5005")
	var got bytes.Buffer
	listener.Stdout = &got
	if _, err := listener.StdinPipe(); err != nil { // stays open: nc ends when either side does
		t.Fatal(err)
	}
	if err := listener.Start(); err != nil {
		t.Fatal(err)
	}
	for !strings.Contains(inNetns(t, to, "busybox", "netstat", "-ltn"), ":5005") {
		time.Sleep(10 * time.Millisecond)
	}
	sender := exec.CommandContext(ctx, "nsenter", "--net="+netnsDir+"/"+from, "busybox", "nc", "-w", "5", address, "5005")
	sender.Stdin = bytes.NewReader(data)
	if out, err := sender.CombinedOutput(); err != nil {
		t.Errorf("send: %v: %s", err, out)
	}
	if err := listener.Wait(); err != nil {
		t.Errorf("receive: %v", err)
	}
	return got.Bytes()
}

func inNetns(t testing.TB, ns string, args ...string) string {
	t.Helper()
	out, err := exec.Command("nsenter", append([]string{"--net=" + netnsDir + "/" + ns}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v: %s", args, err, out)
	}
	return string(out)
}
