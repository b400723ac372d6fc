package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

type manCmd struct{}

// Run prints the manual page. It has no date, so that the same version always
// gives the same page.
func (*manCmd) Run(a *app, ctx *kong.Context) error {
	_, err := fmt.Fprint(a.out, manual(ctx.Model))
	return err
}

// often is how many commands must take a flag for the manual to describe it once.
const often = 4

// manual is the page in the macros of man(7).
func manual(model *kong.Application) string {
	root := surfaceOf(model.Node)
	p := &manPage{}
	p.line(`.TH OUTGROW 1 "" %s "User Commands"`, manQuote("outgrow "+buildVersion()))
	p.section("Name")
	p.line("%s", manText("outgrow - moves an Open WebUI deployment to PostgreSQL, another vector store or another file store, and back"))
	p.section("Synopsis")
	p.line(`.B outgrow`)
	p.line(`.I COMMAND`)
	p.line(`.RI [ OPTION ]...`)
	p.section("Description")
	p.line("%s", manText(model.Help))
	p.text("Each side is described in Open WebUI's own environment variables: --from and --to take a DATA_DIR folder or an env file.")
	common := p.options(root)
	p.section("Commands")
	for _, s := range root.all()[1:] {
		p.command(s, common)
	}
	p.section("Exit status")
	p.line("%s", manText(strings.TrimPrefix(exitHelp, "Exit codes: ")))
	p.section("Environment")
	p.item(`\fBOUTGROW_FROM_\fINAME\fR, \fBOUTGROW_TO_\fINAME\fR`, "Replace variable NAME of one side; given empty, they remove it. A secret needs not be in a file.")
	p.section("Files")
	p.item(`\fINAME\fB.outgrow\fR`, "Beside the target's env file NAME.env, or --state DIR: state, report.html, report.json, and lists of what was found.")
	return p.b.String()
}

type manPage struct{ b strings.Builder }

func (p *manPage) line(format string, args ...any) { fmt.Fprintf(&p.b, format+"\n", args...) }

func (p *manPage) section(name string) { p.line(".SH %s", manQuote(strings.ToUpper(name))) }

func (p *manPage) text(s string) { p.line(".PP\n%s", manText(s)) }

// item is a tagged paragraph; the tag is roff already.
func (p *manPage) item(tag, s string) { p.line(".TP\n%s\n%s", tag, manText(s)) }

// options describes the flags that are the same in many commands, and gives them.
func (p *manPage) options(root surface) map[string]bool {
	common, count := map[string]bool{}, map[string]int{}
	p.section("Options of several commands")
	for _, s := range root.all()[1:] {
		for _, f := range s.flags {
			k := manFlagKey(f)
			if count[k]++; count[k] == often && f.Name != "help" {
				common[k] = true
				p.flag(f)
			}
		}
	}
	p.item(`\fB\-h\fR, \fB\-\-help\fR`, "What a command takes, with examples.")
	return common
}

// manFlagKey is equal for flags that mean the same.
func manFlagKey(f *kong.Flag) string { return f.Name + "\x00" + f.PlaceHolder + "\x00" + f.Help }

func (p *manPage) flag(f *kong.Flag) {
	tag := `\fB` + manText(strings.Join(spellings(f), ", ")) + `\fR`
	if guessFlag(f) != noValue {
		tag += `=\fI` + manText(strings.Trim(f.FormatPlaceHolder(), `"`)) + `\fR`
	}
	help := f.Help
	if f.HasDefault && f.Default != "" && f.Default != "0" {
		help += " Default: " + f.Default + "."
	}
	p.item(tag, help)
}

func (p *manPage) command(s surface, common map[string]bool) {
	title := "outgrow " + strings.Join(s.words, " ")
	for _, arg := range s.args {
		title += " " + arg.Summary()
	}
	p.line(".SS %s", manQuote(title))
	p.line("%s", manText(s.help))
	var also []string
	for _, f := range s.flags {
		switch {
		case f.Name == "help":
		case common[manFlagKey(f)]:
			also = append(also, "--"+f.Name)
		default:
			p.flag(f)
		}
	}
	for _, arg := range s.args {
		p.item(`\fI`+manText(arg.Name)+`\fR`, arg.Help)
	}
	if slices.Sort(also); len(also) > 0 {
		p.text("Takes also: " + strings.Join(also, ", ") + ".")
	}
	if lines := examples[s.name()]; len(lines) > 0 {
		p.line(".PP\nExamples:\n.PP\n.nf\n.RS 4")
		for _, l := range lines {
			p.line("%s", manText(l))
		}
		p.line(".RE\n.fi")
	}
}

// manText escapes a text: backslashes, hyphens that are typed, and a line that
// would be a request.
func manText(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s)
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, ".") || strings.HasPrefix(l, "'") {
			lines[i] = `\&` + l
		}
	}
	return strings.Join(lines, "\n")
}

func manQuote(s string) string { return `"` + strings.ReplaceAll(manText(s), `"`, `\(dq`) + `"` }
