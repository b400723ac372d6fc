package main

import (
	"fmt"
	"maps"
	"strings"

	"outgrow/mappings/env"
	"outgrow/mappings/envform"
)

// carry gives all instances the keys that the stored secrets were made with, where
// the target's own variables name none, as cutover --env-out does.
func (k keyFacts) carry(o *envform.Options, from env.Deployment) (notes []string) {
	note := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
	vars := maps.Clone(o.Vars)
	if vars == nil {
		vars = map[string]env.Secret{}
	}
	stored, opens := k.byTarget.Total()
	switch {
	case k.named && k.known && k.target.Secret != k.source.Secret:
		lost := "stored tokens cannot be read"
		if n, kinds := k.lost(); n > 0 {
			lost = strings.Join(kinds, ", ") + " would be lost"
		}
		note("%s is not the source's key (%s): everybody is signed out, and %s", k.target.From, k.source.From, lost)
	case k.named && opens < stored:
		note("%s opens only %d of %d stored secrets: it is not, or not always was, the source's key", k.target.From, opens, stored)
	case k.named:
	case !k.known:
		note("WEBUI_SECRET_KEY is not set: each instance would make a key of its own. Give the old deployment's (outgrow capture tells where it is)")
	default:
		vars["WEBUI_SECRET_KEY"] = k.source.Secret
		if o.WithSecrets {
			note("WEBUI_SECRET_KEY is carried over from %s%s", k.source.From, lineBreak(k.source.EndsInBreak))
		} else {
			note("WEBUI_SECRET_KEY is known (%s%s) and written by --with-secrets", k.source.From, lineBreak(k.source.EndsInBreak))
		}
		if opens < stored {
			note("the key of %s opens only %d of %d stored secrets: it may not be the one in use", k.source.From, opens, stored)
		}
		if k.doubt {
			note("%s", k.doubtText())
		}
	}
	for _, name := range k.missing {
		vars[name] = from.Vars[name]
	}
	if len(k.missing) > 0 {
		note("from the source, which has keys of its own for some secrets: %s", strings.Join(k.missing, ", "))
	}
	o.Vars = vars
	return notes
}

func lineBreak(kept bool) string {
	if kept {
		return ", with the line break at its end"
	}
	return ""
}
