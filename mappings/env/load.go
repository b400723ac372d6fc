package env

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"outgrow/pipeline"
)

// DockerDataDir is DATA_DIR in Open WebUI's image: what an env file without
// DATA_DIR means.
const DockerDataDir = "/app/backend/data"

// dockerWorkDir is the folder in which the image starts the application;
// relative paths begin there.
const dockerWorkDir = "/app/backend"

// maxEnvFile bounds an env file, in bytes.
const maxEnvFile = 1 << 20

// Load reads one side ("from" or "to"). origin is a DATA_DIR, which means Open
// WebUI's defaults for that folder, or an env file in dotenv syntax (what
// differs from docker's --env-file: see parseEnv in this package). A variable
// OUTGROW_FROM_NAME or OUTGROW_TO_NAME in environ ("NAME=value" each) replaces
// NAME of its side; given empty, it removes NAME. ${NAME} in an env file is
// looked up there, in what stands above it in the file, then in environ.
//
// mount is where DATA_DIR is reached from here, "" for its own path.
//
// Every mistake is reported at once: the error is a *[pipeline.Error] of exit
// code 2 around *[ConfigError] values (see [ConfigErrors]). What Open WebUI
// itself refuses to start with is a mistake; what it passes over in silence is
// in Deployment.Warnings.
func Load(side, origin, mount string, environ []string) (Deployment, error) {
	l := &loader{d: Deployment{Side: side, Origin: origin}, vars: map[string]string{}}
	l.read(environ)
	if len(l.errs) == 0 {
		l.folders(mount)
		l.database()
		l.vector()
		l.files()
		l.secretKey()
	}
	l.d.Vars = make(map[string]Secret, len(l.vars))
	for k, v := range l.vars {
		l.d.Vars[k] = Secret(v)
	}
	if len(l.errs) == 0 {
		return l.d, nil
	}
	for _, e := range l.errs {
		var c *ConfigError
		if errors.As(e, &c) {
			c.Problem, c.Fix = l.d.Redact(c.Problem), l.d.Redact(c.Fix)
		}
	}
	return l.d, pipeline.Usage("reading the configuration", errors.Join(l.errs...), "correct what is listed, then run the same command")
}

type loader struct {
	d    Deployment
	vars map[string]string
	errs []error
}

func (l *loader) fail(variable, problem, fix string) {
	l.errs = append(l.errs, &ConfigError{Side: l.d.Side, Variable: variable, Problem: problem, Fix: fix})
}

func (l *loader) notYet(variable, problem, fix string) {
	l.errs = append(l.errs, &ConfigError{Side: l.d.Side, Variable: variable, Problem: problem + ": " + ErrNotYet.Error(), Fix: fix, Err: ErrNotYet})
}

func (l *loader) warn(variable, problem, fix string) {
	w := ConfigError{Side: l.d.Side, Variable: variable, Problem: problem, Fix: fix}
	if !slices.Contains(l.d.Warnings, w) {
		l.d.Warnings = append(l.d.Warnings, w)
	}
}

// prefix is that of the overriding variables.
func (l *loader) prefix() string { return "OUTGROW_" + strings.ToUpper(l.d.Side) + "_" }

// isTrue reads a boolean as Open WebUI does: "true" in any case, nothing else.
func (l *loader) isTrue(name string, def bool) bool {
	v, ok := l.vars[name]
	if !ok {
		return def
	}
	switch s := strings.ToLower(v); s {
	case "true":
		return true
	case "1", "yes", "on", "t", "y":
		l.warn(name, fmt.Sprintf("%q means false to Open WebUI", v), "write true")
	}
	return strings.ToLower(v) == "true"
}

// number reads an integer the way those variables are read that fall back to
// their default without a word.
func (l *loader) number(name string, def int) int {
	v, ok := l.vars[name]
	if !ok || v == "" {
		return def
	}
	n, err := strconv.Atoi(strings.TrimSpace(v))
	if err != nil {
		l.warn(name, fmt.Sprintf("is not a number: Open WebUI takes its default %d", def), "correct or remove it")
		return def
	}
	return n
}

// read fills in vars and finds out what origin is.
func (l *loader) read(environ []string) {
	process := map[string]string{}
	over := map[string]string{}
	for _, kv := range environ {
		k, v, ok := strings.Cut(kv, "=")
		if !ok {
			continue
		}
		process[k] = v
		if name, ok := strings.CutPrefix(k, l.prefix()); ok && name != "" {
			over[name] = v
		}
	}
	info, err := os.Stat(l.d.Origin)
	switch {
	case l.d.Origin == "":
		l.fail("", "no data folder or env file was given", fmt.Sprintf("pass --%s DIR or --%s FILE", l.d.Side, l.d.Side))
		return
	case errors.Is(err, os.ErrNotExist):
		l.fail("", l.d.Origin+": no such folder or file", "give a DATA_DIR folder or an env file")
		return
	case err != nil:
		l.fail("", fmt.Sprintf("%s cannot be read: %v", l.d.Origin, errors.Unwrap(err)), "")
		return
	case info.IsDir():
		l.d.IsFolder = true
	default:
		l.envFile(over, process)
	}
	for k, v := range over {
		if v == "" {
			delete(l.vars, k)
		} else {
			l.vars[k] = v
		}
	}
}

func (l *loader) envFile(over, process map[string]string) {
	text, err := readSmall(l.d.Origin, maxEnvFile)
	if err != nil {
		l.fail("", fmt.Sprintf("%s cannot be read: %v", l.d.Origin, err), "give a DATA_DIR folder or an env file")
		return
	}
	binds, bad, err := parseEnv(text)
	if err != nil {
		l.fail("", fmt.Sprintf("%s is not an env file: %v", l.d.Origin, err), "give a DATA_DIR folder or an env file in UTF-8")
		return
	}
	for _, n := range bad {
		l.fail("", fmt.Sprintf("%s line %d cannot be read as NAME=value (Open WebUI would pass over it)", l.d.Origin, n), "correct it, or make it a comment")
	}
	lookup := func(name string) (string, bool) {
		for _, m := range []map[string]string{over, l.vars, process} {
			if v, ok := m[name]; ok {
				return v, true
			}
		}
		return "", false
	}
	for _, b := range binds {
		if !b.set {
			delete(l.vars, b.name) // python-dotenv: the last line counts, and it sets nothing
			l.warn(b.name, fmt.Sprintf("line %d has no \"=\" and is not used", b.line), "write the value, or set "+l.prefix()+b.name)
			continue
		}
		v, missing := expand(b.value, lookup)
		for _, m := range missing {
			l.warn(b.name, fmt.Sprintf("refers to ${%s}, which is not set and counts as empty", m), "set "+m+" above it in the file, or in the environment")
		}
		l.vars[b.name] = v
	}
}

// errTooLarge is for files that are too large to be what they are taken for.
var errTooLarge = errors.New("too large")

func readSmall(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, errors.Unwrap(err)
	}
	defer f.Close() //nolint:errcheck // only read
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(text)) > limit {
		err = errTooLarge
	}
	return text, err
}

// folders settles DATA_DIR as the application spells it and as it is reached
// from here.
func (l *loader) folders(mount string) {
	dir, ok := l.vars["DATA_DIR"]
	switch {
	case !ok && l.d.IsFolder:
		abs, err := filepath.Abs(l.d.Origin)
		if err != nil {
			l.fail("", fmt.Sprintf("%s has no absolute path: %v", l.d.Origin, err), "")
			return
		}
		dir = abs
	case !ok:
		dir = DockerDataDir
	case dir == "":
		l.fail("DATA_DIR", "is empty: Open WebUI would take the folder it is started in", "give the folder, or remove the variable")
		return
	}
	l.d.DataDir = pythonPath(dir)
	switch {
	case mount != "":
		l.d.Mount, l.d.MountGiven = mount, true
	case l.d.IsFolder:
		l.d.Mount, l.d.MountGiven = l.d.Origin, true
	case path.IsAbs(l.d.DataDir):
		l.d.Mount = l.d.DataDir
	default:
		l.d.Mount = filepath.Join(filepath.Dir(l.d.Origin), l.d.DataDir)
		l.warn("DATA_DIR", "is relative, so file.path depends on where Open WebUI is started",
			fmt.Sprintf("give an absolute path; here it is taken to be %s", l.d.Mount))
	}
	if abs, err := filepath.Abs(l.d.Mount); err == nil {
		l.d.Mount = abs
	}
}

// pythonPath spells a path the way Python's pathlib does, in which Open WebUI
// keeps DATA_DIR: no doubled or trailing slash, no "." parts, ".." kept.
func pythonPath(p string) string {
	abs := strings.HasPrefix(p, "/")
	parts := strings.FieldsFunc(p, func(r rune) bool { return r == '/' })
	kept := parts[:0]
	for _, s := range parts {
		if s != "." {
			kept = append(kept, s)
		}
	}
	out := strings.Join(kept, "/")
	switch {
	case abs:
		return "/" + out
	case out == "":
		return "."
	}
	return out
}

// CheckMount reports, as a *[ConfigError], a DATA_DIR that is not reached from
// here.
func (d Deployment) CheckMount() error {
	if info, err := os.Stat(d.Mount); err == nil && info.IsDir() {
		return nil
	}
	return &ConfigError{Side: d.Side, Variable: "DATA_DIR", Problem: d.Mount + " is not a folder on this machine",
		Fix: fmt.Sprintf("pass --%s-mount DIR, the place where the application's %s is reached from here", d.Side, d.DataDir)}
}

func (l *loader) files() {
	p, ok := l.vars["STORAGE_PROVIDER"]
	switch p {
	case Local, S3, GCS, Azure:
	case "":
		p = Local
		if ok {
			l.warn("STORAGE_PROVIDER", "is empty, which 0.12 refuses to start with", "remove it or write local")
		}
	default:
		fix := "write one of local, s3, gcs, azure"
		if low := strings.ToLower(strings.TrimSpace(p)); low == Local || low == S3 || low == GCS || low == Azure {
			fix = "write " + low + ", in lower case"
		}
		l.fail("STORAGE_PROVIDER", fmt.Sprintf("Open WebUI has no storage provider %q", p), fix)
	}
	if l.isTrue("USE_SLIM_DOCKER", false) && (p == GCS || p == Azure) {
		l.fail("STORAGE_PROVIDER", "the slim image has only local and s3", "use the standard image, or s3")
	}
	l.d.Files.Provider = p
	switch p {
	case S3:
		l.s3(&l.d.Files.S3)
	case GCS:
		l.gcs(&l.d.Files.GCS)
	case Azure:
		l.azure(&l.d.Files.Azure)
	}
}

// secretKey takes WEBUI_SECRET_KEY, its older name, or the file that Open
// WebUI's start scripts leave where they are started.
func (l *loader) secretKey() {
	for _, name := range []string{"WEBUI_SECRET_KEY", "WEBUI_JWT_SECRET_KEY"} {
		v, ok := l.vars[name]
		if !ok {
			continue
		}
		if v == "" {
			l.warn(name, "is empty: Open WebUI refuses to start unless it makes a new key, and a new key cannot read the stored secrets", "give the key that is in use")
			break
		}
		l.d.SecretKey = Secret(v)
		return
	}
	const name = ".webui_secret_key"
	for _, dir := range []string{l.d.Mount, filepath.Dir(l.d.Mount)} {
		text, err := readSmall(filepath.Join(dir, name), 4096)
		if key := strings.TrimSpace(string(text)); err == nil && key != "" {
			l.d.SecretKey = Secret(key)
			return
		}
	}
}
