package main

import (
	"strings"
	"testing"

	"github.com/overlane/overlane/model"
)

// overlane runs a command line that needs no server, and gives its exit status, its output and its errors.
func overlane(args ...string) (status int, out, problems string) {
	var o, p strings.Builder
	status = run(args, strings.NewReader(""), &o, &p)
	return status, o.String(), p.String()
}

func TestExplain(t *testing.T) {
	for what, want := range map[string][]string{
		"":                       {"InternetGateway", "Connects the VPC"},
		"SN":                     {"Subnet (subnets, sn), named VPC/SUBNET", "  cidr  IPv4 CIDR; /8 to /30; required\n", "dynamicPerPort: 16"},
		"subnet.dhcp.lease":      {"Subnet.spec.dhcp.lease\n", "Unit:       seconds\n", "Allowed:    60 to 31536000\n", "Default:    86400\n", "Example:    lease: 86400\n"},
		"host.status.drops":      {"Host.status.drops\n", "map from string to integer"},
		"igw.design":             {"Default:    distributed; kept by an update\n"},
		"endpoint.attachment":    {"Written by: the agent\n", "  netns  string; "},
		"forward.spec.PUBLICIP":  {"Forward.spec.publicIP\n", "Default:    required\n"},
		"portblock.status":       {"PortBlock.status\n", "endpoints  integer"},
		"drops":                  {"spoofed  ", "an endpoint sent from a MAC or address that is not its own"},
		"host.outside.interface": {"Host.spec.outside.interface\n"},
	} {
		args := []string{"explain", what}
		if what == "" {
			args = args[:1]
		}
		status, out, problems := overlane(args...)
		if status != 0 || problems != "" {
			t.Errorf("explain %s: status %d, %s", what, status, problems)
		}
		for _, words := range want {
			if !strings.Contains(out, words) {
				t.Errorf("explain %s does not say %q:\n%s", what, words, out)
			}
		}
	}
	if _, out, _ := overlane("explain", "-o", "markdown"); out != model.Reference() {
		t.Error("explain -o markdown is not the reference")
	}
}

func TestExplainRefuses(t *testing.T) {
	for _, c := range []struct {
		args   string
		status int
		words  string
	}{
		{"gadget", 2, `"gadget" is not a kind`},
		{"subnet.leese", 1, "Subnet: leese: is not a field"},
		{"endpoint.attachmend.via", 1, "did you mean attachment.via?"},
		{"a b", 2, "accepts at most 1 arg"},
		{"subnet -o markdown", 2, "leave subnet out"},
		{"-o xml", 2, "there are text, markdown"},
	} {
		status, out, problems := overlane(append([]string{"explain"}, strings.Fields(c.args)...)...)
		if status != c.status || out != "" || !strings.Contains(problems, c.words) {
			t.Errorf("explain %s: status %d, %q, %q", c.args, status, out, problems)
		}
	}
}

func TestCompleteFields(t *testing.T) {
	for typed, want := range map[string]string{
		"": "host subnet", "sub": "subnet", "subnet.dhcp.": "subnet.dhcp.lease", "sn.": "sn.cidr", "host.status.tunnels.": "host.status.tunnels.peer",
	} {
		_, out, _ := overlane("__complete", "explain", typed)
		for word := range strings.FieldsSeq(want) {
			if !strings.Contains(out, word) {
				t.Errorf("%q is not completed to %s:\n%s", typed, word, out)
			}
		}
	}
	if _, out, _ := overlane("__complete", "explain", "gadget."); strings.Contains(out, "gadget") {
		t.Errorf("gadget. is completed:\n%s", out)
	}
}
