package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"outgrow/mappings/env"
	"outgrow/mappings/envform"
	"outgrow/mappings/silence"
	"outgrow/pipeline"
	"outgrow/sink/scratch"
)

// load reads the target's variables with the scratch database, and more, in place
// of its own; set are those that differ, given empty where they are removed.
func (r *rehearsing) load(more map[string]env.Secret) (d env.Deployment, set map[string]env.Secret, err error) {
	set, err = r.to.OtherDatabase(r.state.Database)
	if err != nil {
		return d, nil, pipeline.Usage("naming the scratch database", err, "")
	}
	maps.Copy(set, more)
	d, err = env.Load("to", r.cmd.To, r.state.Data, slices.Concat(r.environ, overrides(set)))
	if err != nil {
		return d, nil, err
	}
	d, err = r.cmd.reached(r.app, d)
	return d, set, err
}

// overrides are the variables of the environment that replace those of the target.
func overrides(set map[string]env.Secret) (environ []string) {
	for name, v := range set {
		environ = append(environ, "OUTGROW_TO_"+name+"="+v.Reveal())
	}
	return environ
}

// redirect prepares the scratch database, settles which lanes go to the scratch
// side, and makes every command that follows in this process take it for the
// target.
func (r *rehearsing) redirect(ctx context.Context) error {
	at, _, err := r.load(nil)
	if err != nil {
		return err
	}
	schema := at.Database.Schema
	if schema == "" {
		if schema, err = r.server.Schema(ctx); err != nil {
			return err
		}
	}
	var extensions []string
	if v := r.to.Vector; r.cmd.pick(pipeline.Vectors) && v.Kind == env.PGVector {
		if extensions = []string{"vector"}; v.PG.PGCrypto {
			extensions = append(extensions, "pgcrypto")
		}
	}
	without, err := scratch.Prepare(ctx, at.Database.URL, schema, extensions...)
	if err != nil {
		return err
	}
	r.chooseLanes(without)
	if r.scratch, r.set, err = r.load(r.aside()); err != nil {
		return err
	}
	r.environ = append(r.environ, overrides(r.set)...)
	return nil
}

// chooseLanes leaves out what has no place of its own on the scratch side: what
// is shared with the target would be removed with it, or stay.
func (r *rehearsing) chooseLanes(withoutVectors string) {
	r.lanes = []string{string(pipeline.Rows)}
	leave := func(format string, args ...any) { r.left = append(r.left, fmt.Sprintf(format, args...)) }
	switch {
	case !r.cmd.pick(pipeline.Vectors):
	case r.to.Vector.Kind != env.PGVector:
		leave("the vectors: only pgvector has a place of its own in the scratch database, and %s is the migration's; searches in knowledge find nothing", r.to.Vector.Kind)
	case withoutVectors != "":
		leave("the vectors: %s. Let it be made in the database %s (CREATE EXTENSION, as superuser); then the same command brings them", withoutVectors, r.state.Database)
	default:
		r.lanes = append(r.lanes, string(pipeline.Vectors))
	}
	switch {
	case !r.cmd.pick(pipeline.Files):
	case r.state.Data == "":
		leave("the files: nothing is written to a bucket; --data DIR, when a rehearsal is begun, copies them into a folder")
	default:
		r.lanes = append(r.lanes, string(pipeline.Files))
	}
}

// dataDir is never what Open WebUI would take of itself: that may be the source's.
func (r *rehearsing) dataDir() string {
	return cmp.Or(r.state.Data, filepath.Join(r.dir, rehearsalFolder, "data"))
}

// aside are the variables that lead away from what the target has beside its
// database. What an Open WebUI does not know it cannot change.
func (r *rehearsing) aside() map[string]env.Secret {
	set := map[string]env.Secret{"STORAGE_PROVIDER": env.Local, "DATA_DIR": env.Secret(r.dataDir())}
	unknown := []string{"PGVECTOR_DB_URL", "S3_", "GCS_", "GOOGLE_APPLICATION_CREDENTIALS", "AZURE_STORAGE_"}
	if !slices.Contains(r.lanes, string(pipeline.Vectors)) {
		set["VECTOR_DB"] = env.Chroma // an empty one of its own
		unknown = append(unknown, "PGVECTOR_", "CHROMA_", "QDRANT_", "MILVUS_", "PINECONE_")
	}
	for name := range r.to.Vars {
		if slices.ContainsFunc(unknown, func(prefix string) bool { return strings.HasPrefix(name, prefix) }) {
			set[name] = ""
		}
	}
	return set
}

// rehearsalShown is what is told of a rehearsal, as JSON.
type rehearsalShown struct {
	Database string   `json:"database"`
	Data     string   `json:"data,omitempty"`
	Lanes    []string `json:"lanes,omitempty"`
	Left     []string `json:"left_out,omitempty"`
	// Set and Without are how the variables differ from the target's; passwords
	// are hidden.
	Set     map[string]string `json:"set,omitempty"`
	Without []string          `json:"without,omitempty"`
	EnvFile string            `json:"env_file,omitempty"` // with all variables
	Removed bool              `json:"removed,omitempty"`
}

// show tells how to look at it.
func (r *rehearsing) show(code int) error {
	look, without := silence.Environment(r.scratch.Vars)
	shown := rehearsalShown{Database: r.state.Database, Data: r.state.Data, Lanes: r.lanes, Left: r.left, Set: maps.Clone(look), Without: slices.Clone(without)}
	for name, v := range r.set {
		if _, given := r.to.Vars[name]; v == "" && given {
			shown.Without = append(shown.Without, name)
		} else if v != "" {
			shown.Set[name] = r.clean(v.Reveal())
		}
	}
	slices.Sort(shown.Without)
	if r.cmd.EnvOut != "" {
		if err := r.writeEnv(look, without); err != nil {
			return err
		}
		shown.EnvFile = r.state.EnvFile
	}
	if r.json {
		emit(r.out, event{Event: "rehearse", Exit: code, Detail: shown})
	}
	r.say("ready   %s: %s", r.scratch.Database.Describe(), strings.Join(r.lanes, ", "))
	for _, text := range r.left {
		r.say("without %s", text)
	}
	if shown.EnvFile != "" {
		r.say("look    start one Open WebUI, of the source's release, with the variables of %s", shown.EnvFile)
	} else {
		if code != pipeline.ExitOK {
			r.say("note    the rehearsal.env that is named above is what --env-out rehearsal.env writes: the same command again, with it, does only that")
		}
		r.say("look    start one Open WebUI, of the source's release, with the variables of %s, but with", r.cmd.To)
		for _, name := range slices.Sorted(maps.Keys(shown.Set)) {
			line, _, err := env.Assign(name, shown.Set[name])
			if err != nil {
				return fmt.Errorf("showing the variables: %w", err)
			}
			r.say("          %s", line)
		}
		if len(shown.Without) > 0 {
			r.say("        and without %s", strings.Join(shown.Without, ", "))
		}
	}
	if r.state.Data != "" {
		r.say("        Its DATA_DIR is %s: a container needs that folder mounted at this very path.", r.state.Data)
	}
	r.say("        Mount neither the source's DATA_DIR nor the target's, and give it no Redis.")
	r.say("remove  outgrow rehearse --from %s --to %s%s --remove", quoteArg(r.cmd.From), quoteArg(r.cmd.To), r.stateArg())
	return nil
}

func (r *rehearsing) stateArg() string {
	if r.cmd.State == "" {
		return ""
	}
	return " --state " + quoteArg(r.cmd.State)
}

// checkEnvOut refuses a file that is somebody else's, before anything is made.
func (r *rehearsing) checkEnvOut() error {
	const op, fix = "choosing the env file", "name another file with --env-out"
	path := r.cmd.EnvOut
	if path == "" {
		return nil
	}
	if r.from.Mount != "" {
		if in, err := within(path, r.from.Mount); err != nil || in {
			return errors.Join(err, pipeline.Usage(op, fmt.Errorf("%s lies in the source's DATA_DIR, which is never written to", path), fix))
		}
	}
	line, err := readMark(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return pipeline.Environment(op, err, fix)
	case r.state.ID == "" || !strings.HasPrefix(line, envHead(r.state.ID)):
		return pipeline.Usage(op, fmt.Errorf("%s is there, and this rehearsal has not written it", path), fix)
	}
	return nil
}

// envHead begins the first line of an env file, by which it is known.
func envHead(id string) string { return "# " + scratch.Of(id) + " " }

// writeEnv writes everything that an Open WebUI needs to look at the scratch
// side, secrets included.
func (r *rehearsing) writeEnv(look map[string]string, without []string) error {
	path, err := filepath.Abs(r.cmd.EnvOut)
	if err != nil {
		return pipeline.Usage("writing --env-out", err, "name an absolute path")
	}
	vars := maps.Clone(r.scratch.Vars)
	for _, name := range without {
		delete(vars, name)
	}
	for name, v := range look {
		vars[name] = env.Secret(v)
	}
	form, err := envform.Write(envform.Dotenv, envform.Options{Vars: vars, DataDir: r.scratch.DataDir, Replicas: 1, WithSecrets: true,
		Head: envHead(r.state.ID) + "for one Open WebUI that looks at it; outgrow rehearse --remove removes this file, too."})
	if err != nil {
		return pipeline.Usage("writing --env-out", err, "correct it in "+r.cmd.To)
	}
	keys, _, err := r.key.keyLines(r.from)
	if err != nil {
		return fmt.Errorf("writing --env-out: %w", err)
	}
	for _, line := range keys {
		form.Text += line + "\n"
	}
	if r.state.EnvFile != path {
		if err := r.removeEnvFile(); err != nil {
			return err
		}
	}
	r.state.EnvFile = path // kept first: what is there is known
	if err := r.state.save(r.dir); err != nil {
		return err
	}
	if err := writeFile(path, []byte(form.Text)); err != nil { // made with mode 0600
		return pipeline.Environment("writing --env-out", err, "name a file in a folder that exists and may be written to")
	}
	for _, note := range form.Notes {
		r.say("note    %s", r.clean(note))
	}
	return nil
}
