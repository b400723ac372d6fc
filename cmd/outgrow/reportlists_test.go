package main

import (
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"outgrow/pipeline"
)

// Where nothing was refused, changed or found, the report has empty lists: its
// readers need not tell null from none.
func TestReportHasNoNull(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, err := updateReport(dir, func(r *report) {
		r.Plan, r.Migrate, r.Sync, r.Verify, r.Watch = &planReport{}, &migrateReport{Throughput: &throughput{}}, &syncReport{Throughput: &throughput{}}, &verifyReport{Search: &parityReport{}}, &watchReport{}
		r.Cutover, r.Rollback, r.Accept = &cutoverReport{}, &cutoverReport{}, &acceptReport{}
	})
	if err != nil {
		t.Fatal(err)
	}
	body := readFile(t, filepath.Join(dir, reportJSON))
	for line := range strings.Lines(body) {
		if strings.Contains(line, ": null") {
			t.Errorf("%s", line)
		}
	}
	for _, name := range []string{"quarantine", "ledger", "units", "findings", "problems", "changes", "lanes", "steps", "deletable", "items", "samples", "sittings"} {
		if !strings.Contains(body, `"`+name+`": []`) {
			t.Errorf("%s is no empty list", name)
		}
	}
	valid(t, []byte(body))
	if strings.Contains(string(reportSchema), `["array", "null"]`) {
		t.Error("the schema allows null where a list is")
	}
}

// What is there stays, and so do bytes and what is left out when it is empty.
func TestWithoutNulls(t *testing.T) {
	t.Parallel()
	type inner struct {
		Names []string `json:"names"`
	}
	v := struct {
		Full    []inner          `json:"full"`
		Pointer *inner           `json:"pointer"`
		Nil     *inner           `json:"nil"`
		Left    []string         `json:"left,omitempty"`
		Raw     []byte           `json:"raw"`
		Tallies []pipeline.Tally `json:"tallies"`
		hidden  []string
	}{Full: []inner{{}, {Names: []string{"a"}}}, Pointer: &inner{}}
	withoutNulls(reflect.ValueOf(&v))
	if v.Full[0].Names == nil || len(v.Full[1].Names) != 1 || v.Pointer.Names == nil || v.Nil != nil || v.Left != nil || v.Raw != nil || v.Tallies == nil || v.hidden != nil {
		t.Errorf("%+v", v)
	}
}
