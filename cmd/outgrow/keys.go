package main

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"outgrow/mappings/env"
	"outgrow/mappings/secrets"
	"outgrow/pipeline"
)

// keyReason is the reason of what another WEBUI_SECRET_KEY would lose.
const keyReason pipeline.Reason = "secret-key"

// keyFacts is what is known of WEBUI_SECRET_KEY on both sides and what is stored
// under it. It is never printed as a whole.
type keyFacts struct {
	source secrets.Found // zero where none was found
	target secrets.Found // zero where the target's variables name none
	known  bool          // source is one
	named  bool          // target is one
	// doubt: nothing that is stored tells which of two readings of the key file the
	// source is started with.
	doubt bool
	// bySource and byTarget are what the keys open; byTarget is what would be opened
	// if what the target does not name were carried over.
	bySource, byTarget secrets.Trial
	// missing are the source's other keys that the target's variables do not name.
	missing []string
	// mfa: sign-in with a second factor is on.
	mfa bool
}

// encrypted is a database that holds what Open WebUI has encrypted.
type encrypted interface {
	Tokens(ctx context.Context) iter.Seq2[secrets.Token, error]
	SecondFactor(ctx context.Context) (bool, error)
}

// tryKeys tries both sides' keys on what is stored in the source's database.
func tryKeys(ctx context.Context, from, to env.Deployment, db encrypted) (k keyFacts, err error) {
	var tokens []secrets.Token
	for token, err := range db.Tokens(ctx) {
		if err != nil {
			return k, err
		}
		tokens = append(tokens, token)
	}
	if k.mfa, err = db.SecondFactor(ctx); err != nil {
		return k, err
	}
	if strings.EqualFold(to.Vars["ENABLE_PERSISTENT_CONFIG"].Reveal(), "false") {
		k.mfa = false // the target does not read it
	}
	k.try(from, to, tokens)
	return k, nil
}

// try finds the keys of both sides, the source's by what it opens.
func (k *keyFacts) try(from, to env.Deployment, tokens []secrets.Token) {
	found := secrets.Find(from)
	k.source, k.bySource, k.known = secrets.Best(found, from.Vars, tokens)
	if _, opens := k.bySource.Total(); len(found) > 1 && opens == 0 {
		k.doubt = found[0].From == found[1].From
	}
	vars := maps.Clone(to.Vars)
	if vars == nil {
		vars = map[string]env.Secret{}
	}
	for _, name := range secrets.StandIns() {
		if v, given := from.Vars[name]; given {
			if _, given := vars[name]; !given {
				vars[name], k.missing = v, append(k.missing, name)
			}
		}
	}
	k.target, k.named = secrets.Given(to.Vars)
	secret := k.target.Secret
	switch {
	case !k.named:
		secret = k.source.Secret
	case k.doubt && slices.ContainsFunc(found, func(f secrets.Found) bool { return f.Secret == secret }):
		k.source = k.target // one of the two readings, and nothing speaks against it
	}
	k.byTarget = secrets.NewKeys(secret, vars).Try(tokens)
}

// lost counts, by kind, what the source's key opens and the target's does not;
// where the source's is not known, what the target's does not.
func (k keyFacts) lost() (n int, kinds []string) {
	for _, kind := range slices.Sorted(maps.Keys(k.bySource.Stored)) {
		open := k.bySource.Opens[kind]
		if !k.known {
			open = k.bySource.Stored[kind]
		}
		if d := open - k.byTarget.Opens[kind]; d > 0 {
			n += d
			kinds = append(kinds, fmt.Sprintf("%s of %s", number(int64(d)), plural(int64(k.bySource.Stored[kind]), string(kind))))
		}
	}
	return n, kinds
}

// takeOver says how the target gets the source's key.
func (k keyFacts) takeOver() string {
	switch {
	case k.known && !strings.Contains(k.source.From, secrets.FileName):
		return "give the target the WEBUI_SECRET_KEY of the source (" + k.source.From + ")"
	case k.known && k.source.EndsInBreak:
		return "set WEBUI_SECRET_KEY of the target to the whole content of " + k.source.From + ", its last line break included, as outgrow cutover --env-out FILE writes it"
	case k.known:
		return "set WEBUI_SECRET_KEY of the target to what " + k.source.From + " holds, without a line break at its end"
	}
	return "find the key that the source is started with: its variable WEBUI_SECRET_KEY, or the file " + secrets.FileName + " in the folder where it is started, and give the target the same"
}

// keyFindings says, before anything is stopped, what the target's key would lose.
func (s *session) keyFindings() []pipeline.Finding {
	if !s.src.has(pipeline.Rows) || s.src.source == nil {
		return nil
	}
	k := s.src.key
	stored, opens := k.byTarget.Total()
	n, kinds := k.lost()
	f := pipeline.Finding{Reason: keyReason, Count: int64(n), Fix: k.takeOver()}
	second := k.byTarget.Stored[secrets.MFA] - k.byTarget.Opens[secrets.MFA]
	other := k.named && k.known && k.target.Secret != k.source.Secret
	agree := ", or agree with --accept " + string(keyReason)
	var out []pipeline.Finding
	switch {
	case k.mfa && second > 0 && k.named:
		f.Severity, f.Count = pipeline.Refuse, int64(second)
		f.Text = fmt.Sprintf("the target's %s does not open %s, and sign-in with one is on: Open WebUI would not start", k.target.From, plural(int64(second), "second factor"))
	case n > 0 && k.named:
		f.Severity, f.Fix = pipeline.Accept, f.Fix+agree
		f.Text = fmt.Sprintf("the target's %s does not open what is stored under the source's: %s would be lost%s", k.target.From, strings.Join(kinds, ", "), signIn(other))
	case other:
		f.Severity, f.Fix = pipeline.Accept, f.Fix+agree
		f.Text = "the target's WEBUI_SECRET_KEY is not the source's: everybody would have to sign in again"
	case !k.named && s.app.carries && k.known && opens < stored:
		f.Severity, f.Count = pipeline.Accept, int64(stored-opens)
		f.Text = fmt.Sprintf("the target names no WEBUI_SECRET_KEY, and the one found on the source (%s) does not open %d of %d stored secrets: it may not be the one in use", k.source.From, stored-opens, stored)
		f.Fix = "name the key that is in use as WEBUI_SECRET_KEY in the target's env file, or agree with --accept " + string(keyReason)
	case !k.named && s.app.carries && k.known:
		f.Severity, f.Fix = pipeline.Note, ""
		f.Text = "the target names no WEBUI_SECRET_KEY: that of the source (" + k.source.From + ") is carried over into --env-out"
	case !k.named && s.to.IsFolder && stored > 0: // a folder has no variables
		f.Severity, f.Fix = pipeline.Warn, "start Open WebUI on the target with the WEBUI_SECRET_KEY of the source"
		f.Text = fmt.Sprintf("%s are stored under the source's WEBUI_SECRET_KEY: with another one they are lost", plural(int64(stored), "secret"))
	case !k.named && stored > 0:
		f.Severity, f.Count, f.Fix = pipeline.Accept, int64(stored), f.Fix+agree
		f.Text = fmt.Sprintf("the target names no WEBUI_SECRET_KEY: with a new one %s would be lost, and everybody would have to sign in again", plural(int64(stored), "stored secret"))
		if k.mfa && k.byTarget.Stored[secrets.MFA] > 0 {
			f.Text = "the target names no WEBUI_SECRET_KEY, and sign-in with a second factor is on: with a new key Open WebUI would not start"
		}
	case !k.named:
		f.Severity = pipeline.Warn
		f.Text = "the target names no WEBUI_SECRET_KEY: with a new one everybody would have to sign in again"
	}
	if f.Severity != "" {
		out = append(out, f)
	}
	if len(k.missing) > 0 && !s.app.carries {
		out = append(out, pipeline.Finding{Severity: pipeline.Warn, Reason: keyReason, Text: "the source has keys of its own for some secrets, which the target does not name: " + strings.Join(k.missing, ", "),
			Fix: "give the target the same"})
	}
	if k.doubt {
		out = append(out, pipeline.Finding{Severity: pipeline.Note, Reason: keyReason, Text: k.doubtText()})
	}
	return out
}

func (k keyFacts) doubtText() string {
	return k.source.From + " ends in a line break, and nothing that is stored tells whether it belongs to the key: `open-webui serve` keeps it, the start script of the container does not"
}

func signIn(other bool) string {
	if other {
		return ", and everybody would have to sign in again"
	}
	return ""
}

// keyLine is "" where the rows stay, and with them what the key opens.
func (s *session) keyLine() string {
	k := s.src.key
	if !s.src.has(pipeline.Rows) || s.src.source == nil {
		return ""
	}
	stored, opens := k.byTarget.Total()
	from, where := k.target.From, ""
	if !k.named {
		from, where = k.source.From, " of the source"
	}
	switch {
	case from == "" && stored == 0:
		return "WEBUI_SECRET_KEY is not named on either side: keep the old one on the target, or everybody must sign in again"
	case from == "":
		return fmt.Sprintf("WEBUI_SECRET_KEY is not named: the target needs the old one to open %s", plural(int64(stored), "stored secret"))
	case stored == 0:
		return "found (" + from + where + "); nothing is stored under it that could be tried: users stay signed in if the target has the same"
	case opens == stored:
		return fmt.Sprintf("found (%s%s), opens %d of %d stored secrets: users stay signed in", from, where, opens, stored)
	default:
		return fmt.Sprintf("found (%s%s), but opens only %d of %d stored secrets: it is not, or not always was, the source's key", from, where, opens, stored)
	}
}

// keyLines are the lines that give the target the keys which its own variables do
// not name. plain: docker --env-file reads them too.
func (k keyFacts) keyLines(from env.Deployment) (lines []string, plain bool, err error) {
	plain = true
	add := func(name, value string) {
		line, p, aerr := env.Assign(name, value)
		if aerr != nil {
			err = aerr
			return
		}
		lines, plain = append(lines, line), plain && p
	}
	if !k.named && k.known {
		add("WEBUI_SECRET_KEY", k.source.Secret.Reveal())
	}
	for _, name := range k.missing {
		add(name, from.Vars[name].Reveal())
	}
	return lines, plain, err
}
