package main

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"outgrow/mappings/env"
	"outgrow/testdata/servers"
)

// docRun says how the commands of a page are run: in the order of the page, by the
// compiled program, in a folder that holds the names the page uses: data, a real
// data folder, and scaled.env.
type docRun struct {
	// after is the page in whose folder, and after whose commands, these are run.
	after string
	// offline pages need no server; their DATABASE_URL leads nowhere.
	offline bool
	// prepare makes what the page expects to be there.
	prepare func(tb testing.TB, l *lab)
	// words gives what stands for a word of the page that is an example's.
	words func(tb testing.TB, l *lab) map[string]string
	// steps are the calls that want something of their own, by their text.
	steps map[string]docStep
}

type docStep struct {
	why    string                 // why it is only parsed; what follows is then empty
	as     string                 // the page that runs the same; what follows is then empty
	fresh  bool                   // on a deployment of its own, and so what comes after it
	before func(testing.TB, *lab) // what the reader has done meanwhile
	more   []string               // flags that a test cannot do without
	words  map[string]string      // for this call only
	stdin  string
	code   int // what it ends with; 0 unless said
}

// anyValue stands for a value that a page leaves out.
const anyValue = "..."

// docRuns has every page with calls of outgrow.
func docRuns() map[string]docRun {
	return map[string]docRun{
		"README.md": {
			prepare: func(tb testing.TB, l *lab) {
				l.envBeside("old.env", map[string]string{"DATA_DIR": l.from})
				l.envBeside("new.env", map[string]string{"VECTOR_DB": "pgvector", "PGVECTOR_DB_URL": servers.PostgreSQL(tb)})
			},
			words: valuesOf,
			steps: map[string]docStep{
				"plan --from ./data --to scaled.env":                {as: "docs/plan.md"},
				"verify --from ./data --to scaled.env":              {as: "docs/sync.md"},
				"migrate --from local.env --to s3.env --only files": {as: "docs/files.md"},
			},
		},
		"docs/capture.md": {
			offline: true,
			steps: map[string]docStep{
				"capture":                     {stdin: oneContainer},
				"capture -":                   {before: without("from.env"), stdin: oneWorkload},
				"capture docker-compose.yaml": {before: composed},
			},
		},
		"docs/configuration.md": {words: func(tb testing.TB, l *lab) map[string]string {
			u, err := url.Parse(l.dsn)
			if err != nil {
				tb.Fatal("the DSN is not a URL")
			}
			w := valuesOf(tb, l)
			w["db-host:5432"], w["/mnt/shared"] = u.Host, l.share
			return w
		}},
		"docs/cutover.md": {
			words: func(tb testing.TB, _ *lab) map[string]string {
				app := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
				tb.Cleanup(app.Close)
				return map[string]string{"docker compose stop": "true", "docker compose -f scaled.yml up -d": "true", "http://127.0.0.1:8080/health": app.URL + "/health", "1h": "1ms"}
			},
			steps: map[string]docStep{
				"cutover --from ./data --to scaled.env": {code: 2}, // there is no terminal to ask on; the next call is the same without a question
				"cutover --from ./data --to scaled.env --yes --restart 45s --stop-cmd docker compose stop --start-cmd docker compose -f scaled.yml up -d --health http://127.0.0.1:8080/health": {
					more: []string{"--drain", "0s", "--quiet", "300ms", "--searches", "2", "--skip-doctor"}},
				"plan --from ./data --to scaled.env":                 {as: "docs/plan.md"},
				"plan --from ./data --to scaled.env --accept orphan": {fresh: true},
				"status --to scaled.env":                             {as: "docs/troubleshooting.md"},
				"accept --from ./data --to scaled.env":               {more: []string{"--yes"}},
			},
		},
		// One instance too many without a Redis: that is what it must find.
		"docs/doctor.md": {
			words: func(_ testing.TB, l *lab) map[string]string { return map[string]string{"DIR": l.share} },
			steps: map[string]docStep{
				"doctor --to scaled.env": {code: 2},
				"doctor --to scaled.env --replicas 2 --workers 2 --primary --to-mount DIR --timeout 20s --offline --json": {code: 2},
			},
		},
		"docs/env.md": {
			offline: true,
			steps: map[string]docStep{
				"env init":                  {before: without("scaled.env")},
				"env init --out scaled.env": {before: without("scaled.env")},
				"env --to scaled.env":       {before: func(_ testing.TB, l *lab) { l.write() }},
			},
		},
		"docs/files.md": {prepare: func(tb testing.TB, l *lab) {
			l.migrate("--only", "rows,files").exits(0)
			local := map[string]string{"DATABASE_URL": l.dsn, "DATA_DIR": l.share}
			l.envBeside("local.env", local)
			s3 := s3Vars(tb)
			for k, v := range local {
				s3[k] = v
			}
			l.envBeside("s3.env", s3)
		}},
		"docs/install.md": {offline: true, steps: map[string]docStep{
			"docker plan --from /app/backend/data --to /move/scaled.env": {why: "it needs a container runtime; docs/plan.md runs the same without one"},
		}},
		"docs/kubernetes.md": {
			words: func(testing.TB, *lab) map[string]string {
				return map[string]string{"--from=/app/backend/data": "--from=./data", "--to=/config/scaled.env": "--to=scaled.env", "--state=/state": "--state=state"}
			},
			steps: map[string]docStep{"capture - --name open-webui": {stdin: oneWorkload}},
		},
		"docs/plan.md": {},
		"docs/quarantine.md": {
			prepare: func(_ testing.TB, l *lab) {
				withOrphans(l)
				l.migrate().exits(4)
			},
			steps: map[string]docStep{"replay --to scaled.env refused.jsonl": {code: 4}}, // nothing was repaired
		},
		// Tests share a server, so the scratch database has a name of its own.
		"docs/rehearse.md": {
			prepare: func(tb testing.TB, l *lab) {
				do(tb, servers.SuperDSN(tb, l.dsn), "ALTER ROLE "+l.role()+" CREATEDB")
			},
			words: func(tb testing.TB, l *lab) map[string]string {
				return map[string]string{anyValue: scratchName(tb, l.dsn)}
			},
			steps: map[string]docStep{
				"rehearse --from ./data --to scaled.env --env-out rehearsal.env": {more: []string{"--database", anyValue}},
				"rehearse --from ./data --to scaled.env --remove":                {more: []string{"--database", anyValue}},
				"status --to rehearsal.env --state scaled.outgrow/rehearsal --ledger": {before: func(tb testing.TB, l *lab) {
					l.rehearse(scratchName(tb, l.dsn), "--env-out", filepath.Join(l.dir, "rehearsal.env")).exits(0)
				}},
			},
		},
		"docs/report.md": {after: "docs/verify.md"},
		"docs/rollback.md": {
			prepare: func(tb testing.TB, l *lab) {
				l.migrate().exits(0)
				l.envBeside("back.env", map[string]string{"DATA_DIR": env.DockerDataDir})
				chroma := filepath.Join(l.dir, "chroma")
				if err := os.Mkdir(chroma, 0o755); err != nil {
					tb.Fatal(err)
				}
				l.envBeside("scaled-chroma.env", map[string]string{"DATABASE_URL": l.dsn, "VECTOR_DB": "chroma", "DATA_DIR": chroma})
			},
			steps: map[string]docStep{"rollback --from scaled.env --to back.env --to-mount ./data-back": {words: map[string]string{"./data-back": "./another-back"}}},
		},
		"docs/sync.md":            {after: "docs/plan.md"},
		"docs/troubleshooting.md": {after: "docs/report.md", steps: map[string]docStep{"version": {as: "docs/install.md"}}},
		"docs/vectors.md": {
			prepare: func(tb testing.TB, l *lab) {
				l.envBeside("old.env", map[string]string{"DATA_DIR": l.from})
				l.envBeside("new.env", map[string]string{"VECTOR_DB": "pgvector", "PGVECTOR_DB_URL": l.dsn})
			},
			steps: map[string]docStep{"migrate --from old.env --to new.env --only vectors --id-conflicts=uuid5": {fresh: true}},
		},
		// Whatever port is free, and a collector that is away: neither may matter to the run.
		"docs/watching.md": {after: "docs/troubleshooting.md", words: func(testing.TB, *lab) map[string]string {
			return map[string]string{"9464": "0", "http://collector:4318": "http://127.0.0.1:1"}
		}},
		"docs/verify.md": {after: "docs/sync.md", steps: map[string]docStep{"verify --from ./data --to scaled.env": {as: "docs/sync.md"}}},
	}
}

// valuesOf gives what pages leave out of a variable in the environment.
func valuesOf(_ testing.TB, l *lab) map[string]string {
	return map[string]string{"OUTGROW_TO_DATABASE_URL": l.dsn, "OUTGROW_FROM_CHROMA_DATABASE": "default_database"}
}

// envBeside writes another env file of the folder.
func (l *lab) envBeside(name string, vars map[string]string) {
	l.tb.Helper()
	body, err := os.ReadFile(envFile(l.tb, name, vars))
	if err != nil {
		l.tb.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(l.dir, name), body, 0o600); err != nil {
		l.tb.Fatal(err)
	}
}

func without(name string) func(testing.TB, *lab) {
	return func(tb testing.TB, l *lab) {
		if err := os.RemoveAll(filepath.Join(l.dir, name)); err != nil {
			tb.Fatal(err)
		}
	}
}

const oneWorkload = `{"apiVersion":"v1","kind":"List","items":[{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"open-webui"},"spec":{"template":{"spec":{
 "containers":[{"name":"open-webui","image":"ghcr.io/open-webui/open-webui:0.12.4","env":[{"name":"VECTOR_DB","value":"chroma"}],"volumeMounts":[{"name":"data","mountPath":"/app/backend/data"}]}],
 "volumes":[{"name":"data","persistentVolumeClaim":{"claimName":"open-webui"}}]}}}},
 {"apiVersion":"v1","kind":"PersistentVolumeClaim","metadata":{"name":"open-webui"},"spec":{"accessModes":["ReadWriteOnce"]}}]}`

func composed(tb testing.TB, l *lab) {
	without("from.env")(tb, l)
	text := "services:\n  open-webui:\n    image: ghcr.io/open-webui/open-webui:0.12.4\n    environment: {VECTOR_DB: chroma}\n    volumes: ['open-webui:/app/backend/data']\nvolumes: {open-webui: {}}\n"
	if err := os.WriteFile(filepath.Join(l.dir, "docker-compose.yaml"), []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
}

// lab makes the folder of a page.
func (r docRun) lab(tb testing.TB) *lab {
	tb.Helper()
	var l *lab
	if r.offline {
		l = labOn(tb, servers.DataDir(tb), "postgresql://openwebui:secret@db-host/openwebui")
	} else {
		l = newLab(tb, "")
	}
	data := filepath.Join(l.dir, "data")
	if err := os.Rename(l.from, data); err != nil {
		tb.Fatal(err)
	}
	l.from = data
	if r.prepare != nil {
		r.prepare(tb, l)
	}
	return l
}

// Every page's commands are run as they stand there, and end as the page says; what
// is not run has its reason.
func TestDocsRun(t *testing.T) {
	t.Parallel()
	program(t)
	p := docProof{pages(t), docRuns()}
	for name, r := range p.runs {
		if r.after == "" {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				p.page(t, name, r.lab(t))
			})
			continue
		}
		if before, ok := p.runs[r.after]; !ok || r.prepare != nil || before.offline != r.offline {
			t.Errorf("%s is to be run in the folder of %s, and may not want more than that has", name, r.after)
		}
	}
}

// docProof runs the pages.
type docProof struct {
	pages map[string]*docPage
	runs  map[string]docRun
}

// page runs a page's commands, and then the pages that come after it.
func (p docProof) page(t *testing.T, name string, l *lab) {
	if p.pages[name] == nil {
		t.Fatalf("there is no page %s", name)
	}
	r := p.runs[name]
	used := map[string]bool{}
	for _, c := range p.pages[name].calls(t) {
		step, special := r.steps[c.text()]
		again := used[c.text()]
		used[c.text()] = special
		if step.as != "" {
			p.runsIt(t, step.as, c)
		}
		if step.why != "" || step.as != "" {
			continue
		}
		if step.fresh && !again {
			l = r.lab(t)
		}
		if step.before != nil && !again {
			step.before(t, l)
		}
		r.run(t, l, c, step)
		if t.Failed() {
			t.FailNow() // what comes after it stands on it
		}
	}
	for text := range r.steps {
		if !used[text] {
			t.Errorf("%s does not call: outgrow %s", name, text)
		}
	}
	for next, q := range p.runs {
		if q.after == name {
			p.page(t, next, l)
		}
	}
}

// runsIt sees that a page runs the call itself.
func (p docProof) runsIt(t *testing.T, name string, c docCall) {
	step := p.runs[name].steps[c.text()]
	if p.pages[name] == nil || step.why+step.as != "" ||
		!slices.ContainsFunc(p.pages[name].calls(t), func(o docCall) bool { return o.text() == c.text() }) {
		t.Errorf("%s: %s does not run: outgrow %s", c.place, name, c.text())
	}
}

func (r docRun) run(tb testing.TB, l *lab, c docCall, step docStep) {
	tb.Helper()
	if c.by != "" {
		tb.Errorf("%s: %s cannot be run here: give the reason in docRuns", c.place, c.text())
		return
	}
	var words map[string]string
	if r.words != nil {
		words = r.words(tb, l)
	}
	var args []string
	for _, a := range append(slices.Clone(c.args), step.more...) {
		if w, ok := step.words[a]; ok {
			a = w
		} else if w, ok := words[a]; ok {
			a = w
		}
		args = append(args, a)
	}
	cmd := l.command(args...)
	cmd.Dir, cmd.Stdin = l.dir, strings.NewReader(step.stdin)
	for _, e := range c.env {
		name, value, _ := strings.Cut(e, "=")
		if strings.HasSuffix(value, anyValue) {
			value = words[name]
		} else if w, ok := words[value]; ok {
			value = w
		}
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	got := l.wait(cmd)
	if got.code != step.code {
		tb.Errorf("%s: outgrow %s: exit %d, want %d\n%s%s", c.place, c.text(), got.code, step.code, got.out, got.err)
	}
	if c.out != "" {
		if err := os.WriteFile(filepath.Join(l.dir, c.out), []byte(got.out), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
}
