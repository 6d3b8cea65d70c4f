package firewall

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

func nativeGuard() Guard {
	g := outsideGuard()
	g.Outside.Reserved, g.Outside.Allow = nil, nil
	g.Native = &Native{
		Underlay: "eth0", Edges: "ovl-e-", Passage: "ovl-underlay", Mark: 0x4f000000, Mask: 0xff000000,
		Hosted:   []netip.Addr{netip.MustParseAddr("1.22.4.5")},
		Passed:   []netip.Addr{netip.MustParseAddr("1.22.4.6"), netip.MustParseAddr("10.200.2.7")},
		Reserved: []netip.Addr{netip.MustParseAddr("192.168.5.21")},
		Closed:   true,
	}
	return g
}

func TestNativeReadsAsMeant(t *testing.T) {
	inNamespace(t)
	g := nativeGuard()
	if err := Set(guard("192.168.5.3")); err != nil {
		t.Fatal(err)
	}
	if anew, err := Update(guard("192.168.5.3"), g); err != nil || !anew {
		t.Fatal(anew, err)
	}
	want := `	set hosted {
		type ipv4_addr
		elements = { 1.22.4.5 }
	}

	set passed {
		type ipv4_addr
		elements = { 1.22.4.6, 10.200.2.7 }
	}

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

`
	prerouting := `	chain prerouting {
		type filter hook prerouting priority raw; policy accept;
		iifname "eth0" ip daddr @hosted notrack accept
		iifname "ovl-e-*" jump endpoints
		iifname "eth0" ip saddr @passed jump arriving
		iifname "ovl-underlay" jump passed
		iifname "ovl-nat" jump guarded
	}
`
	forward := `		udp dport 4789 ip daddr @peers fib saddr . iif oif 0 counter name "forged" drop
		iifname "eth0" oifname "ovl-nat" ip daddr @hosted accept
		iifname "ovl-e-*" oifname != "eth0" counter name "no-exit" drop
		iifname "ovl-e-*" accept
		iifname "eth0" oifname "ovl-underlay" meta mark 0x4f000000/8 accept
		oifname "ovl-underlay" counter name "unsolicited" drop
		iifname "ovl-underlay" accept
		oifname "eth0" ip saddr @hosted counter name "guarded-address" drop
		oifname "ovl-nat" ct state invalid,new,untracked counter name "unsolicited" drop
		iifname @closed oifname != "ovl-nat" counter name "unsolicited" drop
`
	mustRead(t, want, prerouting, forward, "	set closed {\n		type ifname\n		elements = { \"eth0\" }")
	next := nativeGuard()
	next.Native.Hosted, next.Native.Passed, next.Native.Closed = nil, next.Native.Passed[:1], false
	if next.Equal(g) || !next.Equal(next) {
		t.Error("guards are not compared by value")
	}
	if anew, err := Update(g, next); err != nil || anew {
		t.Fatal(anew, err)
	}
	mustRead(t, strings.NewReplacer("		elements = { 1.22.4.5 }\n", "", ", 10.200.2.7", "").Replace(want), prerouting, forward, "	set closed {\n		type ifname\n	}")
	g = nativeGuard()
	g.Outside = nil
	if anew, err := Update(next, g); err != nil || !anew {
		t.Fatal(anew, err)
	}
	mustRead(t, `	chain prerouting {
		type filter hook prerouting priority raw; policy accept;
		iifname "eth0" ip saddr @passed jump arriving
		iifname "ovl-underlay" jump passed
	}
`, `		iifname "eth0" oifname "ovl-underlay" meta mark 0x4f000000/8 accept
		oifname "ovl-underlay" counter name "unsolicited" drop
		iifname "ovl-underlay" accept
		iifname @closed counter name "unsolicited" drop
	}`)
}

func mustRead(t *testing.T, want ...string) {
	t.Helper()
	got := run(t, "nft", "list", "ruleset")
	for _, w := range want {
		if !strings.Contains(got, w) {
			t.Errorf("nft reads\n%s\nwant\n%s", got, w)
		}
	}
}

func TestNativeIsChecked(t *testing.T) {
	for name, change := range map[string]func(*Native){
		"underlay": func(n *Native) { n.Underlay = "" },
		"passage":  func(n *Native) { n.Passage = "a-name-of-16-bytes" },
		"hosted":   func(n *Native) { n.Hosted = []netip.Addr{netip.IPv6Loopback()} },
		"mark":     func(n *Native) { n.Mark = 0x4f4f0000 },
		"no mark":  func(n *Native) { n.Mark = 0 },
	} {
		g := nativeGuard()
		change(g.Native)
		if err := Set(g); err == nil || !strings.HasPrefix(err.Error(), "public traffic over the underlay: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestManyPassed(t *testing.T) {
	inNamespace(t)
	g := nativeGuard()
	for n := range 10000 {
		a := netip.AddrFrom4([4]byte{1, 23, byte(n >> 8), byte(n)})
		g.Native.Passed, g.Native.Hosted = append(g.Native.Passed, a), append(g.Native.Hosted, a)
	}
	g.Native.Passed = g.Native.Passed[2:]
	if err := Set(g); err != nil {
		t.Fatal(err)
	}
	next := nativeGuard()
	next.Native.Passed, next.Native.Hosted = g.Native.Passed[1:], g.Native.Hosted
	start := time.Now()
	if anew, err := Update(g, next); err != nil || anew {
		t.Fatal(anew, err)
	}
	t.Logf("one address less: %v", time.Since(start))
	if got := strings.Count(run(t, "nft", "list", "set", "ip", "overlane", "passed"), "1.23."); got != 9999 {
		t.Errorf("%d of 9999 addresses are passed", got)
	}
}
