// Package pattern holds regular expressions that are compiled when they are first used, so that they cost a program
// that does not use them nothing at its start.
package pattern

import (
	"regexp"
	"sync"
)

// Of gives a function that compiles a regular expression once. It panics if that is wrong, as [regexp.MustCompile]
// does.
func Of(expression string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expression) })
}
