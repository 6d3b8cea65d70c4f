package hostnet

import "testing"

func TestConntrackDrops(t *testing.T) {
	const names = "entries  clashres found new invalid ignore delete chainlength insert insert_failed drop early_drop icmp_error  expect_new expect_create expect_delete search_restart\n"
	for text, want := range map[string]uint64{
		"": 0,
		names + "0000001b  00000000 00000000 00000000 00000002 00000009 00000000 00000000 00000000 00000024 00000024 00000000 00000000  00000000 00000000 00000000 00000000\n" +
			"0000001b  00000000 00000000 00000000 00000002 00000009 00000000 00000000 00000000 00000001 0000000a 00000000 00000000  00000000 00000000 00000000 00000000\n": 0x2e,
	} {
		if got, err := parseDrops(text); err != nil || got != want {
			t.Errorf("%d, %v, want %d of\n%s", got, err, want, text)
		}
	}
	for _, wrong := range []string{"entries found\n0 0\n", names + "0 0\n", "drop\nx\n"} {
		if got, err := parseDrops(wrong); err == nil {
			t.Errorf("%q passes, as %d", wrong, got)
		}
	}
}
