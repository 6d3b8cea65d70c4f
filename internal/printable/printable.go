// Package printable makes texts from elsewhere safe to show on a terminal. Such a text may come from a host that
// somebody has broken into: a control character in it moves the cursor or forges a line.
package printable

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Is reports whether text is UTF-8 in which every character shows itself (unicode.IsPrint).
func Is(text string) bool { return utf8.ValidString(text) && !strings.ContainsFunc(text, hidden) }

func hidden(r rune) bool { return !unicode.IsPrint(r) }

// Escape writes every character of text that does not show itself as Go's string literals do: an escape character
// becomes \x1b.
func Escape(text string) string {
	if Is(text) {
		return text
	}
	quoted := strconv.Quote(text)
	return quoted[1 : len(quoted)-1]
}

// Blank puts a space in place of every character of text that does not show itself.
func Blank(text string) string {
	return strings.Map(func(r rune) rune {
		if hidden(r) {
			return ' '
		}
		return r
	}, text)
}
