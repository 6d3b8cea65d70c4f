package e2e

import (
	"strings"
	"testing"

	"github.com/overlane/overlane/model"
)

func TestOverlay(t *testing.T) {
	t.Parallel()
	n := hosts(t, 3)
	n.endpoint("host1 a blue/web --ip 172.17.42.2")
	n.endpoint("host2 b blue/web --ip 172.17.42.3")
	n.endpoint("host3 c blue/web --ip 172.17.42.4")
	t.Run("every endpoint reaches every other one", func(t *testing.T) {
		n := &network{n.Lab, t}
		for _, from := range []string{"host1 a", "host2 b", "host3 c"} {
			for _, to := range []string{"172.17.42.2", "172.17.42.3", "172.17.42.4"} {
				f := strings.Fields(from)
				n.ping(f[0], f[1], to)
			}
		}
	})
	t.Run("ARP tables fill with what intent says", func(t *testing.T) {
		n := &network{n.Lab, t}
		for _, ns := range []string{"host1 a 172.17.42.3 02:4f:ac:11:2a:03", "host2 b 172.17.42.2 02:4f:ac:11:2a:02"} {
			f := strings.Fields(ns)
			n.ping(f[0], f[1], f[2])
			out, err := n.in(f[0], f[1], "ip", "neigh", "show", f[2])
			if err != nil || !strings.Contains(out, "lladdr "+f[3]) {
				t.Errorf("%s: %v, want %s, got %q", f[1], err, f[3], out)
			}
		}
	})
	t.Run("all are measured to be ready", func(t *testing.T) {
		n := &network{n.Lab, t}
		for _, e := range []string{"blue/web/a", "blue/web/b", "blue/web/c"} {
			n.awaitState(e, model.Ready)
		}
	})
}
