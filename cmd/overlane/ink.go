package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/overlane/overlane/model"
)

// ink writes colour where it is true, and plain text where it is not.
type ink bool

func (i ink) paint(code, text string) string {
	if !i || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (i ink) bold(text string) string   { return i.paint("1", text) }
func (i ink) dim(text string) string    { return i.paint("2", text) }
func (i ink) red(text string) string    { return i.paint("31", text) }
func (i ink) green(text string) string  { return i.paint("32", text) }
func (i ink) yellow(text string) string { return i.paint("33", text) }
func (i ink) cyan(text string) string   { return i.paint("36", text) }

// state colours the words that say how something is, and no others.
func (i ink) state(word string) string {
	switch word {
	case "Ready", "Up", "yes", "valid":
		return i.green(word)
	case "Down", "no", "revoked":
		return i.red(word)
	case "Pending", "Attached", "Unknown", "expired", "used up":
		return i.yellow(word)
	}
	return word
}

// table is rows of cells, the first of which are headers.
type table [][]string

func (t *table) row(cells ...string) { *t = append(*t, cells) }

// print aligns the columns, two spaces apart. An empty cell shows as "-".
func (t table) print(w io.Writer, i ink) {
	t = t.legible()
	widths := t.widths()
	for n, row := range t {
		var line strings.Builder
		for column, cell := range row {
			if cell == "" {
				cell = "-"
			}
			shown := i.state(cell)
			if n == 0 {
				shown = i.bold(cell)
			}
			line.WriteString(shown)
			if column < len(row)-1 {
				line.WriteString(strings.Repeat(" ", widths[column]-utf8.RuneCountInString(cell)+2))
			}
		}
		fmt.Fprintln(w, line.String())
	}
}

// legible has what could move the cursor, or make a row of its own, written out.
func (t table) legible() table {
	safe := make(table, len(t))
	for n, row := range t {
		for _, cell := range row {
			safe[n] = append(safe[n], legible(cell))
		}
	}
	return safe
}

// legible is a text in which every character can be seen: an escape shows as \x1b. Texts may come from a host that somebody
// has broken into.
func legible(text string) string {
	unseen := func(r rune) bool { return !unicode.IsPrint(r) }
	if utf8.ValidString(text) && !strings.ContainsFunc(text, unseen) {
		return text
	}
	quoted := strconv.Quote(text)
	return quoted[1 : len(quoted)-1]
}

func (t table) widths() []int {
	var widths []int
	for _, row := range t {
		for column, cell := range row {
			if column == len(widths) {
				widths = append(widths, 1)
			}
			widths[column] = max(widths[column], utf8.RuneCountInString(cell))
		}
	}
	return widths
}

// action colours a word by what it does to an object.
func (i ink) action(a model.Action, word string) string {
	switch a {
	case model.Create:
		return i.green(word)
	case model.Update:
		return i.yellow(word)
	case model.Delete:
		return i.red(word)
	}
	return i.dim(word)
}
