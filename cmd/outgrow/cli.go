package main

import (
	"fmt"
	"strings"

	"github.com/alecthomas/kong"
)

const description = `Moves an Open WebUI deployment from SQLite, embedded Chroma and a local DATA_DIR to PostgreSQL,
a vector store that scales and a shared folder or object store, or from one store to another, and proves that
nothing was lost.`

// CLI is the whole surface: one field a command.
type CLI struct {
	Plan     planCmd     `cmd:"" help:"Dry run: read everything through every transform, write nothing, say what would go wrong."`
	Migrate  migrateCmd  `cmd:"" help:"Copy rows, vectors and files; the same command resumes."`
	Sync     syncCmd     `cmd:"" help:"Bring a migrated target up to a source that has changed since: only what is new, changed or gone."`
	Cutover  cutoverCmd  `cmd:"" help:"The guided run: doctor, plan, migrate and sync while Open WebUI runs, then stop, last pass, verify, start."`
	Rehearse rehearseCmd `cmd:"" help:"Migrate into a scratch database beside the target's, with what acts by itself silenced, for looking at; and remove it again."`
	Rollback rollbackCmd `cmd:"" help:"The way back: from a scaled deployment into a fresh DATA_DIR with SQLite, embedded Chroma and local files."`
	Accept   acceptCmd   `cmd:"" help:"End a run that is proven: remove outgrow's state from the target, and say what may be deleted by hand."`
	Watch    watchCmd    `cmd:"" help:"After the stop: tell what is still written to the old side."`
	Verify   verifyCmd   `cmd:"" help:"Compare every row, every vector and every file byte of both sides."`
	Status   statusCmd   `cmd:"" help:"Show how far a migration is, what is missing on the target, and the quarantine."`
	Replay   replayCmd   `cmd:"" help:"Put repaired records from the quarantine into the target."`
	Doctor   doctorCmd   `cmd:"" help:"Is that stack fit for several instances? Asks its servers; says what is wrong, and the line to set."`
	Advise   adviseCmd   `cmd:"" help:"What a deployment of that size needs: PostgreSQL, Redis, a vector store, shared storage; and why."`
	Capture  captureCmd  `cmd:"" help:"Write a from.env from what docker inspect or kubectl get -o json printed, or from a compose file."`
	Env      envCmd      `cmd:"" help:"Write what to deploy with: an env file, a Compose override, Kubernetes objects, Helm values; init begins one."`
	Files    filesCmd    `cmd:"" help:"Take a switch of the storage provider back."`
	Report   reportCmd   `cmd:"" help:"Write the report of a run again, from the state folder: a page for people, JSON for machines."`
	Version  versionCmd  `cmd:"" help:"Print the version and the Open WebUI schemas it knows."`

	Completion completionCmd `cmd:"" help:"Print a script that completes commands and options in bash, zsh or fish."`
	Man        manCmd        `cmd:"" help:"Print the manual page, in roff."`
}

// pair names the two sides. Secrets need not be in the files: OUTGROW_FROM_X and
// OUTGROW_TO_X in the environment override variable X of one side.
type pair struct {
	From      string `help:"Source: a DATA_DIR, or an env file in Open WebUI's variables." placeholder:"DIR|FILE" required:""`
	FromMount string `help:"Where the source's DATA_DIR can be reached from here." placeholder:"DIR"`
	target
}

type target struct {
	To        string `help:"Target: an env file in Open WebUI's variables (or a DATA_DIR)." placeholder:"FILE" required:""`
	ToMount   string `help:"Where the target's DATA_DIR is mounted here, when the app will see it elsewhere." placeholder:"DIR"`
	State     string `help:"Folder for state and report (default: beside the env file, never in the source)." placeholder:"DIR"`
	DirectURL string `name:"direct-url" help:"PostgreSQL host[:port] to load over when DATABASE_URL goes through a pooler; user, password and database are DATABASE_URL's." placeholder:"HOST:PORT"`
	JSON      bool   `help:"JSON lines on standard output."`
}

type laneFlags struct {
	Only    []string `help:"Only these lanes: rows, vectors, files." enum:"rows,vectors,files" placeholder:"LANE"`
	Include []string `help:"Entries of DATA_DIR to take along beyond uploads and the served cache." placeholder:"NAME"`
	Stopped *bool    `help:"Say whether the source's Open WebUI is stopped (default: find out)." negatable:""`
	Writers int      `help:"Parts written at the same time, a lane (default: 3, for vectors what suits the store)." placeholder:"N"`
	Batch   int64    `help:"Bytes of a batch at most, in MiB (default: 4, for vectors what suits the store)." placeholder:"MIB"`
	Rate    float64  `help:"Vectors written a second at most; 0 for no limit." default:"0" placeholder:"N"`
	Dim     int      `help:"Dimension of the embedding model, where a pgvector source pads its vectors and does not tell." placeholder:"N"`

	MetricsAddr string `name:"metrics-addr" help:"Serve Prometheus metrics at this port of 127.0.0.1 while the command runs; 0 takes a free one. OTEL_* variables send traces and metrics to a collector." placeholder:"PORT"`

	IDConflicts string `name:"id-conflicts" help:"What becomes of ids that the target cannot hold, or that two collections share: fail (the default), or uuid5 for new ones. Kept for the commands that follow." enum:"fail,uuid5," default:"" placeholder:"fail|uuid5"`
}

func (f laneFlags) metricsAddr() string { return f.MetricsAddr }

// envExamples are those of env and of its default command.
var envExamples = []string{
	"outgrow env --from ./data --to scaled.env --format compose --out scaled.yml",
	"outgrow env --from ./data --to scaled.env --format kubernetes --replicas 3",
	"outgrow env --from ./data --to scaled.env --format kubernetes --with-secrets | kubectl apply -f -",
	"outgrow env --to scaled.env --format helm --claim open-webui --image ghcr.io/open-webui/open-webui:0.12.4 > values.yaml",
}

// examples are printed at the end of each command's help.
var examples = map[string][]string{
	"plan": {
		"outgrow plan --from /srv/open-webui/data --to scaled.env",
		"outgrow plan --from ./data --to scaled.env --accept orphan,needs-embedding",
		"outgrow plan --from old.env --to new.env --only vectors --id-conflicts uuid5",
		"outgrow plan --from local.env --to s3.env --only files",
	},
	"migrate": {
		"outgrow migrate --from /srv/open-webui/data --to scaled.env",
		"outgrow migrate --from ./data --to scaled.env --to-mount /mnt/shared   # DATA_DIR of the app, mounted here",
		"OUTGROW_TO_DATABASE_PASSWORD=... outgrow migrate --from ./data --to scaled.env",
		"outgrow migrate --from ./data --to scaled.env --only rows",
		"outgrow migrate --from old.env --to new.env --only vectors   # switch the vector store",
		"outgrow migrate --from old.env --to new.env --only vectors --rate 500   # beside running users",
		"outgrow migrate --from local.env --to s3.env --only files   # switch the storage provider; PostgreSQL stays",
		"outgrow migrate --from ./data --to scaled.env --metrics-addr 9464   # Prometheus text at http://127.0.0.1:9464/metrics",
		"OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4318 outgrow migrate --from ./data --to scaled.env   # traces and metrics",
	},
	"sync": {
		"outgrow sync --from ./data --to scaled.env   # while the app runs, as often as you like",
		"outgrow sync --from ./data --to scaled.env --stopped   # the last pass, after the app was stopped",
		"outgrow sync --from ./data --to scaled.env --allow-deletes",
		"outgrow sync --from ./data --to scaled.env --overwrite   # what was written on the target meanwhile gives way",
		"outgrow sync --from ./data --to scaled.env --strays   # after the cutover: what was still written to the old side",
	},
	"cutover": {
		"outgrow cutover --from ./data --to scaled.env   # asks before the stop",
		"outgrow cutover --from ./data --to scaled.env --yes --stop-cmd 'docker compose stop' \\\n" +
			"     --start-cmd 'docker compose -f scaled.yml up -d' --health http://127.0.0.1:8080/health",
		"outgrow cutover --from ./data --to scaled.env --restart 45s   # what Open WebUI takes to stop and start",
	},
	"rehearse": {
		"outgrow rehearse --from ./data --to scaled.env --env-out rehearsal.env   # then start one Open WebUI with rehearsal.env",
		"outgrow rehearse --from ./data --to scaled.env --data /mnt/big/rehearsal --verify",
		"outgrow rehearse --from ./data --to scaled.env --only rows --database try_rows",
		"outgrow rehearse --from ./data --to scaled.env --remove   # the database, the folder and the env file",
	},
	"rollback": {
		"outgrow rollback --from scaled.env --to ./data-back   # Open WebUI stopped; ./data-back must not exist",
		"outgrow rollback --from scaled.env --to ./data-back --accept orphan",
		"outgrow rollback --from scaled.env --to back.env --to-mount ./data-back   # it has the container's DATA_DIR",
	},
	"accept": {"outgrow accept --from ./data --to scaled.env", "outgrow accept --from ./data --to scaled.env --yes --json"},
	"watch": {
		"outgrow watch --from ./data --to scaled.env --for 1h",
		"outgrow watch --from ./data --to scaled.env --once || outgrow sync --from ./data --to scaled.env --strays",
	},
	"verify": {"outgrow verify --from ./data --to scaled.env", "outgrow verify --from local.env --to s3.env --only files --deep   # read every byte of the bucket, too", "outgrow verify --from ./data --to scaled.env --json | jq 'select(.event==\"difference\")'"},
	"status": {"outgrow status --to scaled.env", "outgrow status --to scaled.env --watch   # in another terminal, while migrate or cutover runs", "outgrow status --to scaled.env --quarantine > refused.jsonl"},
	"replay": {
		"outgrow status --to scaled.env --quarantine > refused.jsonl   # repair the lines, then:",
		"outgrow replay --to scaled.env refused.jsonl",
	},
	"doctor": {"outgrow doctor --to scaled.env --replicas 3 --primary   # from where Open WebUI will run", "outgrow doctor --to scaled.env --to-mount /mnt/shared", "outgrow doctor --to scaled.env --offline --json   # the variables alone"},
	"advise": {"outgrow advise --users 400 --instances 3", "outgrow advise --users 20 --workers 4 --json"},
	"capture": {
		"docker inspect open-webui | outgrow capture",
		"kubectl get deploy,sts,cm,secret,pvc -n chat -o json | outgrow capture - --name open-webui",
		"outgrow capture docker-compose.yaml --out from.env",
	},
	"env":     envExamples,
	"write":   envExamples,
	"init":    {"outgrow env init", "outgrow env init --out - | less"},
	"report":  {"outgrow report --to scaled.env", "outgrow report --to scaled.env --json | jq .outcome", "outgrow report --schema"},
	"revert":  {"outgrow files revert --to new.env   # the env file that file.path was switched to"},
	"version": {"outgrow version --json"},
	"completion": {
		"source <(outgrow completion bash)   # in this shell; for all: > /etc/bash_completion.d/outgrow",
		"outgrow completion zsh > ~/.zsh/completions/_outgrow   # a folder of fpath",
		"outgrow completion fish > ~/.config/fish/completions/outgrow.fish",
	},
	"man": {"outgrow man > /usr/local/share/man/man1/outgrow.1", "outgrow man | man -l -"},
}

const exitHelp = `Exit codes: 0 done and equal · 1 failed · 2 usage, or a plan refused · 3 the environment (cannot connect,
no space) · 4 differences, quarantine nobody accepted, or a sync pass is needed · 130 stopped.`

// helpPrinter is kong's help followed by numbered examples and the exit codes.
func helpPrinter(options kong.HelpOptions, ctx *kong.Context) error {
	if err := kong.DefaultHelpPrinter(options, ctx); err != nil {
		return err
	}
	var b strings.Builder
	if cmd := ctx.Selected(); cmd != nil {
		b.WriteString("\nExamples:\n")
		for i, e := range examples[cmd.Name] {
			fmt.Fprintf(&b, "  %d. %s\n", i+1, e)
		}
	}
	b.WriteString("\n" + exitHelp + "\n")
	_, err := fmt.Fprint(ctx.Stdout, b.String())
	return err
}
