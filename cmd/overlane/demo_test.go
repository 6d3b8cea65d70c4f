package main

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestVerdict(t *testing.T) {
	good, bad := checkResult{"ping", nil, time.Second}, checkResult{"isolation", errors.New("red reaches blue"), time.Second}
	for _, c := range []struct {
		results []checkResult
		last    string
		fails   bool
	}{
		{[]checkResult{good, good}, "2 of 2 held in 47 s\n\nTry next:", false},
		{[]checkResult{good, bad}, "1 of 2 held in 47 s\n", true},
	} {
		var out strings.Builder
		e := &env{out: &out}
		err := e.verdict(c.results, 47*time.Second)
		if !strings.Contains(out.String(), c.last) || (err != nil) != c.fails || c.fails && !errors.Is(err, errSilent) {
			t.Errorf("%v:\n%s", err, &out)
		}
	}
}
