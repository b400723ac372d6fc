package main

import (
	"fmt"
	"strings"

	"github.com/alecthomas/kong"
)

type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"The shell: bash, zsh or fish."`
}

// Run prints a script that needs nothing but the shell: outgrow is not started
// while somebody types.
func (c *completionCmd) Run(a *app, ctx *kong.Context) error {
	write := map[string]func(surface) string{"bash": bashScript, "zsh": zshScript, "fish": fishScript}[c.Shell]
	_, err := fmt.Fprint(a.out, write(surfaceOf(ctx.Model.Node)))
	return err
}

// bashScript works with bash 3.2, which macOS has, and later, without the package
// bash-completion.
func bashScript(root surface) string {
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	say(`# Completion of outgrow for bash, written by: outgrow completion bash`)
	say(`_outgrow_files() { compopt -o default 2>/dev/null || COMPREPLY=($(compgen -f -- "$1")); }`)
	say(`_outgrow_folders() { compopt -o dirnames 2>/dev/null || COMPREPLY=($(compgen -d -- "$1")); }`)
	say(`_outgrow() {`)
	say(`	local IFS=$' \t\n' at='' cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} flags='' commands='' i`)
	say(`	COMPREPLY=()`)
	say(`	# --name=value comes as three words.`)
	say(`	if [[ $cur == '=' ]]; then`)
	say(`		cur=''`)
	say(`	elif [[ $prev == '=' ]]; then`)
	say(`		prev=${COMP_WORDS[COMP_CWORD-2]}`)
	say(`	fi`)
	say(`	for ((i = 1; i < COMP_CWORD; i++)); do`)
	say(`		case $at/${COMP_WORDS[i]} in`)
	say(`		%s) at+=/${COMP_WORDS[i]} ;;`, strings.Join(paths(root), " | "))
	say(`		esac`)
	say(`	done`)
	say(`	case $at in`)
	for _, s := range root.all() {
		say("	'%s')", s.path())
		var flags []string
		by := map[string][]string{}
		var order []string
		for _, f := range s.flags {
			flags = append(flags, spellings(f)...)
			do := bashOffer(guessFlag(f), f.Value)
			if do == "" {
				continue
			}
			if by[do] == nil {
				order = append(order, do)
			}
			by[do] = append(by[do], spellings(f)...)
		}
		say("		flags='%s'", strings.Join(flags, " "))
		if len(s.subs) > 0 {
			say("		commands='%s'", strings.Join(subNames(s.subs), " "))
		}
		if len(order) > 0 {
			say("		case $prev in")
			for _, do := range order {
				say("		%s) %s return ;;", strings.Join(by[do], " | "), do)
			}
			say("		esac")
		}
		for _, arg := range s.args {
			if do := bashOffer(guessOf(arg, ""), arg); do != "" {
				say("		[[ $cur == -* ]] || { %s return; }", do)
			}
		}
		say("		;;")
	}
	say(`	esac`)
	say(`	if [[ $cur == -* ]]; then`)
	say(`		COMPREPLY=($(compgen -W "$flags" -- "$cur"))`)
	say(`	else`)
	say(`		COMPREPLY=($(compgen -W "$commands" -- "$cur"))`)
	say(`	fi`)
	say(`}`)
	say(`complete -F _outgrow outgrow`)
	return b.String()
}

// bashOffer is the command that offers values; "" for a switch.
func bashOffer(g guess, v *kong.Value) string {
	switch g {
	case noValue:
		return ""
	case aChoice:
		return `COMPREPLY=($(compgen -W '` + strings.Join(choices(v), " ") + `' -- "$cur"));`
	case aFile:
		return `_outgrow_files "$cur";`
	case aFolder:
		return `_outgrow_folders "$cur";`
	}
	return ":;"
}

// paths lists all commands as the scripts name them.
func paths(root surface) (out []string) {
	for _, s := range root.all()[1:] {
		out = append(out, s.path())
	}
	return out
}

func subNames(subs []surface) (out []string) {
	for _, s := range subs {
		out = append(out, s.name())
	}
	return out
}

// fishScript is for fish 3.0 and later.
func fishScript(root surface) string {
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	quote := func(s string) string {
		return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
	}
	say(`# Completion of outgrow for fish, written by: outgrow completion fish`)
	say(`function __outgrow_at`)
	say(`    set -l at ''`)
	say(`    for word in (commandline -opc)[2..-1]`)
	say(`        switch "$at/$word"`)
	say(`            case %s`, strings.Join(paths(root), " "))
	say(`                set at "$at/$word"`)
	say(`        end`)
	say(`    end`)
	say(`    test "$at" = "$argv[1]"`)
	say(`end`)
	say(`complete -c outgrow -e`)
	say(`complete -c outgrow -f`)
	for _, s := range root.all() {
		at := "complete -c outgrow -n " + quote("__outgrow_at '"+s.path()+"'")
		for _, sub := range s.subs {
			say("%s -a %s -d %s", at, sub.name(), quote(brief(sub.help)))
		}
		for _, f := range s.flags {
			for _, spelling := range spellings(f) {
				word := "-l " + strings.TrimPrefix(spelling, "--")
				if !strings.HasPrefix(spelling, "--") {
					word = "-s " + strings.TrimPrefix(spelling, "-")
				}
				say("%s %s%s -d %s", at, word, fishOffer(guessFlag(f), f.Value), quote(brief(f.Help)))
			}
		}
		for _, arg := range s.args {
			switch guessOf(arg, "") {
			case aFile:
				say("%s -F", at)
			case aChoice:
				say("%s -a %s", at, quote(strings.Join(choices(arg), " ")))
			}
		}
	}
	return b.String()
}

// fishOffer are the options of complete for the values of a flag.
func fishOffer(g guess, v *kong.Value) string {
	switch g {
	case noValue:
		return ""
	case aChoice:
		return " -x -a '" + strings.Join(choices(v), " ") + "'"
	case aFile:
		return " -r -F"
	case aFolder:
		return " -x -a '(__fish_complete_directories)'"
	}
	return " -x"
}
