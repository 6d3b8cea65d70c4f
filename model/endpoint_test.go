package model

import (
	"strings"
	"testing"
)

// What a host says of an attachment is shown to administrators on their terminals.
func TestAttachmentHidesNothing(t *testing.T) {
	for _, hidden := range []string{"\x1b[2J", "\n", "\x7f", "\u009b1m", "\u202e", "\u200b"} {
		text := "/run/" + hidden
		spec := EndpointSpec{Host: "host1", Attachment: &Attachment{Container: text, Netns: text, Interface: hidden}}
		found := 0
		for _, p := range spec.Check("blue/web/a") {
			if strings.Contains(p.Reason, "do not show themselves") {
				found++
			}
		}
		if found != 3 {
			t.Errorf("%q is refused in %d fields of 3", hidden, found)
		}
	}
	spec := EndpointSpec{Host: "host1", Attachment: &Attachment{Container: "wéb 1", Netns: "/run/netns/ウェブ"}}
	if problems := spec.Check("blue/web/a"); len(problems) > 0 {
		t.Error(problems)
	}
}
