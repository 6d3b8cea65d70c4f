package model

import (
	"fmt"
	"reflect"
	"strings"
	"unicode/utf8"
)

// findings collects the problems of one object.
type findings struct {
	object   string
	problems Problems
}

func findingsOf(key Key) *findings {
	if key == (Key{}) {
		return &findings{object: "object"}
	}
	return &findings{object: strings.TrimSpace(key.String())}
}

// add records a problem. The zero value of a type was not given, and is not shown.
func (f *findings) add(field string, value any, reason, remedy string) {
	f.problems = append(f.problems, Problem{Object: f.object, Field: field, Value: display(value), Reason: reason, Remedy: remedy})
}

// display is a value as a person would write it, cut where it gets too long to read.
func display(value any) string {
	if value == nil || reflect.ValueOf(value).IsZero() {
		return ""
	}
	return clip(fmt.Sprint(value))
}

func clip(text string) string {
	const most = 80
	text = strings.ToValidUTF8(text, "\ufffd")
	if utf8.RuneCountInString(text) <= most {
		return text
	}
	return string([]rune(text)[:most]) + "…"
}

// closest is the candidate that a user who typed word most likely meant; empty if none is close.
func closest(word string, candidates []string) string {
	best, least := "", len(word)/3+2
	for _, c := range candidates {
		if d := distance(strings.ToLower(word), strings.ToLower(c)); d < least {
			best, least = c, d
		}
	}
	return best
}

// distance is the number of bytes to insert, delete or replace to make b of a (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		corner := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := corner
			if a[i] != b[j] {
				cost = 1 + min(corner, row[j], row[j+1])
			}
			corner, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}

// suggest is a remedy: the near candidate, or else advice.
func suggest(word string, candidates []string, advice string) string {
	if guess := closest(clip(word), candidates); guess != "" {
		return "did you mean " + guess + "?"
	}
	return advice
}

// maxNames is how many names a message has.
const maxNames = 3

// firstFew lists names for people: the first few, and how many there are.
func firstFew(names []string, total int) string {
	if total <= maxNames {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:maxNames], ", "), total-maxNames)
}

// itOrThem stands for n things.
func itOrThem(n int) string {
	if n == 1 {
		return "it"
	}
	return "them"
}

// count is "1 endpoint", "2 endpoints", "3 addresses".
func count(n int, noun string) string {
	switch {
	case n == 1:
		return "1 " + noun
	case strings.HasSuffix(noun, "s"):
		noun += "e"
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
