package main

import (
	"fmt"
	"strings"

	"github.com/alecthomas/kong"
)

// zshScript is for zsh 5 and later: a function a command, each of which describes
// its flags to _arguments. It may be sourced, or lie in a folder of fpath.
func zshScript(root surface) string {
	var b strings.Builder
	b.WriteString("#compdef outgrow\n# Completion of outgrow for zsh, written by: outgrow completion zsh\ncompdef _outgrow outgrow\n\n")
	for _, s := range root.all() {
		zshFunction(&b, s)
	}
	b.WriteString("if [[ $funcstack[1] == _outgrow ]]; then\n\t_outgrow \"$@\"\nfi\n")
	return b.String()
}

// zshName is the name of a command's function.
func (s surface) zshName() string { return strings.Join(append([]string{"_outgrow"}, s.words...), "_") }

func zshFunction(b *strings.Builder, s surface) {
	var specs []string
	for _, f := range s.flags {
		for _, spelling := range spellings(f) {
			specs = append(specs, zshFlag(f, spelling))
		}
	}
	fmt.Fprintf(b, "%s() {\n", s.zshName())
	if len(s.subs) == 0 {
		for i, arg := range s.args {
			specs = append(specs, fmt.Sprintf("%d::%s%s", i+1, zshText(arg.Name), zshOffer(guessOf(arg, ""), arg)))
		}
		fmt.Fprintf(b, "\t_arguments%s\n}\n\n", zshLines(specs))
		return
	}
	// _arguments cuts the words down to those of the command below.
	specs = append(specs, "1: :->command", "*:: :->rest")
	fmt.Fprintf(b, "\tlocal curcontext=$curcontext state line ret=1\n\ttypeset -A opt_args\n\t_arguments -C%s && ret=0\n", zshLines(specs))
	b.WriteString("\tcase $state in\n\t(command)\n\t\tlocal -a commands\n\t\tcommands=(\n")
	for _, sub := range s.subs {
		fmt.Fprintf(b, "\t\t\t%s\n", shellQuote(sub.name()+":"+zshText(brief(sub.help))))
	}
	b.WriteString("\t\t)\n\t\t_describe -t commands command commands && ret=0\n\t\t;;\n\t(rest)\n\t\tcase $line[1] in\n")
	for _, sub := range s.subs {
		fmt.Fprintf(b, "\t\t(%s) %s && ret=0 ;;\n", sub.name(), sub.zshName())
	}
	b.WriteString("\t\tesac\n\t\t;;\n\tesac\n\treturn ret\n}\n\n")
}

// zshFlag describes one spelling of a flag.
func zshFlag(f *kong.Flag, spelling string) string {
	spec, g := spelling, guessFlag(f)
	if f.IsCumulative() {
		spec = "*" + spec
	}
	if g != noValue && strings.HasPrefix(spelling, "--") {
		spec += "="
	}
	spec += "[" + strings.NewReplacer("[", `\[`, "]", `\]`).Replace(zshText(brief(f.Help))) + "]"
	if g != noValue {
		spec += ":" + zshText(f.FormatPlaceHolder()) + zshOffer(g, f.Value)
	}
	return spec
}

// zshOffer is the action that offers values.
func zshOffer(g guess, v *kong.Value) string {
	switch g {
	case aChoice:
		return ":(" + strings.Join(choices(v), " ") + ")"
	case aFile:
		return ":_files"
	case aFolder:
		return ":_files -/"
	}
	return ": "
}

// zshText escapes what ends a part of a description.
func zshText(s string) string { return strings.ReplaceAll(s, ":", `\:`) }

func zshLines(specs []string) string {
	var b strings.Builder
	for _, s := range specs {
		b.WriteString(" \\\n\t\t" + shellQuote(s))
	}
	return b.String()
}
