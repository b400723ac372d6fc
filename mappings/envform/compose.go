package envform

import (
	"fmt"
	"strings"

	"gopkg.in/yaml.v3"
)

// HostData is the variable that a Compose override takes the data folder's place
// on the host from.
const HostData = "OPEN_WEBUI_DATA"

// compose writes an override: the service of that name becomes the primary, and a
// second one beside it holds the others.
func (w *writer) compose() error {
	shared := mapping()
	for _, name := range w.names {
		v := "${" + name + ":?set it in .env}"
		if w.shown(name) {
			v = strings.ReplaceAll(w.value(name), "$", "$$")
		}
		shared.Content = append(shared.Content, plain(name), quoted(v))
	}
	shared.Anchor = "open-webui"
	environment := func(migrate string) *yaml.Node {
		return mapping(pair{"<<", &yaml.Node{Kind: yaml.AliasNode, Value: shared.Anchor, Alias: shared}, ""}, pair{migrations, quoted(migrate), ""})
	}
	volumes := list(quoted("${" + HostData + ":?the data folder on this host}:" + strings.ReplaceAll(w.DataDir, "$", "$$")))
	services := mapping(pair{w.Name, mapping(
		pair{"image", quoted(w.Image), "pinned: the database has the schema of this release. Update afterwards, on its own."},
		pair{"environment", environment("true"), "the primary: the only one that migrates the database at its start"},
		pair{"volumes", volumes, ""}), ""})
	if w.others() > 0 {
		services.Content = append(services.Content, mapping(pair{w.Name + "-replica", mapping(
			pair{"image", quoted(w.Image), ""},
			pair{"environment", environment("false"), ""},
			pair{"volumes", volumes, ""},
			pair{"restart", plain("unless-stopped"), ""},
			pair{"depends_on", mapping(pair{w.Name, mapping(pair{"condition", plain("service_healthy"), ""}), ""}), ""},
			pair{"deploy", mapping(pair{"replicas", number(fmt.Sprint(w.others())), ""}), ""}), ""}).Content...)
		w.note("the load balancer in front of %s and %s-replica is yours to add", w.Name, w.Name)
	}
	head := []string{"Written by outgrow env: docker compose -f YOURS.yml -f THIS.yml up -d"}
	if len(w.result.Secrets) > 0 {
		head = append(head, "Secrets come from .env beside it, in single quotes: NAME='value'. Its owner alone may read it.")
	}
	text, err := write(head, mapping(pair{"x-open-webui", shared, ""}, pair{"services", services, ""}))
	w.result.Text = text
	return err
}
