package model

import (
	"fmt"
	"strings"

	"github.com/overlane/overlane/internal/pattern"
)

// MaxNamePart is the most characters that one part of a name may have, as in a DNS label (RFC 1035 section 2.3.4).
const MaxNamePart = 63

var namePart = pattern.Of(`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`)

// CheckName judges a name of the kind: as many parts as [Kind.Path] has, joined by "/", each of at most [MaxNamePart]
// characters a-z, 0-9, "-" and ".", with a letter or digit first and last.
func (k Kind) CheckName(name string) Problems {
	f := findingsOf(Key{k.Name, clip(name)})
	form := strings.Join(k.Path, "/")
	if name == "" {
		f.add("name", nil, "is missing", "name it "+form)
		return f.problems
	}
	parts := strings.Split(name, "/")
	if len(parts) != len(k.Path) {
		f.add("name", name, fmt.Sprintf("has %s, not %d", count(len(parts), "part"), len(k.Path)), "name it "+form)
		return f.problems
	}
	for _, part := range parts {
		f.part("name", part)
	}
	return f.problems
}

// part judges one part of a name.
func (f *findings) part(field, part string) {
	switch {
	case part == "":
		f.add(field, nil, "has an empty part", "leave out the extra /")
	case len(part) > MaxNamePart:
		f.add(field, part, fmt.Sprintf("has %d characters, and %d at most are allowed", len(part), MaxNamePart), "shorten it")
	case !namePart().MatchString(part):
		f.add(field, part, "may have only a-z, 0-9, - and ., with a letter or digit first and last", "call it "+legalName(part))
	}
}

// legalName is a name like part that is allowed.
func legalName(part string) string {
	legal := func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '.' || r == '-' {
			return r
		}
		return '-'
	}
	if tamed := strings.Trim(strings.Map(legal, strings.ToLower(part)), "-."); tamed != "" {
		return tamed
	}
	return "web1, for example"
}
