package article_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/overlane/overlane/examples"
	"github.com/overlane/overlane/lab"
	"github.com/overlane/overlane/lab/article"
	"github.com/overlane/overlane/lab/drill"
	"github.com/overlane/overlane/lab/labtest"
)

// The demonstration is a test, check by check. Afterwards what the checks are about is broken, one thing after the
// other, and each check must notice.
func TestArticle(t *testing.T) {
	f, err := article.File(examples.Files, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	l := labtest.UpFile(t, f)
	for _, c := range article.Checks(l) {
		t.Run(c.Name, func(t *testing.T) {
			var seen article.Evidence
			if err := c.Run(t.Context(), &seen); err != nil {
				t.Errorf("%v\n%s", err, &seen)
			}
		})
	}
	if t.Failed() {
		return
	}
	host1, host2 := l.Host("host1"), l.Host("host2")
	for _, m := range []struct {
		name, check string
		on          labtest.Runner
		command     string
		complaint   string
	}{
		{"a server that answers for the other tenant", "their own servers", host1,
			"docker exec blue2 sh -c 'echo tenant red >/www/index.html'", `heard "tenant red", not "tenant blue"`},
		{"a red container at the address that only blue had", "out of red's reach", host2,
			"docker run -d --net=none --name red4 busybox sleep 1000 && overlane attach red4 --subnet red/web --ip 172.17.42.20", "red1 reaches 172.17.42.20"},
		{"a router that does not translate", "double NAT", l.Machine("router"),
			"nft flush ruleset", `not "you are 198.51.100.1"`},
		{"a tenant that is allowed to reach its host", "do not reach the host", host1,
			"echo '{kind: InternetGateway, name: red, spec: {snat: true, allow: [192.168.5.2/32]}}' | overlane apply -f - && sleep 1", "red1 reaches its host"},
		{"a MAC that is not the container's", "ARP tables", host2,
			"pid=$(docker inspect -f '{{.State.Pid}}' blue3) && nsenter -t $pid -n ip link set eth0 address 02:00:00:00:00:99", "has not 172.17.42.10 at 02:00:00:00:00:99"},
		{"a container that is gone", "reach each other", host1,
			"docker rm -f blue1", "172.17.42.2"},
	} {
		t.Run("noticed: "+m.name, func(t *testing.T) {
			labtest.Exec(t, m.on, "sh", "-ec", m.command)
			var seen article.Evidence
			if err := named(t, l, m.check).Run(t.Context(), &seen); err == nil || !strings.Contains(err.Error(), m.complaint) {
				t.Errorf("the check says %v, want %q\n%s", err, m.complaint, &seen)
			}
		})
	}
}

func named(t *testing.T, l *lab.Lab, words string) article.Check {
	t.Helper()
	for _, c := range article.Checks(l) {
		if strings.Contains(c.Name, words) {
			return c
		}
	}
	t.Fatalf("no check has %q in its name", words)
	return article.Check{}
}

// The second act is a test as well, and its checks notice what is broken.
func TestInternet(t *testing.T) {
	f, err := drill.File(examples.Files, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	l := labtest.UpFile(t, f)
	for _, c := range article.InternetChecks(l) {
		t.Run(c.Name, func(t *testing.T) {
			var seen article.Evidence
			if err := c.Run(t.Context(), &seen); err != nil {
				t.Errorf("%v\n%s", err, &seen)
			}
		})
	}
	labtest.Exec(t, l.Host("host1"), "sh", "-ec", "echo '{kind: InternetGateway, name: blue, spec: {design: central}}' | overlane apply -f -")
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	checks := article.InternetChecks(l)
	if err := checks[len(checks)-1].Run(ctx, new(article.Evidence)); err == nil {
		t.Error("without SNAT, an endpoint without a public address reaches the internet")
	}
}
