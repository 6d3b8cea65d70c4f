package labtest

import (
	"slices"
	"testing"
)

func TestInvolved(t *testing.T) {
	took := map[string]map[string]bool{
		"T": {"host1": true, "host2": true, "g1": true}, "T/a": {"host1": true}, "T/b": {"g1": true}, "T/b/c": {"g2": true}, "TT": {"host9": true},
	}
	for _, tt := range []struct{ failed, want []string }{
		{nil, nil},
		{[]string{"T"}, []string{"g1", "host1", "host2"}},
		{[]string{"T/a", "T"}, []string{"host1"}},
		{[]string{"T/a", "T/b", "T"}, []string{"g1", "host1"}},
		{[]string{"T/b/c", "T/b", "T"}, []string{"g2"}},
		{[]string{"T", "TT"}, []string{"g1", "host1", "host2", "host9"}},
	} {
		r := &report{took: took, failed: tt.failed}
		if got := r.involved(); !slices.Equal(got, tt.want) {
			t.Errorf("of %v failed, %v took part, want %v", tt.failed, got, tt.want)
		}
	}
}
