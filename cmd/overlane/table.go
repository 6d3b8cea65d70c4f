package main

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/overlane/overlane/internal/printable"
)

// table is rows of cells, the first of which are headers.
type table [][]string

func (t *table) row(cells ...string) { *t = append(*t, cells) }

// print aligns the columns, two spaces apart. An empty cell shows as "-".
func (t table) print(w io.Writer, p palette) {
	t = t.escaped()
	widths := t.widths()
	for n, row := range t {
		var line strings.Builder
		for column, cell := range row {
			if cell == "" {
				cell = "-"
			}
			shown := p.state(cell)
			if n == 0 {
				shown = p.bold(cell)
			}
			line.WriteString(shown)
			if column < len(row)-1 {
				line.WriteString(strings.Repeat(" ", widths[column]-utf8.RuneCountInString(cell)+2))
			}
		}
		fmt.Fprintln(w, line.String())
	}
}

// escaped is the table with nothing in it that could move the cursor, or make a row of its own.
func (t table) escaped() table {
	safe := make(table, len(t))
	for n, row := range t {
		for _, cell := range row {
			safe[n] = append(safe[n], printable.Escape(cell))
		}
	}
	return safe
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
