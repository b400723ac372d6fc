package doctor_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"outgrow/mappings/doctor"
	"outgrow/mappings/env"
)

// For every check there is a case in the tables of this package in which it
// fires, and one in which it was made and has nothing to say.
func TestEveryCheckIsTested(t *testing.T) {
	t.Parallel()
	var all []doctor.Facts
	for _, c := range variableCases() {
		all = append(all, c.facts(t))
	}
	for _, c := range answerCases() {
		all = append(all, c.facts(t))
	}
	all = append(all, oneProcess(t, map[string]string{"DATABASE_POOL_SIZE": off, "DATABASE_ENABLE_SESSION_SHARING": "true", "CORS_ALLOW_ORIGIN": off}))
	fires, silent := map[[3]string]bool{}, map[[3]string]bool{}
	for _, f := range all {
		for name, fired := range doctor.Judged(f) {
			if fired {
				fires[name] = true
			} else {
				silent[name] = true
			}
		}
	}
	seen := map[[3]string]bool{}
	for _, name := range doctor.Names() {
		if seen[name] {
			t.Errorf("two checks are %q", name)
		}
		seen[name] = true
		if !fires[name] {
			t.Errorf("no case in which this fires: %q", name)
		}
		if !silent[name] {
			t.Errorf("no case in which this is silent: %q", name)
		}
	}
}

// elsewhere names who tells of the checks that the table lacks.
var elsewhere = map[string]string{"D04": "env", "D05": "env", "D28": "env", "D49": "env", "D54": "env", "D53": "plan"}

// D01 to D54 are all there: in the table, or where elsewhere says.
func TestNoneOfTheListIsLeftOut(t *testing.T) {
	t.Parallel()
	var there []string
	for _, name := range doctor.Names() {
		there = append(there, name[0])
	}
	for n := 1; n <= 54; n++ {
		id := fmt.Sprintf("D%02d", n)
		if slices.Contains(there, id) == (elsewhere[id] != "") {
			t.Errorf("%s is in the table, or told elsewhere: one of the two", id)
		}
	}
}

// What Open WebUI does not start with, or reads otherwise than it is meant, is
// told before any check, and not told of what is right.
func TestToldBeforeAnyCheck(t *testing.T) {
	t.Parallel()
	const cipher = "DATABASE_TYPE=sqlite+sqlcipher\nDATABASE_PASSWORD=s3cretpw\n"
	for _, c := range []struct{ id, wrong, right, says string }{
		{"D04", "DATABASE_URL=postgresql://u:p@ss@pg.internal/x", "DATABASE_URL=postgresql://u:p%40ss@pg.internal/x", "percent-encoded"},
		{"D05", "DATABASE_TYPE=postgresql\nDATABASE_HOST=pg.internal", "DATABASE_TYPE=postgresql\nDATABASE_HOST=pg.internal\nDATABASE_PORT=5432\nDATABASE_NAME=x\nDATABASE_USER=u\nDATABASE_PASSWORD=s3cretpw", "is not used"},
		{"D28", "VECTOR_DB=milvus\nMILVUS_URI=/data/milvus.db", "VECTOR_DB=milvus\nMILVUS_URI=http://milvus.internal:19530", "Milvus Lite"},
		{"D31", "STORAGE_PROVIDER=S3\nS3_BUCKET_NAME=b", "STORAGE_PROVIDER=s3\nS3_BUCKET_NAME=b", "no storage provider"},
		{"D49", cipher, "DATABASE_URL=sqlite:////data/webui.db", "sqlcipher"},
		{"D54", "VECTOR_DB=pgvector\nPGVECTOR_DB_URL=postgresql://u:p@pg.internal/x\nPGVECTOR_INITIALIZE_MAX_VECTOR_LENGTH=3072",
			"VECTOR_DB=pgvector\nPGVECTOR_DB_URL=postgresql://u:p@pg.internal/x\nPGVECTOR_INITIALIZE_MAX_VECTOR_LENGTH=3072\nPGVECTOR_USE_HALFVEC=true", "halfvec"},
	} {
		said := func(lines string) string {
			path := filepath.Join(t.TempDir(), "scaled.env")
			if err := os.WriteFile(path, []byte(lines+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			d, err := env.Load("to", path, t.TempDir(), nil)
			text := fmt.Sprint(err)
			for _, w := range d.Warnings {
				text += "\n" + w.Error()
			}
			return strings.ToLower(text)
		}
		if got := said(c.wrong); !strings.Contains(got, strings.ToLower(c.says)) {
			t.Errorf("%s: %q is not told: %s", c.id, c.wrong, got)
		}
		if got := said(c.right); strings.Contains(got, strings.ToLower(c.says)) {
			t.Errorf("%s: %q is right: %s", c.id, c.right, got)
		}
	}
}
