// Package page draws a report as one HTML file that needs nothing beside it: no
// script, no font and no picture from elsewhere. What stands on it is for the
// caller to say; this package knows words, figures, tables, bars and curves.
package page

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
)

//go:embed page.html
var markup string

//go:embed page.css
var style string

// Mood is what a page, a line or a figure means to its reader.
type Mood string

// The moods. Plain has no colour of its own.
const (
	Plain Mood = ""
	Good  Mood = "good"
	Warn  Mood = "warn"
	Bad   Mood = "bad"
)

// Page is everything that stands on it, in order.
type Page struct {
	Title    string // of the window
	Kicker   string // above the headline: what this is about
	Mood     Mood
	State    string // one word for how it ended
	Headline string
	Lead     string
	Facts    []Fact
	From, To string
	Sections []Section
	Colophon []string
}

// Fact is a figure large enough to be read across a table.
type Fact struct {
	Value, Label string
}

// Section is one part of the page. Blocks come one below the other.
type Section struct {
	ID, Title string
	Aside     string // a sentence beside the title
	Blocks    []Block
}

// Block is one of its fields; the others are nil.
type Block struct {
	Text  *Text
	Steps []Step
	Table *Table
	Bars  *Bars
	Chart *Chart
	Notes []Note
}

// Text is a paragraph.
type Text struct {
	Body string
	Mood Mood
}

// Step is one thing to do, with the command for it.
type Step struct {
	Text    string
	Command string
}

// Table is rows under heads. More are rows that are folded away on a screen and
// printed on paper.
type Table struct {
	Title   string
	Columns []Column
	Rows    [][]Cell
	More    [][]Cell
	MoreOf  string // says what More holds
	Foot    string
}

// tableRows are rows of a table, all of them or the folded ones.
type tableRows struct {
	Table *Table
	Rows  [][]Cell
}

// Column is a head; numbers stand right.
type Column struct {
	Head   string
	Number bool
}

// Cell is a value, with a smaller line below it and a bar of that part (0 to 1)
// under it.
type Cell struct {
	Text, Sub string
	Mood      Mood
	Bar       float64
}

// Bars compare what was predicted with what was measured.
type Bars struct {
	Bars []Bar
}

// Bar is one of them. Shares are of the longest one; a predicted 0 is none.
type Bar struct {
	Label, Sub          string
	Measured, Predicted string
	Share, Expected     float64
	Deviation           string
	Strong              bool
}

// Note is something found, and what to do about it.
type Note struct {
	Mood  Mood
	Word  string // "must fix", "agreed"
	Title string
	Text  string
	Fix   string
	Line  string // to be set or typed
}

// Render writes the page.
func Render(w io.Writer, p Page) error {
	t, err := template.New("page").Funcs(template.FuncMap{
		"style":   func() template.CSS { return template.CSS(style) }, //nolint:gosec // embedded in the program.
		"percent": func(f float64) string { return fmt.Sprintf("%.2f%%", 100*min(max(f, 0), 1)) },
		"scale":   func(f float64) string { return fmt.Sprintf("%.1f", chartWide*f) },
		"head":    func(t *Table, i int) Column { return t.Columns[i] },
		"pack":    func(t *Table, rows [][]Cell) tableRows { return tableRows{t, rows} },
	}).Parse(markup)
	if err != nil {
		return fmt.Errorf("reading the page's template: %w", err)
	}
	if err := t.Execute(w, p); err != nil {
		return fmt.Errorf("drawing the page: %w", err)
	}
	return nil
}
