package hostnet

import (
	"errors"
	"maps"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestProcessesMayNotSendToATunnel(t *testing.T) {
	inNamespace(t, "")
	if _, err := readCounters(); !errors.Is(err, errGone) {
		t.Errorf("without a table, the error is %v", err)
	}
	if err := writeTable(guardConfig("127.0.0.9").table()); err != nil {
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
	if got, err := readCounters(); err != nil || got[Forged] != 1 {
		t.Errorf("%v were dropped, %v; want 1", got, err)
	}
}

// An agent takes a table of 0.1.0 for none: it replaces the table, says of nobody that they have changed it, and does
// not go on with counts under names that nothing explains.
func TestTableOfTheLastReleaseIsReplaced(t *testing.T) {
	inNamespace(t, `nft add table ip overlane
nft add counter ip overlane forged { packets 3 bytes 300 ; }
nft add counter ip overlane guarded-host { packets 4 bytes 400 ; }
nft add set ip overlane peers { type ipv4_addr ; }
nft add chain ip overlane output { type filter hook output priority raw ; }
nft add rule ip overlane output ip daddr @peers counter name forged drop
`)
	k, c := New(nil), guardConfig("127.0.0.9")
	if s := mustSet(t, k, c, true); s.Tampered || s.Dropped != nil {
		t.Errorf("at first %+v", s)
	}
	if s := mustSet(t, k, c, false); s.Tampered || !maps.Equal(s.Dropped, map[string]uint64{Forged: 0}) {
		t.Errorf("then %+v", s)
	}
	if got := inspect(t).Table; slices.Contains(got, "counter forged") || !slices.Contains(got, "set peers: 127.0.0.9") {
		t.Errorf("the table is\n%s", strings.Join(got, "\n"))
	}
}

func TestManyPeers(t *testing.T) {
	inNamespace(t, "")
	g := guardConfig()
	for n := range 5000 {
		g.Peers = append(g.Peers, netip.AddrFrom4([4]byte{10, 1, byte(n >> 8), byte(n)}))
	}
	if err := writeTable(g.table()); err != nil {
		t.Fatal(err)
	}
	if got := inSet(t); got != 5000 {
		t.Errorf("%d of 5000 peers are in the set", got)
	}
	for _, peers := range [][]netip.Addr{g.Peers[:10], g.Peers[5:3000], g.Peers, nil, g.Peers[:1]} {
		next := guardConfig()
		next.Peers = peers
		if anew, err := updateTable(g.table(), next.table()); err != nil || anew {
			t.Fatal(anew, err)
		}
		if got := inSet(t); got != len(peers) {
			t.Errorf("%d of %d peers are in the set", got, len(peers))
		}
		g = next
	}
	if err := removeTable(); err != nil {
		t.Fatal(err)
	}
	if _, err := updateTable(g.table(), guardConfig("10.1.1.1").table()); err == nil {
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

func TestManyPublicAddresses(t *testing.T) {
	inNamespace(t, "")
	g, next := edgeConfig(), edgeConfig()
	g.SNAT, next.SNAT = &SNAT{}, &SNAT{}
	g.Direct.Remote = nil
	for n := range 10000 {
		a := netip.AddrFrom4([4]byte{1, 23, byte(n >> 8), byte(n)})
		g.Direct.Remote, g.Direct.Hosted = append(g.Direct.Remote, Remote{Address: a}), append(g.Direct.Hosted, a)
	}
	if err := writeTable(g.table()); err != nil {
		t.Fatal(err)
	}
	next.Direct.Remote, next.Direct.Hosted = g.Direct.Remote[1:], g.Direct.Hosted
	start := time.Now()
	if replaced, err := updateTable(g.table(), next.table()); err != nil || replaced {
		t.Fatal(replaced, err)
	}
	t.Logf("one address less: %v", time.Since(start))
	if got := strings.Count(run(t, "nft", "list", "set", "ip", "overlane", "passed"), "1.23."); got != 9999 {
		t.Errorf("%d of 9999 addresses are passed on", got)
	}
}

// What programs print of the same rules differs from version to version: here, whether bits of a mark are a prefix, and
// how they are set.
var sameInNFT = strings.NewReplacer(
	"meta mark & 0xff000000 == 0x4f000000", "meta mark 0x4f000000/8",
	"meta mark & 0x00ffffff | 0x4f000000", "meta mark & 0x4fffffff | 0x4f000000",
	"meta mark & 0x00ffffff ^ 0x4f000000", "meta mark & 0x4fffffff | 0x4f000000",
)

// The golden files have what the kernel was given, in words of this package. This is what another program makes of it.
func TestNFTReadsAsMeant(t *testing.T) {
	inNamespace(t, "")
	c := snatConfig()
	c.Inbound, c.ForwardsAll, c.SNAT.Copied, c.Direct = true, false, "nic", directConfig().Direct
	c.Direct.IsEdge, c.Direct.Remote = true, edgeConfig().Direct.Remote
	if err := writeTable(c.table()); err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(run(t, "nft", "list", "ruleset")) {
		got = append(got, strings.Join(strings.Fields(sameInNFT.Replace(line)), " "))
	}
	chains := strings.Join(got[slices.IndexFunc(got, func(l string) bool { return strings.HasPrefix(l, "chain ") }):], "\n")
	if want := strings.TrimSpace(strings.ReplaceAll(asNFTReads, "\t", "")); chains != want {
		t.Errorf("nft reads\n%s\nwant\n%s", chains, want)
	}
}

const asNFTReads = `
chain endpoints {
	ip saddr != @hosted counter name "guarded-address" drop
	ip daddr @reserved counter name "guarded-address" drop
	ip daddr 169.254.0.0/16 counter name "guarded-address" drop
	fib daddr type != unicast counter name "guarded-address" drop
	notrack accept
}

chain arriving {
	fib daddr type != unicast counter name "guarded-address" drop
	meta mark set meta mark & 0x4fffffff | 0x4f000000 notrack accept
}

chain passed {
	ip daddr != @passed counter name "guarded-address" drop
	notrack accept
}

chain guarded {
	ip saddr != 100.64.0.0/10 counter name "guarded-address" drop
	ip daddr 100.64.0.0/10 counter name "guarded-address" drop
	ip saddr . ip daddr @allowed accept
	ip daddr @reserved counter name "guarded-address" drop
	ip daddr 169.254.0.0/16 counter name "guarded-address" drop
	fib daddr type != unicast counter name "guarded-address" drop
}

chain prerouting {
	type filter hook prerouting priority raw; policy accept;
	iifname "eth0" ip daddr @hosted notrack accept
	iifname "ovl-e-*" jump endpoints
	iifname "eth0" ip saddr @passed jump arriving
	iifname "ovl-underlay" jump passed
	iifname "ovl-outside" jump guarded
	iifname "nic" fib daddr . iif type != local notrack
}

chain output {
	type filter hook output priority raw; policy accept;
	udp dport 4789 ip daddr @peers meta skuid >= 0 counter name "forged-tunnel" drop
}

chain forward {
	type filter hook forward priority raw; policy accept;
	udp dport 4789 ip daddr @peers ip saddr != @peers counter name "forged-tunnel" drop
	udp dport 4789 ip daddr @peers fib saddr . iif oif 0 counter name "forged-tunnel" drop
	iifname "eth0" oifname "ovl-outside" ip daddr @hosted accept
	iifname "ovl-e-*" oifname != "eth0" counter name "no-exit" drop
	iifname "ovl-e-*" accept
	iifname "eth0" oifname "ovl-underlay" meta mark 0x4f000000/8 accept
	oifname "ovl-underlay" counter name "no-connection" drop
	iifname "ovl-underlay" accept
	oifname "eth0" ip saddr @hosted counter name "guarded-address" drop
	oifname "ovl-outside" ct state invalid,new,untracked counter name "no-connection" drop
	iifname @closed oifname != "ovl-outside" counter name "no-connection" drop
	iifname "ovl-outside" oifname != @exits counter name "no-exit" drop
	iifname "ovl-outside" ct state invalid,untracked counter name "not-translated" drop
	iifname "ovl-outside" jump guarded
}

chain input {
	type filter hook input priority raw; policy accept;
	udp dport 4789 ip saddr @peers fib saddr . iif oif 0 counter name "forged-tunnel" drop
	iifname "ovl-outside" jump guarded
}

chain postrouting {
	type nat hook postrouting priority srcnat; policy accept;
	ip saddr 100.64.0.0/10 oifname @exits masquerade
}

chain leaving {
	type filter hook postrouting priority srcnat + 10; policy accept;
	ip saddr 100.64.0.0/10 oifname @exits counter name "not-translated" drop
}
}`
