// Package files knows how Open WebUI names its files: the forms of file.path
// and the parts of DATA_DIR. Source: Open WebUI 0.12.4, storage/provider.py and
// config.py.
package files

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"
	"unicode/utf8"

	"outgrow/mappings/env"
	"outgrow/pipeline"
)

// Uploads is the folder below DATA_DIR that the local storage provider writes
// to. It is flat: <file id>_<original name>, or <file id>.<extension> when that
// would be too long.
const Uploads = "uploads"

// MaxName is the longest name of a file that Open WebUI can read back from any
// provider, in bytes.
const MaxName = 255

// PartialPrefix begins the name of a file that outgrow has not finished yet. It
// is nobody's content: readers pass over it.
const PartialPrefix = ".outgrow-partial-"

// windows matches an absolute path of Windows.
var windows = regexp.MustCompile(`^([A-Za-z]:[\\/]|\\\\)`)

// Name gives the file's name from a stored file.path, whichever provider and
// root it was written with: the last part of a POSIX or Windows path, or of an
// s3://, gs:// or https:// URL. A backslash belongs to the name, unless the
// path is one of Windows. It is "" when the path names no file (NULL and ”
// occur for text and web content).
func Name(stored string) string {
	if windows.MatchString(stored) || !strings.Contains(stored, "/") && strings.Contains(stored, Uploads+`\`) {
		stored = strings.ReplaceAll(stored, `\`, "/")
	}
	name := stored[strings.LastIndexByte(stored, '/')+1:]
	if name == "." || name == ".." || strings.HasSuffix(stored, ":") && name == stored {
		return ""
	}
	return name
}

// ErrName marks a name that cannot be part of a path: empty, "." or "..", with a
// NUL, or with a slash where Open WebUI could not read it back.
var ErrName = errors.New("not the name of a file")

// Path gives the file.path that Open WebUI writes for, and reads back from, the
// deployment's provider:
//
//	local  <DATA_DIR>/uploads/<name>, DATA_DIR as the application spells it
//	s3     s3://<bucket>/<prefix><name>
//	gcs    gs://<bucket>/<name>
//	azure  <endpoint>/<container>/<name>, the endpoint verbatim
//
// The name is never escaped. Only that of an S3 object may have folders, no
// part of them empty: GCS and Azure read one part of the path. The error is
// [ErrName], or errors.ErrUnsupported for an unknown provider.
func Path(d env.Deployment, name string) (string, error) {
	slash := d.Files.Provider == env.S3 && !strings.HasPrefix(name, "/") && !strings.HasSuffix(name, "/") && !strings.Contains(name, "//")
	if name == "" || name == "." || name == ".." || strings.Contains(name, "\x00") || strings.Contains(name, "/") && !slash {
		return "", fmt.Errorf("writing file.path for %q: %w", name, ErrName)
	}
	switch f := d.Files; f.Provider {
	case env.Local, "":
		return strings.TrimSuffix(d.DataDir, "/") + "/" + Uploads + "/" + name, nil
	case env.S3:
		return "s3://" + f.S3.Bucket + "/" + f.S3.Prefix + name, nil
	case env.GCS:
		return "gs://" + f.GCS.Bucket + "/" + name, nil
	case env.Azure:
		return f.Azure.Endpoint + "/" + f.Azure.Container + "/" + name, nil
	}
	return "", fmt.Errorf("writing file.path for provider %s: %w", d.Files.Provider, errors.ErrUnsupported)
}

// Unfit says why a file of this name, a path below its unit's folder with
// slashes, cannot be moved, whatever the target: Open WebUI could not read it
// back from any. The reason is "" when it can.
func Unfit(name string) (pipeline.Reason, string) {
	switch base := name[strings.LastIndexByte(name, '/')+1:]; {
	case !utf8.ValidString(name):
		return pipeline.Invalid, "the name is not UTF-8"
	case name == "" || strings.Contains(name, "\x00") || path.Clean("/"+name) != "/"+name:
		return pipeline.Invalid, "a part of the name is empty, . or .."
	case len(base) > MaxName:
		return pipeline.TooLong, fmt.Sprintf("the name has %d bytes, more than %d", len(base), MaxName)
	}
	return "", ""
}

// Printable is the name, or the name with \xff escapes when it is not UTF-8 and
// so no key that can be stored everywhere.
func Printable(name string) string {
	if utf8.ValidString(name) {
		return name
	}
	return strings.Trim(fmt.Sprintf("%q", name), `"`)
}

// Kind says what becomes of an entry of DATA_DIR.
type Kind string

// The kinds.
const (
	Moved   Kind = "moved"       // files that users or functions made
	Folder  Kind = "folder"      // holds entries of several kinds
	Rebuilt Kind = "rebuildable" // caches that Open WebUI fills again by itself
	Never   Kind = "never"       // moved by another lane, or must not be there on the target
	Known   Kind = "known"       // known, not moved unless it is included: licences, logs
	Unknown Kind = "unknown"     // nobody knows it; not moved unless it is included
)

// Units lists the folders that move, in order. All are below DATA_DIR.
func Units() []string {
	return []string{Uploads, "cache/audio", "cache/image", "cache/functions", "cache/tools", "cache/pipelines"}
}

// entry is one line of the table: a name below DATA_DIR (a pattern of
// [path.Match]), what becomes of it and why.
type entry struct {
	pattern string
	kind    Kind
	why     string
}

// table is searched from its start.
var table = []entry{
	{Uploads, Moved, "uploaded files"},
	{"cache/audio", Moved, "speech and transcriptions, served at /cache/"},
	{"cache/image", Moved, "generated images, served at /cache/"},
	{"cache/functions", Moved, "files of functions, served at /cache/"},
	{"cache/tools", Moved, "files of tools, served at /cache/"},
	{"cache/pipelines", Moved, "files of pipelines, served at /cache/"},
	{"cache", Folder, ""},
	{"cache/whisper", Rebuilt, "downloaded speech models"},
	{"cache/tiktoken", Rebuilt, "downloaded tokenizer"},
	{"cache/embedding", Rebuilt, "downloaded embedding models"},
	{"cache/huggingface", Rebuilt, "downloaded models"},
	{"cache/torch", Rebuilt, "downloaded models"},
	{"webui.db*", Never, "the database, moved by the lane of rows"},
	{"ollama.db*", Never, "the database of an early release"},
	{"vector_db", Never, "the vectors, moved by their own lane"},
	{"config.json", Never, "settings of an early release: Open WebUI would import them again"},
	{"old_config.json", Never, "settings of an early release, imported long ago"},
	{".webui_secret_key", Never, "the secret key: give it as WEBUI_SECRET_KEY"},
	{"lost+found", Never, "the file system's own"},
	{".nfs*", Never, "the file system's own"},
	{PartialPrefix + "*", Never, "left by an interrupted copy"},
	{"l.data", Known, "the licence"},
	{"audit.log*", Known, "the audit log of this instance"},
	{"static", Known, "branding"},
	{"fonts", Known, "fonts"},
	{"opencv", Rebuilt, "downloaded libraries"},
	{"readme.txt", Known, "a placeholder of the image"},
	{".gitignore", Known, "a placeholder"},
	{".gitkeep", Known, "a placeholder"},
}

// Classify tells what becomes of an entry of DATA_DIR, given by its path below
// it with slashes. What lies in a folder goes with it, except in a [Folder],
// whose entries are asked for one by one.
func Classify(name string) Kind {
	k, _ := find(name)
	return k
}

// Reason says in words why [Classify] said so; "" for what is unknown.
func Reason(name string) string {
	_, why := find(name)
	return why
}

func find(name string) (Kind, string) {
	for n := path.Clean(strings.TrimPrefix(name, "/")); n != "." && n != "/"; n = path.Dir(n) {
		for _, e := range table {
			if ok, err := path.Match(e.pattern, n); err != nil || !ok {
				continue
			}
			if e.kind == Folder && n != name {
				return Unknown, ""
			}
			return e.kind, e.why
		}
	}
	return Unknown, ""
}
