package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// The colours that we use (ANSI SGR).
const (
	bold   = "1"
	faint  = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
	cyan   = "36"
)

// paint colours s where colours are understood.
func (e *Env) paint(color, s string) string {
	if !e.Color || color == "" || s == "" {
		return s
	}
	return "\x1b[" + color + "m" + s + "\x1b[0m"
}

// cell is a text with its colour.
type cell struct {
	text  string
	color string
	right bool // numbers stand at the right
}

// table prints rows in columns as wide as their widest cell.
type table struct {
	head []string
	rows [][]cell
}

func (t *table) add(cells ...cell) { t.rows = append(t.rows, cells) }

// print draws the table; the last column is cut at the edge of a terminal.
func (t *table) print(env *Env) {
	widths := make([]int, len(t.head))
	for i, h := range t.head {
		widths[i] = utf8.RuneCountInString(h)
	}
	for _, row := range t.rows {
		for i, c := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(c.text))
		}
	}
	head := make([]cell, len(t.head))
	for i, h := range t.head {
		head[i] = cell{text: h, color: faint, right: len(t.rows) > 0 && t.rows[0][i].right}
	}
	for _, row := range append([][]cell{head}, t.rows...) {
		fmt.Fprintln(env.Stdout, env.line(row, widths))
	}
}

func (e *Env) line(row []cell, widths []int) string {
	var b strings.Builder
	used := 0
	for i, c := range row {
		pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c.text))
		switch {
		case c.right:
			b.WriteString(pad + e.paint(c.color, c.text))
		case i == len(row)-1:
			b.WriteString(e.paint(c.color, e.cut(c.text, used)))
		default:
			b.WriteString(e.paint(c.color, c.text) + pad)
		}
		if i < len(row)-1 {
			b.WriteString("  ")
		}
		used += widths[i] + 2
	}
	return strings.TrimRight(b.String(), " ")
}

// cut shortens s that begins at a column to the width of the terminal.
func (e *Env) cut(s string, column int) string {
	room := e.Width - column
	if e.Width == 0 || room < 8 || utf8.RuneCountInString(s) <= room {
		return s
	}
	return string([]rune(s)[:room-1]) + "…"
}

// printJSON writes one value a line: a stream that jq reads.
func printJSON(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return fmt.Errorf("print JSON: %w", err)
	}
	return nil
}
