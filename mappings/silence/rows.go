package silence

import "strings"

// timer cancels a pending timer, as Open WebUI does itself: only one whose
// timer_at is set is ever looked at.
func timer(e *edit) {
	if e.get("timer_at") == nil {
		return
	}
	e.set("timer_at", nil, "the timer does not fire")
	if meta, ok := e.object("meta", "the timer's state"); ok && meta["status"] == "pending" {
		meta["status"] = "cancelled"
		e.setJSON("meta", meta, "the timer counts as cancelled")
	}
}

// automation is switched off as Open WebUI does it: without a next run.
func automation(e *edit) {
	if e.get("is_active") != true {
		return
	}
	e.set("is_active", false, "the automation does not run")
	if e.get("next_run_at") != nil {
		e.set("next_run_at", nil, "the automation does not run")
	}
}

// alert gives an event the mark of one that nobody wants to be reminded of. The
// event stays in the calendar.
func alert(e *edit) {
	if e.get("is_cancelled") == true {
		return
	}
	meta, ok := e.object("meta", "the event's alert")
	switch {
	case !ok && !e.null("meta"):
		return
	case !ok:
		meta = map[string]any{}
	case negative(meta["alert_minutes"]), equalNumber(meta["alerted_at"], e.get("start_at")):
		return
	}
	meta["alert_minutes"] = -1
	e.setJSON("meta", meta, "nobody is alerted of the event")
}

// off switches is_active off.
func off(note string) func(*edit) {
	return func(e *edit) {
		if e.get("is_active") == true {
			e.set("is_active", false, note)
		}
	}
}

// targets switches off where a user's notifications go. The older forms hold a
// bare URL, which Open WebUI makes a target of when there is none.
func targets(e *edit) {
	settings, ok := e.object("settings", "the user's webhooks")
	if !ok {
		return
	}
	changed, odd := false, false
	each := func(v any, change func(any) (any, form)) any {
		out, f := change(v)
		changed, odd = changed || f == changeable, odd || f == unknown
		return out
	}
	notifications := func(of map[string]any) {
		switch n := of["notifications"].(type) {
		case nil:
		case map[string]any:
			if v, there := n["targets"]; there {
				n["targets"] = each(v, disabled("enabled", true))
			}
			if v, there := n["webhook_url"]; there {
				n["webhook_url"] = each(v, blank)
			}
		default:
			odd = odd || !falsy(n)
		}
	}
	notifications(settings)
	switch ui := settings["ui"].(type) {
	case nil:
	case map[string]any:
		notifications(ui)
	default:
		odd = odd || !falsy(ui)
	}
	if changed {
		e.setJSON("settings", settings, "notifications of the user are not sent")
	}
	if odd {
		e.left("settings", "the user's webhooks are of an unknown form")
	}
}

// settingRule changes the value of one setting.
type settingRule struct {
	key    string
	note   string
	change func(any) (any, form)
}

func settingRules() []settingRule {
	return []settingRule{
		{"events.webhooks", "the webhooks are not called", disabled("enabled", true)},
		{"webhook_url", "the webhook is not called", blank},
		{"ui.enable_user_webhooks", "webhooks of users are not called", no},
		{"tool_server.connections", "the tool servers are not asked", toolServers},
		{"terminal_server.connections", "the terminal servers are not asked", disabled("enabled", true)},
	}
}

// setting is a row of config: a key and its value.
func setting(e *edit) {
	for _, s := range settingRules() {
		if e.get("key") != s.key {
			continue
		}
		v, ok := e.document("value")
		if !ok {
			e.left("value", s.key+" is of an unknown form")
			continue
		}
		switch v, f := s.change(v); f {
		case changeable:
			e.setJSON("value", v, s.note)
		case unknown:
			e.left("value", s.key+" is of an unknown form")
		}
	}
}

// nestedSettings is the one row of config that earlier releases have: the parts
// of a key are the names of objects in each other.
func nestedSettings(e *edit) {
	data, ok := e.object("data", "the settings")
	if !ok {
		return
	}
	var done, odd []string
	for _, s := range settingRules() {
		in, name := data, s.key
		for {
			first, rest, more := strings.Cut(name, ".")
			if !more {
				break
			}
			in, _ = in[first].(map[string]any) // nil holds nothing
			name = rest
		}
		v, there := in[name]
		if !there {
			continue
		}
		switch v, f := s.change(v); f {
		case changeable:
			in[name] = v
			done = append(done, s.key)
		case unknown:
			odd = append(odd, s.key)
		}
	}
	if len(done) > 0 {
		e.setJSON("data", data, "silenced: "+strings.Join(done, ", "))
	}
	if len(odd) > 0 {
		e.left("data", "of an unknown form: "+strings.Join(odd, ", "))
	}
}
