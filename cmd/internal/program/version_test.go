package program

import (
	"os"
	"regexp"
	"testing"
)

func TestReleaseIsTheChangelogsLast(t *testing.T) {
	changelog, err := os.ReadFile("../../../CHANGELOG.md")
	if err != nil {
		t.Fatal(err)
	}
	last := regexp.MustCompile(`(?m)^## ([0-9]+\.[0-9]+\.[0-9]+) - [0-9]{4}-[0-9]{2}-[0-9]{2}$`).FindSubmatch(changelog)
	if last == nil {
		t.Fatal("CHANGELOG.md names no release")
	}
	if string(last[1]) != release {
		t.Errorf("the program says %s, CHANGELOG.md's last release is %s", release, last[1])
	}
}
