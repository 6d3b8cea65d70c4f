package printable

import "testing"

func TestText(t *testing.T) {
	for _, tt := range []struct {
		text           string
		is             bool
		escaped, blank string
	}{
		{"", true, "", ""},
		{`a "b" \ ü`, true, `a "b" \ ü`, `a "b" \ ü`},
		{"a\x1b[31mb", false, `a\x1b[31mb`, "a [31mb"},
		{"one\ntwo", false, `one\ntwo`, "one two"},
		{"turned\u202eback", false, `turned\u202eback`, "turned back"},
		{"cut\xff", false, `cut\xff`, "cut\ufffd"},
	} {
		if got := Is(tt.text); got != tt.is {
			t.Errorf("Is(%q) is %t", tt.text, got)
		}
		if got := Escape(tt.text); got != tt.escaped {
			t.Errorf("Escape(%q) is %q, want %q", tt.text, got, tt.escaped)
		}
		if got := Blank(tt.text); got != tt.blank {
			t.Errorf("Blank(%q) is %q, want %q", tt.text, got, tt.blank)
		}
	}
}
