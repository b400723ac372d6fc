package silence

import (
	"reflect"
	"slices"
	"testing"

	"outgrow/mappings/env"
	"outgrow/mappings/schema"
	"outgrow/pipeline"
)

const due = int64(1893456000000000000)

// What every rule makes of a row, and that it is made once: a second time, and of
// a row that does not act, nothing changes.
func TestTransform(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		table   string
		columns []string
		in, out []any             // without the id; a nil out is the same row
		reasons []pipeline.Reason // of the changes, in their order
	}{
		{"a pending timer", "chat", []string{"meta", "timer_at"}, []any{`{"type":"timer","status":"pending","timer_at":1893456000000000000}`, due},
			[]any{`{"status":"cancelled","timer_at":1893456000000000000,"type":"timer"}`, nil}, []pipeline.Reason{Silenced, Silenced}},
		{"a timer whose state nobody knows", "chat", []string{"meta", "timer_at"}, []any{`"pending"`, due}, []any{`"pending"`, nil}, []pipeline.Reason{Silenced, Left}},
		{"a timer in a state of its own", "chat", []string{"meta", "timer_at"}, []any{`{"status":"running"}`, due}, []any{`{"status":"running"}`, nil}, []pipeline.Reason{Silenced}},
		{"a chat", "chat", []string{"meta", "timer_at"}, []any{`{ "tags":["work"] }`, nil}, nil, nil},
		{"a chat before there were timers", "chat", []string{"meta"}, []any{`{"status":"pending"}`}, nil, nil},

		{"an automation", "automation", []string{"is_active", "next_run_at"}, []any{true, due}, []any{false, nil}, []pipeline.Reason{Silenced, Silenced}},
		{"an automation without a next run", "automation", []string{"is_active", "next_run_at"}, []any{true, nil}, []any{false, nil}, []pipeline.Reason{Silenced}},
		{"an automation that is off", "automation", []string{"is_active", "next_run_at"}, []any{false, due}, nil, nil},

		{"an event", "calendar_event", []string{"start_at", "meta", "is_cancelled"}, []any{due, nil, false}, []any{due, `{"alert_minutes":-1}`, false}, []pipeline.Reason{Silenced}},
		{"an event with JSON's null", "calendar_event", []string{"start_at", "meta", "is_cancelled"}, []any{due, "null", false}, []any{due, `{"alert_minutes":-1}`, false}, []pipeline.Reason{Silenced}},
		{"an event with an alert", "calendar_event", []string{"start_at", "meta", "is_cancelled"}, []any{due, `{"alert_minutes":10,"a":"<b>"}`, false},
			[]any{due, `{"a":"<b>","alert_minutes":-1}`, false}, []pipeline.Reason{Silenced}},
		{"an event that was alerted of at another time", "calendar_event", []string{"start_at", "meta", "is_cancelled"}, []any{due, `{"alerted_at":1893455000000000000}`, false},
			[]any{due, `{"alert_minutes":-1,"alerted_at":1893455000000000000}`, false}, []pipeline.Reason{Silenced}},
		{"an event that was alerted of", "calendar_event", []string{"start_at", "meta", "is_cancelled"}, []any{due, `{"alerted_at":1893456000000000000}`, false}, nil, nil},
		{"an event without an alert", "calendar_event", []string{"start_at", "meta", "is_cancelled"}, []any{due, `{"alert_minutes": -5}`, false}, nil, nil},
		{"a cancelled event", "calendar_event", []string{"start_at", "meta", "is_cancelled"}, []any{due, nil, true}, nil, nil},
		{"an event of an unknown form", "calendar_event", []string{"start_at", "meta", "is_cancelled"}, []any{due, `[10]`, false}, nil, []pipeline.Reason{Left}},

		{"webhooks of events", "config", []string{"key", "value"}, []any{"events.webhooks", `[{"id":"a","url":"https://x"},{"id":"b","enabled":true},{"id":"c","enabled":false},"odd"]`},
			[]any{"events.webhooks", `[{"enabled":false,"id":"a","url":"https://x"},{"enabled":false,"id":"b"},{"enabled":false,"id":"c"},"odd"]`}, []pipeline.Reason{Silenced}},
		{"no webhooks of events", "config", []string{"key", "value"}, []any{"events.webhooks", `[]`}, nil, nil},
		{"webhooks that are off", "config", []string{"key", "value"}, []any{"events.webhooks", `[ {"enabled":0} ]`}, nil, nil},
		{"webhooks of an unknown form", "config", []string{"key", "value"}, []any{"events.webhooks", `{"url":"https://x"}`}, nil, []pipeline.Reason{Left}},
		{"the older webhook", "config", []string{"key", "value"}, []any{"webhook_url", `"https://x"`}, []any{"webhook_url", `""`}, []pipeline.Reason{Silenced}},
		{"no older webhook", "config", []string{"key", "value"}, []any{"webhook_url", `""`}, nil, nil},
		{"an older webhook of an unknown form", "config", []string{"key", "value"}, []any{"webhook_url", `["https://x"]`}, nil, []pipeline.Reason{Left}},
		{"webhooks of users", "config", []string{"key", "value"}, []any{"ui.enable_user_webhooks", `true`}, []any{"ui.enable_user_webhooks", `false`}, []pipeline.Reason{Silenced}},
		{"tool servers", "config", []string{"key", "value"}, []any{"tool_server.connections", `[{"url":"https://x","config":{"enable":true}},{"url":"https://y"},{"config":{"enable":false}}]`},
			[]any{"tool_server.connections", `[{"config":{"enable":false},"url":"https://x"},{"url":"https://y"},{"config":{"enable":false}}]`}, []pipeline.Reason{Silenced}},
		{"terminal servers", "config", []string{"key", "value"}, []any{"terminal_server.connections", `[{"url":"https://x"}]`},
			[]any{"terminal_server.connections", `[{"enabled":false,"url":"https://x"}]`}, []pipeline.Reason{Silenced}},
		{"another setting", "config", []string{"key", "value"}, []any{"calendar.enable", `true`}, nil, nil},
		{"all settings in one row", "config", []string{"data", "version"}, []any{`{"ui":{"enable_user_webhooks":true,"n":1.0},"webhook_url":"https://x","tool_server":{"connections":[{"config":{"enable":1}}]}}`, int64(0)},
			[]any{`{"tool_server":{"connections":[{"config":{"enable":false}}]},"ui":{"enable_user_webhooks":false,"n":1.0},"webhook_url":""}`, int64(0)}, []pipeline.Reason{Silenced}},
		{"all settings in one row, silent", "config", []string{"data", "version"}, []any{`{ "ui":{} }`, int64(0)}, nil, nil},
		{"all settings in one row, odd ones among them", "config", []string{"data", "version"}, []any{`{"webhook_url":7,"terminal_server":{"connections":[{}]}}`, int64(0)},
			[]any{`{"terminal_server":{"connections":[{"enabled":false}]},"webhook_url":7}`, int64(0)}, []pipeline.Reason{Silenced, Left}},
		{"the settings that were", "config_old", []string{"data"}, []any{`{"webhook_url":"https://x"}`}, nil, nil},

		{"targets of a user", "user", []string{"settings"}, []any{`{"notifications":{"targets":[{"id":"a"}],"webhook_url":"https://x"},"ui":{"a":"é","notifications":{"webhook_url":"https://y"}}}`},
			[]any{`{"notifications":{"targets":[{"enabled":false,"id":"a"}],"webhook_url":""},"ui":{"a":"é","notifications":{"webhook_url":""}}}`}, []pipeline.Reason{Silenced}},
		{"a user without targets", "user", []string{"settings"}, []any{`{"ui":{"notifications":{}, "version":"0.12.4"}}`}, nil, nil},
		{"a user without settings", "user", []string{"settings"}, []any{"null"}, nil, nil},
		{"settings of an unknown form", "user", []string{"settings"}, []any{`"https://x"`}, nil, []pipeline.Reason{Left}},
		{"notifications of an unknown form", "user", []string{"settings"}, []any{`{"notifications":["https://x"]}`}, nil, []pipeline.Reason{Left}},

		{"an app", "app", []string{"is_active"}, []any{true}, []any{false}, []pipeline.Reason{Silenced}},
		{"a function", "function", []string{"type", "is_active"}, []any{"event", true}, []any{"event", false}, []pipeline.Reason{Silenced}},
		{"a function that nobody has decided on", "function", []string{"is_active"}, []any{nil}, nil, nil},
		{"another table", "memory", []string{"is_active"}, []any{true}, nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			transform := Transform()
			unit := pipeline.Unit{Lane: pipeline.Rows, Name: c.table}
			row := &pipeline.Row{Table: &pipeline.Table{Name: c.table, Columns: append([]string{"id"}, c.columns...), Key: []int{0}}, Values: append([]any{"1"}, c.in...)}
			want := row.Values
			if c.out != nil {
				want = append([]any{"1"}, c.out...)
			}
			before := slices.Clone(row.Values)
			got, changes, refused := transform(unit, row)
			if len(refused) > 0 || !reflect.DeepEqual(got.Values, want) {
				t.Errorf("became %q, want %q (refused: %v)", got.Values, want, refused)
			}
			if !reflect.DeepEqual(row.Values, before) {
				t.Errorf("the row that came in is %q now", row.Values)
			}
			var reasons []pipeline.Reason
			for _, x := range changes {
				reasons = append(reasons, x.Reason)
				if x.Unit != "rows/"+c.table || x.Key != "1" || x.Note == "" || (x.Before == x.After) != (x.Reason == Left) {
					t.Errorf("the ledger says %+v", x)
				}
			}
			if !slices.Equal(reasons, c.reasons) {
				t.Errorf("reasons %q, want %q", reasons, c.reasons)
			}
			again, changes, _ := transform(unit, got)
			if !reflect.DeepEqual(again.Values, got.Values) || slices.ContainsFunc(changes, func(x pipeline.Change) bool { return x.Reason != Left }) {
				t.Errorf("a second time it became %q, with %+v", again.Values, changes)
			}
		})
	}
}

// Every release that has a table which is silenced has it in a form that one of
// its rules knows.
func TestFormsOfAllReleases(t *testing.T) {
	t.Parallel()
	timers := "d4c1a8e37b62" // adds chat.timer_at
	since := false
	for _, head := range schema.Heads() {
		since = since || head == timers
		s, err := schema.Load(head)
		if err != nil {
			t.Fatal(err)
		}
		known := map[string]bool{}
		for _, r := range rules() {
			table, ok := s.Table(r.table)
			if !ok {
				continue
			}
			fits := true
			for _, c := range r.columns {
				fits = fits && slices.ContainsFunc(table.Columns, func(x schema.Column) bool { return x.Name == c })
			}
			known[r.table] = known[r.table] || fits
		}
		for table, ok := range known {
			if !ok && (table != "chat" || since) {
				t.Errorf("schema %s: no rule knows the columns of %s", head, table)
			}
		}
		for _, table := range []string{"chat", "config", "user", "function"} {
			if _, ok := known[table]; !ok {
				t.Errorf("schema %s has no %s", head, table)
			}
		}
	}
	if !since {
		t.Errorf("schema %s is not known", timers)
	}
}

func TestEnvironment(t *testing.T) {
	t.Parallel()
	set, remove := Environment(map[string]env.Secret{"WEBUI_NAME": "Chat", "REDIS_KEY_PREFIX": "chat", "REDIS_URL": "redis://x", "WEBSOCKET_REDIS_URL": "redis://x", "WEBSOCKET_MANAGER": "redis",
		"REDIS_SENTINEL_HOSTS": "a", "WEBHOOK_URL": "https://x", "DATABASE_URL": "postgresql://x", "WEBUI_URL": "https://chat", "ENABLE_OTEL_TRACES": "true", "ENABLE_SIGNUP": "false"})
	if set["WEBUI_NAME"] != "Chat rehearsal" || set["REDIS_KEY_PREFIX"] != "chat-rehearsal" || set["SAFE_MODE"] != "true" {
		t.Errorf("with %v", set)
	}
	if want := []string{"ENABLE_OTEL_TRACES", "REDIS_SENTINEL_HOSTS", "REDIS_URL", "WEBHOOK_URL", "WEBSOCKET_MANAGER", "WEBSOCKET_REDIS_URL"}; !slices.Equal(remove, want) {
		t.Errorf("without %v, want %v", remove, want)
	}
	set, remove = Environment(nil)
	if set["WEBUI_NAME"] != "Open WebUI rehearsal" || set["REDIS_KEY_PREFIX"] != "open-webui-rehearsal" || remove != nil {
		t.Errorf("with %v, without %v", set, remove)
	}
}
