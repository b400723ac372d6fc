package main

import (
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// surface is a command as the scripts of completion and the manual page see it.
type surface struct {
	words []string // what is typed: env, init; none for outgrow itself
	help  string
	flags []*kong.Flag // its own, and what it takes of the commands above it
	args  []*kong.Positional
	subs  []surface
}

// surfaceOf reads a command of the parser's model, and those below it. What a
// command does that needs not be named is part of the one above it.
func surfaceOf(n *kong.Node) surface {
	s := surface{help: n.Help, args: n.Positional}
	if n.Parent != nil {
		s.words = append(surfaceWords(n.Parent), n.Name)
	}
	for _, group := range n.AllFlags(true) {
		s.flags = append(s.flags, group...)
	}
	if d := n.DefaultCmd; d != nil {
		s.flags, s.args = append(s.flags, d.Flags...), append(slices.Clone(s.args), d.Positional...)
	}
	for _, child := range n.Children {
		if !child.Hidden {
			s.subs = append(s.subs, surfaceOf(child))
		}
	}
	return s
}

func surfaceWords(n *kong.Node) []string {
	if n.Parent == nil {
		return nil
	}
	return append(surfaceWords(n.Parent), n.Name)
}

// all lists the command and those below it.
func (s surface) all() []surface {
	out := []surface{s}
	for _, sub := range s.subs {
		out = append(out, sub.all()...)
	}
	return out
}

// name is the last word of the command.
func (s surface) name() string { return s.words[len(s.words)-1] }

// path is how the scripts name the command: /env/init, and nothing for outgrow
// itself.
func (s surface) path() string {
	if len(s.words) == 0 {
		return ""
	}
	return "/" + strings.Join(s.words, "/")
}

// spellings are what a flag may be written as.
func spellings(f *kong.Flag) []string {
	out := []string{"--" + f.Name}
	switch no := f.Tag.Negatable; no {
	case "":
	case "_": // kong's word for no other name
		out = append(out, "--no-"+f.Name)
	default:
		out = append(out, "--"+no)
	}
	if f.Short != 0 {
		out = append(out, "-"+string(f.Short))
	}
	return out
}

// guess is what can be offered for a value.
type guess int

const (
	noValue guess = iota // a switch
	anyText              // a value that is nobody's to guess
	aChoice
	aFile
	aFolder
)

// guessOf says what a flag or argument of that placeholder takes.
func guessOf(v *kong.Value, placeholder string) guess {
	switch {
	case v.Flag != nil && v.IsBool():
		return noValue
	case v.Enum != "":
		return aChoice
	case strings.Contains(placeholder, "FILE"), v.Flag == nil && v.Name == "file":
		return aFile
	case placeholder == "DIR":
		return aFolder
	}
	return anyText
}

func guessFlag(f *kong.Flag) guess { return guessOf(f.Value, f.PlaceHolder) }

// choices are the values of an enum.
func choices(v *kong.Value) []string {
	return slices.DeleteFunc(v.EnumSlice(), func(s string) bool { return s == "" })
}

// brief is the first sentence of a help text, without what it says in brackets.
func brief(help string) string {
	end := len(help)
	for _, stop := range []string{". ", "; ", " ("} {
		if i := strings.Index(help, stop); i > 0 {
			end = min(end, i)
		}
	}
	return strings.TrimSuffix(help[:end], ".")
}
