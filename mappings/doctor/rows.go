package doctor

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"outgrow/mappings/env"
	"outgrow/mappings/schema"
	"outgrow/mappings/shadow"
)

// onRows looks at the rows of the database.
func onRows(look func(Facts, *Rows) verdict) func(Facts) verdict {
	return func(f Facts) verdict {
		switch r := f.Answers.Rows; {
		case r == nil:
			return verdict{}
		case r.Down != "":
			return unknown(r.Down)
		default:
			return look(f, r)
		}
	}
}

func rowChecks() []check {
	return []check{
		{"D35", Must, "alembic_version", "one revision, of the release that all instances run", "errors after an update, tables that are missing", onRows(heads), false},
		{"D10", Must, "WEBUI_SECRET_KEY and what is stored under it", "the key that the stored secrets were written with", "\"Error decrypting tokens\", tool servers are broken",
			onRows(func(_ Facts, r *Rows) verdict {
				return when(r.Tokens > 0 && r.Opens == 0, fmt.Sprintf("it opens none of %d stored secrets", r.Tokens), "WEBUI_SECRET_KEY=the old deployment's key")
			}), false},
		{"D32", Must, "file.path of all rows", "paths of the configured provider and prefix", "404 for every such file",
			onRows(func(f Facts, r *Rows) verdict {
				place := "STORAGE_PROVIDER, the bucket and S3_KEY_PREFIX"
				if f.Files.Provider == env.Local {
					place = "DATA_DIR, the path as the app sees it, or STORAGE_PROVIDER"
				}
				return when(r.Wrong > 0, fmt.Sprintf("%d of %d lead elsewhere", r.Wrong, r.Files), "let outgrow move the files (migrate --only files), or correct "+place)
			}), false},
		{"D32", Must, "files that the rows name", "all of them in the store", "404 for every such file",
			onRows(func(_ Facts, r *Rows) verdict {
				return value(r.Looked, func(n int) verdict {
					return when(r.Gone > 0, fmt.Sprintf("%d of %d that were looked for are not there", r.Gone, n), "copy what is missing (outgrow migrate --only files), then outgrow verify")
				})
			}), false},
		{"D52", Must, "names of files in file.path", "no folders with gcs and azure", "404 although the object is there",
			onRows(func(_ Facts, r *Rows) verdict {
				return when(r.Folders > 0, fmt.Sprintf("%d of %d have a folder", r.Folders, r.Files), "store these under the last part of their path")
			}), false},
		{"D42", Should, "RAG_EMBEDDING_ENGINE and RAG_EMBEDDING_MODEL", "what the documents were embedded with: the config rows say it", "searches find nothing that fits, or fail by the dimension",
			onRows(func(f Facts, r *Rows) verdict {
				return configRows(f, r, func(name string) bool {
					return strings.HasPrefix(name, "RAG_EMBEDDING_") && !strings.Contains(name, "BATCH")
				})
			}), false},
		{"D44", Should, "config rows that beat variables", "the same in both, or ENABLE_PERSISTENT_CONFIG=false", "the variable is set and nothing changes",
			onRows(func(f Facts, r *Rows) verdict { return configRows(f, r, func(string) bool { return true }) }), false},
	}
}

func heads(f Facts, r *Rows) verdict {
	known := schema.Heads()
	switch {
	case len(r.Heads) == 0: // Open WebUI or outgrow will make it
		return verdict{}
	case len(r.Heads) > 1:
		return verdict{found: "several: " + strings.Join(r.Heads, ", "), line: "restore the database, or remove the older row"}
	case !slices.Contains(known, r.Heads[0]):
		return unknown("this version does not know the schema " + r.Heads[0])
	}
	return verdict{}
}

// configRows names the variables whose config rows say something else. Values
// are compared where both are plain: texts, numbers and booleans.
func configRows(f Facts, r *Rows, among func(name string) bool) verdict {
	if !f.persistent() {
		return verdict{}
	}
	return value(r.Config, func(config map[string]json.RawMessage) verdict {
		var names []string
		for _, r := range shadow.Rows(slices.Collect(maps.Keys(config)), f.Vars) {
			if among(r.Variable) && differs(f.Vars[r.Variable].Reveal(), config[r.Key]) {
				names = append(names, r.Variable)
			}
		}
		names = slices.Compact(names) // they are sorted
		return when(len(names) > 0, "the database has another value for "+some(names), "change it in Open WebUI's settings, or ENABLE_PERSISTENT_CONFIG=false")
	})
}

// persistent reports whether config rows beat the environment.
func (f Facts) persistent() bool {
	return f.is("ENABLE_PERSISTENT_CONFIG", true) && !f.is("RESET_CONFIG_ON_START", false)
}

// differs compares a variable with a config row.
func differs(text string, row json.RawMessage) bool {
	var v any
	if json.Unmarshal(row, &v) != nil {
		return false
	}
	switch v := v.(type) {
	case string:
		return v != text
	case bool:
		return v != strings.EqualFold(text, "true")
	case float64:
		n, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
		return err == nil && n != v
	}
	return false
}

// setting is what Open WebUI takes for a variable: its config row where there is
// one that is known and wins.
func (f Facts) setting(name, key string) string {
	if r := f.Answers.Rows; r != nil && f.persistent() {
		var s string
		if row, ok := r.Config.V[key]; ok && json.Unmarshal(row, &s) == nil {
			return s
		}
	}
	return f.get(name)
}

// documentChecks look at how documents are read, by the variables and the config
// rows that beat them.
func documentChecks() []check {
	return []check{
		{"D41", Should, "CONTENT_EXTRACTION_ENGINE", "a server of its own: tika, docling, ...", "the memory of every process grows with every document",
			func(f Facts) verdict {
				return when(f.several() && f.setting("CONTENT_EXTRACTION_ENGINE", "rag.content_extraction_engine") == "", "not set: inside Open WebUI", "CONTENT_EXTRACTION_ENGINE=tika and TIKA_SERVER_URL=http://HOST:9998")
			}, false},
		{"D41", Should, "RAG_EMBEDDING_ENGINE", "a server of its own: openai, ollama, azure_openai", "every process holds the model, about 500 MB",
			func(f Facts) verdict {
				return when(f.several() && f.setting("RAG_EMBEDDING_ENGINE", "rag.embedding_engine") == "", "not set: inside Open WebUI", "RAG_EMBEDDING_ENGINE=openai, for the same model as before")
			}, false},
	}
}
