package hostnet

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/overlane/overlane/internal/roottest"
)

// backend has iptables be one of its two.
func backend(t *testing.T, name string) {
	t.Helper()
	dir := t.TempDir()
	for _, suffix := range []string{"", "-restore"} {
		program, err := exec.LookPath("iptables-" + name + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(program, filepath.Join(dir, "iptables"+suffix)); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

func TestDockerLetsPass(t *testing.T) {
	roottest.Need(t)
	for _, name := range []string{"nft", "legacy"} {
		t.Run(name, func(t *testing.T) {
			backend(t, name)
			runAll(t, "ip netns add net-in\nip netns add net-out\n")
			inNamespace(t, `ip link add ovl-outside type veth peer name sw netns net-in address 02:4f:56:00:00:01
ip link add eth0 type veth peer name out netns net-out
ip link set eth0 up
ip address add 192.168.5.2/24 dev eth0
ip route add default via 192.168.5.8
ip -n net-in link set sw up
ip -n net-in address add 100.64.0.5/32 dev sw
ip -n net-out link set out up
ip -n net-out address add 192.168.5.8/24 dev out
ip -n net-out route add 100.64.0.0/10 via 192.168.5.2
`)
			mac := strings.Fields(run(t, "ip", "-br", "link", "show", "ovl-outside"))[2]
			runAll(t, "ip -n net-in neigh add 100.64.0.1 lladdr "+mac+` nud permanent dev sw
ip -n net-in route add default via 100.64.0.1 dev sw onlink
`)
			if _, err := setSNATPort(guardConfig().Range, guardConfig().MAC); err != nil {
				t.Fatal(err)
			}
			if _, err := openForwarding("eth0"); err != nil {
				t.Fatal(err)
			}
			dockerLetsPass(t, snatConfig())
		})
	}
}

func dockerLetsPass(t *testing.T, c Config) {
	let := func(wantChanged bool) {
		t.Helper()
		if changed, err := passDocker(t.Context(), c); err != nil || changed != wantChanged {
			t.Errorf("changed: %t, want %t; %v", changed, wantChanged, err)
		}
	}
	passes := func(from, to string, want bool) {
		t.Helper()
		got := false
		for tries := 0; tries < 10 && !got; tries++ { // a busy machine may be late to answer
			got = exec.Command("ip", "netns", "exec", own(from), "ping", "-c", "1", "-W", "0.3", to).Run() == nil
			if !want {
				break
			}
		}
		if got != want {
			t.Errorf("a ping from %s to %s passes: %t; the rules are\n%s", from, to, got, run(t, "iptables", "-S"))
		}
	}
	let(false)
	passes("net-in", "192.168.5.8", true)
	runAll(t, `iptables -P FORWARD DROP
iptables -N DOCKER-USER
iptables -A FORWARD -j DOCKER-USER
iptables -A DOCKER-USER -i other -j DROP
iptables -A DOCKER-USER -j RETURN
`)
	before := run(t, "iptables", "-S")
	passes("net-in", "192.168.5.8", false)
	let(true)
	passes("net-in", "192.168.5.8", true)
	passes("net-out", "100.64.0.5", false)
	as := run(t, "iptables", "-S")
	if !strings.Contains(as, "-A DOCKER-USER -m comment --comment overlane -j OVERLANE\n-A DOCKER-USER -i other -j DROP\n") {
		t.Errorf("the rules are\n%s", as)
	}
	let(false)
	for _, harm := range []string{
		"iptables -F DOCKER-USER",
		"iptables -F OVERLANE",
		"iptables -A OVERLANE -j ACCEPT",
		"iptables -A DOCKER-USER -j OVERLANE",
		"iptables -A DOCKER-USER -m comment --comment overlane -j OVERLANE",
	} {
		runAll(t, harm)
		let(true)
		passes("net-in", "192.168.5.8", true)
		passes("net-out", "100.64.0.5", false)
		let(false)
	}
	c.SNAT.Exits = []string{"eth0", "eth1"}
	let(true)
	let(false)
	runAll(t, `iptables -D DOCKER-USER -m comment --comment overlane -j OVERLANE
iptables -A DOCKER-USER -i other -j DROP
iptables -A DOCKER-USER -j RETURN
iptables -A DOCKER-USER -m comment --comment overlane -j OVERLANE
`)
	let(true) // where it was it was not reached
	if err := removeFromDocker(t.Context()); err != nil {
		t.Error(err)
	}
	if err := removeSNATPort(); err != nil {
		t.Error(err)
	}
	if after := run(t, "iptables", "-S"); after != before {
		t.Errorf("of\n%s\nhas become\n%s", before, after)
	}
	passes("net-in", "192.168.5.8", false)
}

func TestNoIptables(t *testing.T) {
	inNamespace(t, "")
	t.Setenv("PATH", "")
	if changed, err := passDocker(t.Context(), snatConfig()); err != nil || changed {
		t.Errorf("changed: %t, %v", changed, err)
	}
	if err := removeFromDocker(t.Context()); err != nil {
		t.Error(err)
	}
}
