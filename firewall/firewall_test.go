package firewall

import (
	"errors"
	"net"
	"net/netip"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/overlane/overlane/internal/roottest"
)

// inNamespace goes on in a network namespace of its own, which ends with the test's thread.
func inNamespace(t *testing.T) {
	t.Helper()
	roottest.Need(t)
	runtime.LockOSThread() // and never unlocked: the thread ends with the test
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ns.Close() })
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func guard(peers ...string) Guard {
	g := Guard{Port: 4789}
	for _, p := range peers {
		g.Peers = append(g.Peers, netip.MustParseAddr(p))
	}
	return g
}

func TestTableReadsAsMeant(t *testing.T) {
	inNamespace(t)
	if err := Set(guard("192.168.5.3", "192.168.5.4")); err != nil {
		t.Fatal(err)
	}
	replacement := guard("192.168.5.3")
	replacement.Inbound = true
	if err := Set(replacement); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("nft", "list", "ruleset").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	want := `table ip overlane {
	counter forged {
		packets 0 bytes 0
	}

	set peers {
		type ipv4_addr
		elements = { 192.168.5.3 }
	}

	chain output {
		type filter hook output priority raw; policy accept;
		udp dport 4789 ip daddr @peers meta skuid >= 0 counter name "forged" drop
	}

	chain forward {
		type filter hook forward priority raw; policy accept;
		udp dport 4789 ip daddr @peers ip saddr != @peers counter name "forged" drop
		udp dport 4789 ip daddr @peers fib saddr . iif oif 0 counter name "forged" drop
	}

	chain input {
		type filter hook input priority raw; policy accept;
		udp dport 4789 ip saddr @peers fib saddr . iif oif 0 counter name "forged" drop
	}
}`
	if got := strings.TrimSpace(string(out)); got != want {
		t.Errorf("nft reads\n%s\nwant\n%s", got, want)
	}
	if err := Remove(); err != nil {
		t.Error(err)
	}
	if err := Remove(); err != nil {
		t.Errorf("removing what is not there: %v", err)
	}
}

func TestProcessesMayNotSendToATunnel(t *testing.T) {
	inNamespace(t)
	if _, err := Dropped(); !errors.Is(err, ErrGone) {
		t.Errorf("without a table, the error is %v", err)
	}
	if err := Set(guard("127.0.0.9")); err != nil {
		t.Fatal(err)
	}
	for address, forbidden := range map[string]bool{"127.0.0.9:4789": true, "127.0.0.9:4790": false, "127.0.0.8:4789": false} {
		c, err := net.Dial("udp", address)
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Write([]byte("forged"))
		_ = c.Close()
		if forbidden != (err != nil) {
			t.Errorf("%s: %v", address, err)
		}
	}
	if got, err := Dropped(); err != nil || got[Forged] != 1 {
		t.Errorf("%v were dropped, %v; want 1", got, err)
	}
}

func TestManyPeers(t *testing.T) {
	inNamespace(t)
	g := Guard{Port: 4789}
	for n := range 5000 {
		g.Peers = append(g.Peers, netip.AddrFrom4([4]byte{10, 1, byte(n >> 8), byte(n)}))
	}
	if err := Set(g); err != nil {
		t.Fatal(err)
	}
	if got := inSet(t); got != 5000 {
		t.Errorf("%d of 5000 peers are in the set", got)
	}
	for _, peers := range [][]netip.Addr{g.Peers[:10], g.Peers[5:3000], g.Peers, nil, g.Peers[:1]} {
		next := Guard{Port: 4789, Peers: peers}
		if anew, err := Update(g, next); err != nil || anew {
			t.Fatal(anew, err)
		}
		if got := inSet(t); got != len(peers) {
			t.Errorf("%d of %d peers are in the set", got, len(peers))
		}
		g = next
	}
	if err := Remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := Update(g, guard("10.1.1.1")); err == nil {
		t.Error("without the table, updating it is no error")
	}
}

func inSet(t *testing.T) int {
	t.Helper()
	out, err := exec.Command("nft", "list", "set", "ip", "overlane", "peers").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(out), "10.1.")
}
