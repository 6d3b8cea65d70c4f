package attach

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/overlane/overlane/internal/ifname"
	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/offload"
)

const patience = 30 * time.Second

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

func newNetns(t testing.TB, name string) string {
	t.Helper()
	ip(t, "netns", "add", name)
	t.Cleanup(func() { ip(t, "netns", "del", name) })
	return netnsDir + "/" + name
}

// hostIf is an interface's name, another one for each subnet.
func hostIf(subnet string) string { return ifname.Endpoint(subnet, netip.MustParseAddr("172.17.42.2")) }

func request(ns, endpoint string, last byte) Request {
	return Request{
		HostIf: hostIf(endpoint), Owner: endpoint, Netns: netnsDir + "/" + ns, IfName: "eth0",
		MAC:     model.MAC{2, 0x4f, 172, 17, 42, last},
		Address: netip.PrefixFrom(netip.AddrFrom4([4]byte{172, 17, 42, last}), 24),
		Gateway: netip.MustParseAddr("172.17.42.1"), MTU: 1450,
	}
}

func unplumb(t testing.TB, hostIf string) {
	t.Helper()
	if err := Unplumb(context.Background(), hostIf); err != nil {
		t.Error(err)
	}
}

func plumbed(t testing.TB, r Request) func() error {
	t.Helper()
	undo, err := Plumb(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unplumb(t, r.HostIf) })
	return undo
}

// state is what a person would look at.
func state(t testing.TB, ns, iface string) string {
	t.Helper()
	var b strings.Builder
	for line := range strings.Lines(ip(t, "-n", ns, "-br", "link", "show", "dev", iface)) {
		f := strings.Fields(line)
		fmt.Fprintln(&b, strings.SplitN(f[0], "@", 2)[0], f[1], f[2])
	}
	mtu := strings.Fields(ip(t, "-n", ns, "-o", "link", "show", "dev", iface))
	fmt.Fprintln(&b, "mtu", mtu[4])
	fmt.Fprintln(&b, strings.Join(strings.Fields(ip(t, "-n", ns, "-4", "-br", "addr", "show", "dev", iface))[2:], " "))
	for line := range strings.Lines(ip(t, "-n", ns, "-4", "route")) {
		fmt.Fprintln(&b, strings.TrimSpace(line))
	}
	return b.String()
}

const wantState = `eth0 UP 02:4f:ac:11:2a:02
mtu 1450
172.17.42.2/24
default via 172.17.42.1 dev eth0
172.17.42.0/24 dev eth0 proto kernel scope link src 172.17.42.2
`

func TestPlumb(t *testing.T) {
	t.Parallel()
	const ns = "attach-plumb"
	newNetns(t, ns)
	r := request(ns, ns, 2)
	undo := plumbed(t, r)
	if diff := cmp.Diff(wantState, state(t, ns, "eth0")); diff != "" {
		t.Error(diff)
	}
	if lo := ip(t, "-n", ns, "-br", "link", "show", "lo"); !strings.Contains(lo, "LOOPBACK,UP") {
		t.Errorf("lo is down: %s", lo)
	}
	if outer := ip(t, "-o", "link", "show", r.HostIf); !strings.Contains(outer, "UP,LOWER_UP") || !strings.Contains(outer, "NOARP") || !strings.Contains(outer, "mtu 1450") {
		t.Errorf("end on the host: %s", outer)
	}
	if addresses := ip(t, "-6", "addr", "show", "dev", r.HostIf); addresses != "" {
		t.Errorf("end on the host has IPv6: %s", addresses)
	}
	if offloads(t, ns, "eth0") {
		t.Error("checksum offload is on")
	}
	if err := undo(); err != nil || Exists(r.HostIf) {
		t.Errorf("not undone: %v", err)
	}
	if left := ip(t, "-n", ns, "-br", "link"); strings.Contains(left, "eth0") {
		t.Errorf("left inside: %s", left)
	}
}

func offloads(t testing.TB, ns, iface string) bool {
	t.Helper()
	h, err := netns.GetFromName(ns)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	s, err := offload.OpenAt(h)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	on, err := s.Get(iface, offload.TxChecksum)
	if err != nil {
		t.Fatal(err)
	}
	return on
}

func TestPlumbKeepsOffloadForTheKernelDatapath(t *testing.T) {
	t.Parallel()
	const ns = "attach-offload"
	newNetns(t, ns)
	r := request(ns, ns, 2)
	r.ChecksumOffload = true
	plumbed(t, r)
	if !offloads(t, ns, "eth0") {
		t.Error("checksum offload is off")
	}
	// There the switch takes the packets after the filter that is right for the other, so it would get none.
	out, err := exec.Command("tc", "qdisc", "show", "dev", r.HostIf).CombinedOutput()
	if err != nil || strings.Contains(string(out), "clsact") {
		t.Errorf("packets are filtered: %s, %v", out, err)
	}
}

// The same again changes nothing, and its undo takes nothing away.
func TestPlumbAgain(t *testing.T) {
	t.Parallel()
	const ns = "attach-again"
	newNetns(t, ns)
	r := request(ns, ns, 2)
	plumbed(t, r)
	index := ip(t, "-n", ns, "-o", "link", "show", "eth0")
	undo := plumbed(t, r)
	if again := ip(t, "-n", ns, "-o", "link", "show", "eth0"); again != index {
		t.Errorf("was\n%sis\n%s", index, again)
	}
	if err := undo(); err != nil || !Exists(r.HostIf) {
		t.Errorf("undo took what it had not made: %v", err)
	}
	// What a killed call had left out is made good.
	ip(t, "-n", ns, "addr", "flush", "dev", "eth0")
	ip(t, "-n", ns, "link", "set", "eth0", "down")
	plumbed(t, r)
	if diff := cmp.Diff(wantState, state(t, ns, "eth0")); diff != "" {
		t.Error(diff)
	}
}

func TestPlumbSaysWhatDiffers(t *testing.T) {
	t.Parallel()
	const ns = "attach-differs"
	newNetns(t, ns)
	plumbed(t, request(ns, ns, 2))
	r := request(ns, ns, 3)
	r.MTU, r.Gateway = 1400, netip.MustParseAddr("172.17.42.254")
	_, err := Plumb(t.Context(), r)
	want := "make eth0 in /var/run/netns/attach-differs: already in use: it is there already, but its MAC is 02:4f:ac:11:2a:02, not 02:4f:ac:11:2a:03; " +
		"its MTU is 1450, not 1400; its MTU of " + r.HostIf + " is 1450, not 1400; its address is 172.17.42.2/24, not 172.17.42.3/24; " +
		"its gateway is 172.17.42.1, not 172.17.42.254; detach it first"
	if !errors.Is(err, ErrConflict) || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if diff := cmp.Diff(wantState, state(t, ns, "eth0")); diff != "" {
		t.Error(diff)
	}
}

// Each of these is refused, says why, and leaves both sides as they were.
func TestPlumbRefuses(t *testing.T) {
	t.Parallel()
	const ns, other = "attach-refuse", "attach-refuse2"
	newNetns(t, ns)
	newNetns(t, other)
	ip(t, "-n", ns, "link", "add", "eth0", "type", "veth", "peer", "name", "eth9")
	ip(t, "-n", ns, "addr", "add", "10.9.9.9/24", "dev", "eth0")
	ip(t, "-n", ns, "link", "set", "eth0", "up")
	ip(t, "-n", ns, "link", "set", "eth9", "up")
	ip(t, "-n", ns, "route", "add", "default", "via", "10.9.9.1")
	for deadline := time.Now().Add(patience); strings.Contains(ip(t, "-n", ns, "link"), "NO-CARRIER"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("eth0 gets no carrier")
		}
	}
	plumbed(t, request(other, "attach-elsewhere", 9))
	for name, tt := range map[string]struct {
		change func(*Request)
		want   string
		kind   error
	}{
		"foreign eth0":          {func(*Request) {}, "an interface eth0 exists that Overlane has not made", ErrConflict},
		"foreign default route": {func(r *Request) { r.IfName = "eth1" }, "another default route", ErrConflict},
		"plugged in elsewhere":  {func(r *Request) { r.HostIf = hostIf("attach-elsewhere"); r.IfName = "eth1" }, "leads elsewhere", ErrConflict},
		"no such namespace":     {func(r *Request) { r.Netns += "x" }, "not found", ErrNotFound},
		"not a namespace":       {func(r *Request) { r.Netns = "/proc/self/status" }, "is not a network namespace", ErrInvalid},
		// Not /proc/self, which is the first thread: a test may have left that one in another namespace.
		"the host itself":      {func(r *Request) { r.Netns = "/proc/thread-self/ns/net" }, "the host's own network namespace", ErrInvalid},
		"long name":            {func(r *Request) { r.IfName = "sixteenletters00" }, `interface name "sixteenletters00"`, ErrInvalid},
		"no name":              {func(r *Request) { r.IfName = "" }, "interface name", ErrInvalid},
		"host name not ours":   {func(r *Request) { r.HostIf = "eth0" }, "want one that Overlane gives to an endpoint", ErrInvalid},
		"IPv6":                 {func(r *Request) { r.Address = netip.MustParsePrefix("fd00::2/64") }, "want an IPv4 address", ErrInvalid},
		"multicast MAC":        {func(r *Request) { r.MAC[0] = 1 }, "want a unicast address", ErrInvalid},
		"MTU":                  {func(r *Request) { r.MTU = 68 }, "MTU 68", ErrInvalid},
		"gateway out of reach": {func(r *Request) { r.IfName = "eth1"; r.Gateway = netip.MustParseAddr("172.18.0.1") }, "unreachable", nil},
	} {
		r := request(ns, ns, 2)
		tt.change(&r)
		inside := func() string {
			return ip(t, "-n", ns, "-br", "link") + ip(t, "-n", ns, "-4", "addr") + ip(t, "-n", ns, "route")
		}
		before := inside()
		_, err := Plumb(t.Context(), r)
		if err == nil || !strings.Contains(err.Error(), tt.want) || tt.kind != nil && !errors.Is(err, tt.kind) {
			t.Errorf("%s: got %v", name, err)
		}
		if r.HostIf == hostIf(ns) && Exists(r.HostIf) {
			t.Errorf("%s: left %s", name, r.HostIf)
		}
		if diff := cmp.Diff(before, inside()); diff != "" {
			t.Errorf("%s: changed what is inside: %s", name, diff)
		}
	}
}

// A call whose time is up leaves nothing.
func TestPlumbCancelled(t *testing.T) {
	t.Parallel()
	const ns = "attach-cancel"
	newNetns(t, ns)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := request(ns, ns, 2)
	if _, err := Plumb(ctx, r); !errors.Is(err, context.Canceled) || Exists(r.HostIf) {
		t.Errorf("got %v, interface %t", err, Exists(r.HostIf))
	}
}

func TestUnplumb(t *testing.T) {
	t.Parallel()
	if err := Unplumb(t.Context(), hostIf("attach-nobody")); err != nil {
		t.Errorf("of none: %v", err)
	}
	if err := Unplumb(t.Context(), "lo"); !errors.Is(err, ErrInvalid) {
		t.Errorf("of lo: %v", err)
	}
}

func TestNetnsPath(t *testing.T) {
	t.Parallel()
	path := newNetns(t, "attach-path")
	sleep := exec.CommandContext(t.Context(), "nsenter", "--net="+path, "sleep", "60")
	if err := sleep.Start(); err != nil {
		t.Fatal(err)
	}
	pid := fmt.Sprint(sleep.Process.Pid)
	for in, want := range map[string]string{
		"attach-path": path, path: path, pid: "/proc/" + pid + "/ns/net",
	} {
		if got, err := NetnsPath(in); err != nil || got != want {
			t.Errorf("%s: got %q, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "attach-none", "999999999", "/nonexistent"} {
		if got, err := NetnsPath(in); err == nil {
			t.Errorf("%q: got %q", in, got)
		}
	}
	if _, err := NetnsPath("attach-none"); !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v", err)
	}
}

// Both ways for an interface to vanish: its namespace goes, or somebody removes it.
func TestWatch(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	early := request("attach-watch1", "attach-watch1", 2)
	newNetns(t, "attach-watch1")
	plumbed(t, early)
	gone, err := Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	late := request("attach-watch2", "attach-watch2", 3)
	ip(t, "netns", "add", "attach-watch2")
	plumbed(t, late)
	ip(t, "link", "del", early.HostIf)
	awaitGone(t, gone, early.HostIf)
	ip(t, "netns", "del", "attach-watch2")
	awaitGone(t, gone, late.HostIf)
	cancel()
	for range gone { // ends
	}
}

func awaitGone(t testing.TB, gone <-chan LinkGone, want string) {
	t.Helper()
	for timeout := time.After(patience); ; {
		select {
		case got := <-gone: // other tests' interfaces come and go too
			if got.Name == want {
				return
			}
		case <-timeout:
			t.Fatalf("nobody told of %s", want)
		}
	}
}

// If the kernel's news was lost, looking again finds what vanished.
func TestWatchLooksAgain(t *testing.T) {
	t.Parallel()
	w := &watch{known: map[string]bool{"ovlhasvanished0": true}, gone: make(chan LinkGone, 1)}
	if err := w.look(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := <-w.gone; got.Name != "ovlhasvanished0" {
		t.Errorf("got %v", got)
	}
}

// The host's network stack does not hear an endpoint: no ARP for the host's addresses, no packet to its sockets.
func TestHostIsDeafToEndpoints(t *testing.T) {
	t.Parallel()
	const ns = "attach-deaf"
	newNetns(t, ns)
	r := request(ns, ns, 2)
	plumbed(t, r)
	c, err := net.ListenPacket("udp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	outer, err := net.InterfaceByName(r.HostIf)
	if err != nil {
		t.Fatal(err)
	}
	port := fmt.Sprint(c.LocalAddr().(*net.UDPAddr).Port)
	// 198.51.100.1 is a host's address here; with its neighbour entries the endpoint is as well informed as it can be.
	ip(t, "addr", "add", "198.51.100.1/32", "dev", "lo")
	defer ip(t, "addr", "del", "198.51.100.1/32", "dev", "lo")
	ip(t, "-n", ns, "route", "add", "198.51.100.1", "dev", "eth0")
	for _, mac := range []string{"", outer.HardwareAddr.String(), "ff:ff:ff:ff:ff:ff"} {
		if mac != "" {
			ip(t, "-n", ns, "neigh", "replace", "198.51.100.1", "lladdr", mac, "nud", "permanent", "dev", "eth0")
		}
		send := exec.Command("nsenter", "--net="+r.Netns, "bash", "-c", "echo x > /dev/udp/198.51.100.1/"+port)
		if out, err := send.CombinedOutput(); err != nil {
			t.Fatalf("send: %v: %s", err, out)
		}
		if mac == "" {
			if neigh := ip(t, "-n", ns, "neigh"); strings.Contains(neigh, "lladdr") {
				t.Errorf("ARP was answered: %s", neigh)
			}
		}
	}
	heard := make(chan string, 1)
	go func() {
		buf := make([]byte, 100)
		_, from, err := c.ReadFrom(buf)
		heard <- fmt.Sprint(from, err)
	}()
	// A datagram sent later, over lo, arrives; so the others would have.
	own, err := net.Dial("udp4", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	if _, err := own.Write([]byte("y")); err != nil {
		t.Fatal(err)
	}
	if first := <-heard; !strings.HasPrefix(first, "127.0.0.1:") {
		t.Errorf("the host heard the endpoint first: %s", first)
	}
}

// What an endpoint may send from no address: DHCP's broadcasts, and multicast to all. rp_filter lets them pass.
func TestHostIsDeafToBroadcast(t *testing.T) {
	t.Parallel()
	const ns = "attach-deaf2"
	newNetns(t, ns)
	r := request(ns, ns, 2)
	plumbed(t, r)
	plumbed(t, r) // again: no second filter, no error
	mustBeDeafTo(t, ns, r.MAC)
}

// mustBeDeafTo fails if a socket of the host hears any of them.
func mustBeDeafTo(t testing.TB, ns string, mac model.MAC) {
	t.Helper()
	c, err := net.ListenPacket("udp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	port := c.LocalAddr().(*net.UDPAddr).Port
	for _, to := range []string{"255.255.255.255", "224.0.0.1", "172.17.42.255"} {
		for _, from := range []string{"0.0.0.0", "172.17.42.2"} {
			sendFrame(t, ns, udpFrame(mac, from, to, port))
		}
	}
	own, err := net.Dial("udp4", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	if _, err := own.Write([]byte("own")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	if n, from, err := c.ReadFrom(buf); err != nil || string(buf[:n]) != "own" {
		t.Errorf("the host heard %q from %v first, %v", buf[:n], from, err)
	}
}

// udpFrame is one Ethernet frame with a UDP datagram, whose checksum is left out (RFC 768).
func udpFrame(mac model.MAC, from, to string, port int) []byte {
	ip := []byte{0x45, 0, 0, 33, 0, 0, 0, 0, 64, 17, 0, 0}
	for _, a := range []string{from, to} {
		ip = append(ip, netip.MustParseAddr(a).AsSlice()...)
	}
	var sum uint32
	for i := 0; i < len(ip); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(ip[i:]))
	}
	binary.BigEndian.PutUint16(ip[10:], ^uint16(sum+sum>>16))
	frame := slices.Concat(bytes.Repeat([]byte{0xff}, 6), mac[:], []byte{8, 0}, ip)
	for _, v := range []int{4000, port, 13, 0} {
		frame = binary.BigEndian.AppendUint16(frame, uint16(v))
	}
	return append(frame, "hello"...)
}

// sendFrame sends it out of eth0 in a namespace, as a tenant that is root there can. The thread comes back from there:
// should it end, so would daemons that were started on it (PR_SET_PDEATHSIG).
func sendFrame(t testing.TB, ns string, frame []byte) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	defer home.Close()
	there, err := netns.GetFromName(ns)
	if err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	if err := netns.Set(there); err != nil {
		t.Fatal(err)
	}
	err = sendFromEth0(frame)
	if err := errors.Join(err, netns.Set(home)); err != nil {
		t.Fatal(err)
	}
}

func sendFromEth0(frame []byte) error {
	eth0, err := net.InterfaceByName("eth0")
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: eth0.Index})
}
