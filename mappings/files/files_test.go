package files

import (
	"errors"
	"strings"
	"testing"

	"outgrow/mappings/env"
	"outgrow/pipeline"
)

func TestName(t *testing.T) {
	const id = "07ba6b74-7b1f-43f8-a71c-c7625fc97f34"
	for in, want := range map[string]string{
		"/app/backend/data/uploads/" + id + "_a.txt":                   id + "_a.txt",
		"data/uploads/" + id + "_a b%20c+d&e#f.md":                     id + "_a b%20c+d&e#f.md",
		"./data//uploads/" + id + ".pdf":                               id + ".pdf",
		`C:\Users\x\data\uploads\` + id + "_a.txt":                     id + "_a.txt",
		`C:/Users/x/data/uploads\` + id + "_a.txt":                     id + "_a.txt",
		`\\server\share\data\uploads\` + id + "_a.txt":                 id + "_a.txt",
		`data\uploads\` + id + "_a.txt":                                id + "_a.txt",
		"/app/backend/data/uploads/" + id + `_back\slash.txt`:          id + `_back\slash.txt`,
		"s3://bucket/pre/fix/" + id + "_Jahresbericht – Übergröße.md":  id + "_Jahresbericht – Übergröße.md",
		"gs://bucket/" + id + "_a?b.txt":                               id + "_a?b.txt",
		"https://acct.blob.core.windows.net/container/" + id + "_🚀.md": id + "_🚀.md",
		"http://127.0.0.1:11000/devstoreaccount1/c//" + id + "_a.txt":  id + "_a.txt",
		"/etc/hostname":      "hostname",
		id + "_a.txt":        id + "_a.txt",
		id + `_back\s.txt`:   id + `_back\s.txt`,
		"":                   "",
		"/app/data/uploads/": "",
		"uploads/..":         "",
		".":                  "",
	} {
		if got := Name(in); got != want {
			t.Errorf("Name(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestPath(t *testing.T) {
	for dir, want := range map[string]string{
		"/app/backend/data": "/app/backend/data/uploads/x_a b%20.md",
		"data":              "data/uploads/x_a b%20.md",
		"/":                 "/uploads/x_a b%20.md",
	} {
		d := env.Deployment{DataDir: dir, Files: env.Files{Provider: env.Local}}
		got, err := Path(d, "x_a b%20.md")
		if got != want || err != nil {
			t.Errorf("%s: got %q, %v", dir, got, err)
		}
		if Name(got) != "x_a b%20.md" {
			t.Errorf("%s: the way back gives %q", dir, Name(got))
		}
	}
	for _, name := range []string{"", ".", "..", "a/b", "a\x00"} {
		if got, err := Path(env.Deployment{DataDir: "/d"}, name); !errors.Is(err, ErrName) {
			t.Errorf("%q: got %q, %v", name, got, err)
		}
	}
	if got, err := Path(env.Deployment{Files: env.Files{Provider: "ftp"}}, "a"); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("ftp: got %q, %v", got, err)
	}
}

func TestPathInObjectStores(t *testing.T) {
	stores := map[string]env.Files{
		"s3://owui/":                              {Provider: env.S3, S3: env.S3Config{Bucket: "owui"}},
		"s3://owui/pre/fix/":                      {Provider: env.S3, S3: env.S3Config{Bucket: "owui", Prefix: "pre/fix/"}},
		"gs://owui/":                              {Provider: env.GCS, GCS: env.GCSConfig{Bucket: "owui"}},
		"https://a.blob.core.windows.net/owui/":   {Provider: env.Azure, Azure: env.AzureConfig{Endpoint: "https://a.blob.core.windows.net", Container: "owui"}},
		"http://127.0.0.1:1/devstoreaccount1//c/": {Provider: env.Azure, Azure: env.AzureConfig{Endpoint: "http://127.0.0.1:1/devstoreaccount1/", Container: "c"}},
	}
	for base, f := range stores {
		d := env.Deployment{DataDir: "/d", Files: f}
		for _, name := range []string{"x_a b.txt", "x_a%20b?#&+;=.md", `x_back\slash`, "x_Zoe\u0301 \U0001F680.txt", "x_tab\tnewline\n."} {
			got, err := Path(d, name)
			if err != nil || got != base+name || Name(got) != name {
				t.Errorf("%s: %q gives %q, %v; the way back gives %q", base, name, got, err, Name(got))
			}
		}
		for _, name := range []string{"", ".", "..", "/a", "a/", "a//b", "a\x00"} {
			if got, err := Path(d, name); !errors.Is(err, ErrName) {
				t.Errorf("%s: %q gives %q, %v", base, name, got, err)
			}
		}
		got, err := Path(d, "folder/x_a.txt")
		if f.Provider == env.S3 && (err != nil || got != base+"folder/x_a.txt" || Name(got) != "x_a.txt") || f.Provider != env.S3 && !errors.Is(err, ErrName) {
			t.Errorf("%s: a nested name gives %q, %v", base, got, err)
		}
	}
}

func TestClassify(t *testing.T) {
	for name, want := range map[string]Kind{
		"uploads": Moved, "uploads/x_a.txt": Moved, "uploads/marker_output/1/a.png": Moved, "cache/audio": Moved, "cache/audio/speech/1.mp3": Moved,
		"cache": Folder, "cache/whisper": Rebuilt, "cache/embedding/models/x": Rebuilt, "cache/other": Unknown, "cache/other/x": Unknown,
		"webui.db": Never, "webui.db-wal": Never, "webui.db.bak": Never, "vector_db": Never, "vector_db/chroma.sqlite3": Never, "config.json": Never,
		".webui_secret_key": Never, "l.data": Known, "audit.log": Known, "audit.log.1": Known, "static/logo.png": Known,
		"marker": Unknown, "my.db": Unknown, "": Unknown, "x/uploads": Unknown,
	} {
		if got := Classify(name); got != want {
			t.Errorf("Classify(%q) = %s, want %s", name, got, want)
		}
	}
	for _, u := range Units() {
		if Classify(u) != Moved || Reason(u) == "" {
			t.Errorf("unit %s is %s: %q", u, Classify(u), Reason(u))
		}
	}
}

func TestUnfit(t *testing.T) {
	for name, want := range map[string]pipeline.Reason{
		"x_a.txt": "", "sub/x": "", ".hidden": "", `back\slash`: "", strings.Repeat("a", 255): "", strings.Repeat("a", 200) + "/" + strings.Repeat("é", 127): "",
		"": pipeline.Invalid, ".": pipeline.Invalid, "..": pipeline.Invalid, "a//b": pipeline.Invalid, "/a": pipeline.Invalid, "a/": pipeline.Invalid, "./a": pipeline.Invalid,
		"a/../b": pipeline.Invalid, "a\x00": pipeline.Invalid, "a\xff": pipeline.Invalid, strings.Repeat("é", 128): pipeline.TooLong, "sub/" + strings.Repeat("a", 256): pipeline.TooLong,
	} {
		reason, detail := Unfit(name)
		if reason != want || (detail == "") != (want == "") {
			t.Errorf("%q: %q, %q", name, reason, detail)
		}
	}
	if got := Printable("a\xff") + Printable("é"); got != `a\xffé` {
		t.Error(got)
	}
}
