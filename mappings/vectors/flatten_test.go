package vectors

import (
	"testing"

	"outgrow/pipeline"
)

// The expected values are what Python 3.11 and Open WebUI 0.12.4's
// process_metadata give for the same JSON.
func TestFlatten(t *testing.T) {
	for in, want := range map[string]string{
		`{"a":3.0,"b":"x","c":true}`:   `{"a":3.0,"b":"x","c":true}`,
		`{}`:                           `{}`,
		`{"a":null,"b":1}`:             `{"b":1}`,
		`{"a":[1,2.50,null,true,"x"]}`: `{"a":"[1, 2.5, None, True, 'x']"}`,
		`{"a":{"engine":"","n":{"k":[]}}, "b":[]}`:                `{"a":"{'engine': '', 'n': {'k': []}}","b":"[]"}`,
		`{"a":["it's","say \"a'b\"","\\ \n\u0007\u00a0é\u2028"]}`: `{"a":"[\"it's\", 'say \"a\\'b\"', '\\\\ \\n\\x07\\xa0é\\u2028']"}`,
		`{"a":[1e-5,1e16,1e22,123456.0,0.0001,-0.0,1E400]}`:       `{"a":"[1e-05, 1e+16, 1e+22, 123456.0, 0.0001, -0.0, inf]"}`,
		`{"pages":[1],"content":"x","page":<1>}`:                  ``,
		`{"pages":[1],"content":"x","page":1}`:                    `{"page":1}`,
		`{"a":1,"a":[2]}`:                                         `{"a":"[2]"}`,
	} {
		got, what, err := Flatten([]byte(in), true)
		if (err != nil) != (want == "") || string(got) != want || (what == "") != (in == want || want == "") {
			t.Errorf("%s gives %s (%q, %v), want %s", in, got, what, err, want)
		}
		if want == "" {
			continue
		}
		if again, what, err := Flatten(got, true); err != nil || what != "" || string(again) != string(got) {
			t.Errorf("%s becomes %s the second time (%q, %v)", got, again, what, err)
		}
	}
	if got, _, err := Flatten([]byte(`{"pages":[1],"content":"x"}`), false); err != nil || string(got) != `{"pages":"[1]","content":"x"}` {
		t.Errorf("without drop: %s, %v", got, err)
	}
}

func TestWithoutSurrogates(t *testing.T) {
	for in, want := range map[string]string{`{"a":"\u0000\ud800\ud83d\ude00\\ud800"}`: `{"a":"\u0000\ud83d\ude00\\ud800"}`, `{"a":"\u0000"}`: `{"a":"\u0000"}`} {
		got, what := WithoutSurrogates([]byte(in))
		if string(got) != want || (what == "") != (in == want) {
			t.Errorf("%s gives %s (%q)", in, got, what)
		}
	}
}

func TestProcessed(t *testing.T) {
	f, u := Processed(), pipeline.Unit{Lane: pipeline.Vectors, Name: "a"}
	for in, want := range map[string]string{`{"a":[1],"pages":1}`: `{"a":"[1]"}`, `{"a":3.0}`: "", `"x"`: "", `{"a":NaN}`: ""} {
		v := &pipeline.Vector{ID: "i", Metadata: []byte(in)}
		out, changes, refusals := f(u, v)
		if refusals != nil || (want == "") != (out == v && changes == nil) {
			t.Errorf("%s: %+v, %+v", in, out, changes)
			continue
		}
		if want != "" && (string(out.Metadata) != want || len(changes) != 1 || changes[0].After != pipeline.Digest(want) || string(v.Metadata) != in) {
			t.Errorf("%s: %s, %+v", in, out.Metadata, changes)
		}
	}
	v := &pipeline.Vector{ID: "i"}
	if out, _, _ := f(u, v); out != v {
		t.Error("no metadata is changed")
	}
}
