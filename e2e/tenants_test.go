package e2e

import (
	"strings"
	"testing"

	"github.com/overlane/overlane/lab"
)

// The lab of the article: two tenants with identical addresses, in real containers on the same hosts, each of which
// answers with its tenant's name. Only blue has 172.17.42.20.
func TestTenantsWithTheSameAddresses(t *testing.T) {
	t.Parallel()
	f, err := lab.ReadFile("../examples/article.lab.yaml")
	if err != nil {
		t.Fatal(err)
	}
	n := up(t, f)
	n.pingFrom("host1", "blue1", "172.17.42.10")
	for _, tt := range []struct{ host, container, to, want string }{
		{"host1", "blue1", "172.17.42.10", "tenant blue\n"},
		{"host1", "red1", "172.17.42.10", "tenant red\n"},
		{"host2", "blue3", "172.17.42.2", "tenant blue\n"},
		{"host2", "red3", "172.17.42.2", "tenant red\n"},
		{"host1", "blue1", "172.17.42.3", "tenant blue\n"},
		{"host1", "red1", "172.17.42.3", "tenant red\n"},
		{"host1", "blue1", "172.17.42.20", "tenant blue\n"},
		{"host1", "red1", "172.17.42.20", ""},
		{"host2", "red3", "172.17.42.20", ""},
	} {
		if got := n.web(tt.host, tt.container, tt.to); !strings.HasSuffix(got, tt.want) || (got == "") != (tt.want == "") {
			t.Errorf("%s asks %s: want %q, got %q", tt.container, tt.to, tt.want, got)
		}
	}
	before := n.drops("host1", "arp-no-such-address")
	if out, err := n.try("host1", "docker", "exec", "red1", "ping", "-c2", "-W1", "172.17.42.20"); err == nil {
		t.Errorf("red pings what only blue has:\n%s", out)
	}
	if n.drops("host1", "arp-no-such-address") == before {
		t.Error("the switch of host1 was not asked for it")
	}
	arp := n.on("host1", "docker", "exec", "blue1", "ip", "neigh")
	if !strings.Contains(arp, "172.17.42.10 dev eth0 lladdr 02:4f:ac:11:2a:0a") {
		t.Errorf("ARP table of blue1: %s", arp)
	}
}

// pingFrom pings from a container.
func (n *network) pingFrom(host, container, to string) {
	n.t.Helper()
	n.eventually(container+" reaches "+to, func() error {
		_, err := n.try(host, "docker", "exec", container, "ping", "-c1", "-W1", to)
		return err
	})
}

// web asks a web server from a container; empty: nobody answered. (The static wget crashes in getservbyname, for want
// of libnss.)
func (n *network) web(host, container, to string) string {
	n.t.Helper()
	out, _ := n.try(host, "docker", "exec", container, "sh", "-c", "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 3 "+to+" 80")
	return out
}
