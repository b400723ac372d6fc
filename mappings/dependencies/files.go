package dependencies

import (
	"cmp"
	"io/fs"
	"net/url"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"outgrow/mappings/env"
)

// names matches variables that hold a path.
var names = regexp.MustCompile(`(_FILE|_PATH|_DIR|_HOME|_CERTS?|_CERTIFICATE|_CLIENT_KEY|_PEM|_CA_BUNDLE|_CREDENTIALS)$`)

// notFiles are told of elsewhere, or made by Open WebUI itself.
var notFiles = []string{"DATA_DIR", "STATIC_DIR", "FRONTEND_BUILD_DIR", "AUDIT_LOGS_FILE_PATH", "TIKTOKEN_CACHE_DIR", "WHISPER_MODEL_DIR"}

// inURL are the parameters of a database's or Redis's address that name a file.
var inURL = []string{"sslrootcert", "sslcert", "sslkey", "sslcrl", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_ca_path"}

// variables finds what the environment of one side names.
func (f *finder) variables(d env.Deployment) {
	file := func(where, p string) {
		if p = path.Clean(p); !path.IsAbs(p) || strings.HasPrefix(p+"/", path.Clean(d.DataDir)+"/") || strings.ContainsAny(p, "\n=") {
			return
		}
		f.add(Item{Kind: File, Where: d.Side + ": " + where, What: p, Note: "mount it in every instance at this path"})
	}
	list := make([]string, 0, len(d.Vars))
	for name := range d.Vars {
		list = append(list, name)
	}
	slices.Sort(list)
	for _, name := range list {
		v := d.Vars[name].Reveal()
		switch {
		case name == "STATIC_DIR" || name == "FRONTEND_BUILD_DIR":
			f.add(Item{Kind: Branding, Where: d.Side + ": " + name, What: v, Note: "branding is not moved: bring it in the image or mount it. Open WebUI empties STATIC_DIR at each start and fills it " +
				"from FRONTEND_BUILD_DIR, so instances must not share one"})
		case name == "CUSTOM_NAME":
			f.add(Item{Kind: Branding, Where: d.Side + ": " + name, What: "api.openwebui.com", Note: "its logo is fetched at each start of each instance"})
		case name == "USE_OLLAMA_DOCKER" && strings.EqualFold(v, "true"):
			f.add(Item{Kind: Volume, Where: d.Side + ": " + name, What: "Ollama in Open WebUI's own container", Note: "its models are in ~/.ollama there, which is not moved: run Ollama by itself"})
		case slices.Contains(notFiles, name):
		case names.MatchString(name):
			file(name, v)
		case strings.Contains(v, "://"):
			if u, err := url.Parse(v); err == nil {
				for _, p := range inURL {
					file(name+" "+p, u.Query().Get(p))
				}
			}
		}
	}
}

// models finds what Open WebUI loads into its own process, or downloads for it.
func (f *finder) models() {
	const note = "loaded by every worker of every instance, and downloaded by each one without it: bring it in the image, or mount a cache"
	local := func(engine, model string) {
		v, known := f.values[engine]
		name := f.text(model)
		if s, ok := v.(string); known && (v == nil || ok && s == "") && name != "" {
			f.add(Item{Kind: Model, Where: model, What: name, Note: note})
		}
	}
	local("rag.embedding_engine", "rag.embedding_model")
	local("audio.stt.engine", "audio.stt.whisper_model")
	if on, _ := f.values["rag.enable_hybrid_search"].(bool); on {
		local("rag.reranking_engine", "rag.reranking_model")
	}
}

// caches are the folders below DATA_DIR that hold models; Open WebUI makes them
// again.
var caches = []string{"cache/whisper", "cache/embedding", "cache/tiktoken", "cache/huggingface", "cache/transformers"}

// Caches measures the models that lie below a DATA_DIR. What cannot be read does
// not count.
func Caches(mount string) (out []Item) {
	for _, name := range caches {
		var bytes int64
		_ = filepath.WalkDir(filepath.Join(mount, name), func(_ string, e fs.DirEntry, err error) error {
			if err != nil {
				return nil //nolint:nilerr // not there, or not ours to read
			}
			if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
				bytes += info.Size()
			}
			return nil
		})
		if bytes > 0 {
			out = append(out, Item{Kind: Cache, Where: "DATA_DIR", What: name, Bytes: bytes, Note: "not moved: Open WebUI downloads it again. Without internet copy it by hand"})
		}
	}
	return out
}

// Sum adds what lies below DATA_DIR to a report.
func (r Report) Sum(items []Item) Report {
	r.Items = append(r.Items, items...)
	slices.SortStableFunc(r.Items, func(a, b Item) int { return cmp.Compare(rank(a.Kind), rank(b.Kind)) })
	return r
}
