package model

import (
	"fmt"
	"strings"
)

// Problem says what is wrong with one field of one object, and how to correct it.
type Problem struct {
	Object string `json:"object"`          // "Subnet blue/web"
	Field  string `json:"field"`           // "spec.cidr"
	Value  string `json:"value,omitempty"` // the value as given
	Reason string `json:"reason"`          // "overlaps 10.0.0.0/16 of Subnet blue/db"
	Remedy string `json:"remedy"`          // "choose a CIDR outside 10.0.0.0/16"
	Where  string `json:"where,omitempty"` // file and line, if it was read from a file: "net.yaml:12"
}

func (p Problem) String() string {
	var b strings.Builder
	if p.Where != "" {
		b.WriteString(p.Where + ": ")
	}
	b.WriteString(p.Object)
	if p.Field != "" {
		b.WriteString(": " + p.Field)
	}
	if p.Value != "" {
		fmt.Fprintf(&b, " %q", p.Value)
	}
	b.WriteString(": " + p.Reason)
	if p.Remedy != "" {
		b.WriteString("; " + p.Remedy)
	}
	return b.String()
}

// Problems are all that is wrong with a request. As an error they read one a line.
type Problems []Problem

func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Conflict says that the object's stored revision is not the one in the request: the object was created, changed or
// deleted since. The caller reads the object again and decides anew.
type Conflict struct {
	Key
	Given  int64 `json:"given"`  // the request's
	Stored int64 `json:"stored"` // 0: there is no such object
}

func (c Conflict) Error() string {
	if c.Stored == 0 {
		return fmt.Sprintf("%s: is at no revision, not %d: it does not exist; leave the revision out to create it", c.Key, c.Given)
	}
	return fmt.Sprintf("%s: is at revision %d, not %d; read it again, then repeat the change", c.Key, c.Stored, c.Given)
}
