// Package envform writes a deployment's variables in the form that each way of
// running Open WebUI takes: an env file, a Compose override, Kubernetes objects,
// values of the official Helm chart. Secrets are references unless they are asked
// for. Sources: python-dotenv 1.2.4, the Compose specification, the Kubernetes API
// (apps/v1, core/v1), Open WebUI's Helm chart 16.0.0 (open-webui/helm-charts).
package envform

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"outgrow/mappings/env"
)

// The forms.
const (
	Dotenv     = "dotenv"
	Compose    = "compose"
	Kubernetes = "kubernetes"
	Helm       = "helm"
)

// migrations is the variable that exactly one instance has true.
const migrations = "ENABLE_DB_MIGRATIONS"

// Options say what to write.
type Options struct {
	// Vars are the variables of all instances.
	Vars map[string]env.Secret
	// DataDir is DATA_DIR as the app sees it.
	DataDir string
	// Name is that of the service, the workload or the release.
	Name string
	// Claim is the PersistentVolumeClaim that holds DATA_DIR.
	Claim string
	// Image with its tag; an env file needs none.
	Image string
	// Replicas is how many instances there are, the primary among them.
	Replicas int
	// WithSecrets writes secrets instead of references to them.
	WithSecrets bool
	// Head is the first line of an env file, a comment; "" for the usual one.
	Head string
}

// Result is what was written, and what to know of it.
type Result struct {
	Text string
	// Secrets names the variables that are references.
	Secrets []string
	Notes   []string
}

// Write gives the variables in a form. The error says which variable cannot be in
// it; it holds no value.
func Write(form string, o Options) (Result, error) {
	w := &writer{Options: o}
	for name := range o.Vars {
		if name == migrations { // settled by which instance it is
			continue
		}
		if _, _, err := env.Assign(name, o.Vars[name].Reveal()); err != nil {
			return Result{}, fmt.Errorf("%q cannot be a variable: name or value", name)
		}
		w.names = append(w.names, name)
	}
	slices.Sort(w.names)
	for _, name := range w.names {
		if !w.shown(name) {
			w.result.Secrets = append(w.result.Secrets, name)
		}
	}
	var err error
	switch form {
	case Dotenv:
		w.dotenv()
	case Compose:
		err = w.compose()
	case Kubernetes:
		err = w.kubernetes()
	case Helm:
		err = w.helm()
	default:
		err = fmt.Errorf("there is no form %q", form)
	}
	return w.result, err
}

type writer struct {
	Options
	names  []string // without ENABLE_DB_MIGRATIONS, sorted
	result Result
}

// shown reports whether the value itself is written.
func (w *writer) shown(name string) bool { return w.WithSecrets || env.Plain(name, w.Vars[name]) }

func (w *writer) value(name string) string { return w.Vars[name].Reveal() }

func (w *writer) note(format string, args ...any) {
	w.result.Notes = append(w.result.Notes, fmt.Sprintf(format, args...))
}

// others is how many instances there are beside the primary.
func (w *writer) others() int { return max(w.Replicas-1, 0) }

func (w *writer) dotenv() {
	var b strings.Builder
	b.WriteString(cmp.Or(w.Head, "# Written by outgrow env, for every instance of Open WebUI.") + "\n")
	if w.Replicas > 1 {
		b.WriteString("# On exactly one of them, the primary, " + migrations + " is true; a variable of its environment wins over this file.\n" + migrations + "=false\n")
	}
	var unequal []string
	for _, name := range w.names {
		if !w.shown(name) {
			continue
		}
		line, plain, _ := env.Assign(name, w.value(name)) // looked at by Write
		if !plain {
			unequal = append(unequal, name)
		}
		b.WriteString(line + "\n")
	}
	if len(w.result.Secrets) > 0 {
		b.WriteString("# Secrets, not written: give them in the environment, or say --with-secrets.\n")
		for _, name := range w.result.Secrets {
			b.WriteString("# " + name + "=\n")
		}
	}
	if len(unequal) > 0 {
		w.note("docker --env-file reads these otherwise than Open WebUI does, as it knows no quotes: %s. Mount the file as /app/.env, where Open WebUI itself reads it, or use another form", strings.Join(unequal, ", "))
	}
	w.result.Text = b.String()
}
