package server

import (
	"fmt"
	"strings"
	"testing"
	"unicode"

	"github.com/overlane/overlane/model"
	"github.com/overlane/overlane/store"
)

// TestHostsReachNoTerminal: a host's certificate is no way to the terminals of those who ask how the host is.
func TestHostsReachNoTerminal(t *testing.T) {
	srv := newAPI(t, store.NewMemory(0))
	srv.must(t, "POST", "/v1/apply", network)
	const evil = `\u001b]0;owned\u0007\u001b[2J\nhost9  yes\r\u009b1m\u202e`
	srv.must(t, "POST", "/v1/status", `[{"kind": "Host", "name": "host1", "status": {"reason": "`+evil+`", "datapath": "`+evil+`",
			"agentVersion": "`+evil+`", "warnings": ["`+evil+`"], "drops": {"`+evil+`": 3}, "tunnels": [{"state": "Up", "peer": "`+evil+`", "vtep": "`+evil+`"}]}},
		{"kind": "Endpoint", "name": "blue/web/a", "status": {"state": "Ready", "port": "`+evil+`", "reason": "`+evil+strings.Repeat("x", 600)+`"}}]`)
	host := statusAt[model.HostStatus](t, srv, "/v1/hosts/host1")
	endpoint := statusAt[model.EndpointStatus](t, srv, "/v1/endpoints/blue/web/a")
	texts := []string{host.Reason, host.Datapath, host.AgentVersion, host.Warnings[0], host.Tunnels[0].Peer,
		host.Tunnels[0].VTEP, endpoint.Port, endpoint.Reason}
	for name := range host.Drops {
		texts = append(texts, name)
	}
	for _, text := range texts {
		if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) || !strings.Contains(text,
			"owned") {
			t.Errorf("shown as %q", text)
		}
	}
	expect(t, fmt.Sprint(len([]rune(endpoint.Reason))), "512")
}

func TestStatesThatAreNone(t *testing.T) {
	srv := newAPI(t, store.NewMemory(0))
	srv.must(t, "POST", "/v1/apply", network)
	expect(t, told(srv.send(t, "host1", "POST", "/v1/status",
		`[{"kind": "Endpoint", "name": "blue/web/a", "status": {"state": "\u001b[2JReady"}}]`)),
		`400 invalid: body: the status of Endpoint blue/web/a: state "\x1b[2JReady" is not Pending, Attached or Ready`)
	expect(t, told(srv.send(t, "host1", "POST", "/v1/status",
		`[{"kind": "Host", "name": "host1", "status": {"tunnels": [{"state": "up"}]}}]`)),
		`400 invalid: body: the status of Host host1: tunnel state "up" is not Up, Down or Unknown`)
	for _, address := range []string{"::1", "0.0.0.0", "127.0.0.1", "224.0.0.1", "169.254.169.254", "255.255.255.255"} {
		expect(t, told(srv.send(t, "host1", "POST", "/v1/status",
			`[{"kind": "Host", "name": "host1", "status": {"addresses": ["`+address+`"]}}]`)),
			`400 invalid: body: the status of Host host1: address "`+address+`" is none of IPv4 that a host is reached by`)
	}
}
