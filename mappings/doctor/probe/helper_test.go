package probe_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"outgrow/mappings/doctor"
	"outgrow/mappings/doctor/probe"
	"outgrow/mappings/env"
	"outgrow/mappings/fstype"
)

type set map[string]string

// asked asks the servers of a deployment with these variables.
func asked(t *testing.T, vars set) doctor.Facts { return askedIn(t, vars, t.TempDir(), nil, 0) }

func askedIn(t *testing.T, vars set, mount string, detect fstype.Detect, limit time.Duration) doctor.Facts {
	t.Helper()
	var b strings.Builder
	for k, v := range vars {
		b.WriteString(k + "='" + v + "'\n")
	}
	path := filepath.Join(t.TempDir(), "scaled.env")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := env.Load("to", path, mount, nil)
	if err != nil {
		t.Fatal(err)
	}
	none := func(context.Context, env.Files) (probe.Store, error) { return probe.Store{}, os.ErrNotExist }
	return doctor.Facts{Deployment: d, Replicas: 2, Primary: true,
		Answers: probe.Ask(t.Context(), probe.Config{Deployment: d, Objects: none, FileSystem: detect, Limit: limit})}
}

// found gives the findings of these checks as "ID: what was found", unknowns as
// "ID?".
func found(f doctor.Facts, ids ...string) []string {
	var out []string
	r := doctor.Run(f)
	for _, x := range r.Findings {
		if slices.Contains(ids, x.ID) {
			out = append(out, x.ID+": "+x.Found)
		}
	}
	for _, x := range r.Unknown {
		if slices.Contains(ids, x.ID) && !slices.Contains(out, x.ID+"?") {
			out = append(out, x.ID+"?")
		}
	}
	return out
}

// expect compares the findings with want: each begins with, or holds, the text
// of want at its place.
func expect(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	ok := len(got) == len(want)
	for i := 0; ok && i < len(got); i++ {
		id, text, _ := strings.Cut(want[i], ": ")
		ok = strings.HasPrefix(got[i], id) && strings.Contains(got[i], text)
	}
	if !ok {
		t.Errorf("%s: found %q, want %q", what, got, want)
	}
}
