package envform

import (
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"outgrow/mappings/env"
)

// chartSets are variables that the chart itself puts into the container: a second
// entry of the same name is a duplicate, which Kubernetes warns of and Helm's
// merge trips over. The first four are set through the chart's own values.
var chartSets = []string{"ENABLE_WEBSOCKET_SUPPORT", "WEBSOCKET_MANAGER", "REDIS_URL", "WEBSOCKET_REDIS_URL",
	"OLLAMA_BASE_URLS", "ENABLE_OLLAMA_API", "OPENAI_API_BASE_URL", "OPENAI_API_BASE_URLS", "OPENAI_API_KEY", "OPENAI_API_KEYS", "ENABLE_OPENAI_API"}

// helm writes values of the official chart. The provider stays "local", whatever
// STORAGE_PROVIDER says: with another one the chart no longer renders its claim,
// and an upgrade deletes what is no longer rendered.
func (w *writer) helm() error {
	extra := mapping()
	var left []string
	secret := mapping()
	for _, name := range w.names {
		if w.WithSecrets && w.hides(name) {
			secret.Content = append(secret.Content, plain(name), quoted(w.value(name)))
		}
		switch i := slices.Index(chartSets, name); {
		case i >= 4:
			left = append(left, name)
		case i >= 0:
		case w.hides(name):
			extra.Content = append(extra.Content, plain(name), mapping(pair{"valueFrom", w.secretRef(name), ""}))
		default:
			// Kubernetes takes $(NAME) for a reference, and $$ for $.
			extra.Content = append(extra.Content, plain(name), quoted(untemplated(strings.ReplaceAll(w.value(name), "$", "$$"))))
		}
	}
	migrate, comment := "true", ""
	if w.Replicas > 1 {
		migrate = "false"
		comment = "to migrate after an update: helm upgrade … --set replicaCount=1 --set-string extraEnvVars." + migrations + "=true, then back"
	}
	extra.Content = append(extra.Content, mapping(pair{migrations, quoted(migrate), comment}).Content...)
	image, tag := w.Image, ""
	if i := strings.LastIndexByte(image, ':'); i > strings.LastIndexByte(image, '/') {
		image, tag = image[:i], image[i+1:]
	}
	values := mapping(
		pair{"image", mapping(pair{"repository", quoted(image), ""}, pair{"tag", quoted(tag), ""}), "pinned: the database has the schema of this release. Update afterwards, on its own."},
		pair{"replicaCount", number(fmt.Sprint(max(w.Replicas, 1))), ""},
		w.websocket(),
		pair{"persistence", mapping(
			pair{"enabled", number("true"), ""},
			pair{"provider", plain("local"), "local whatever STORAGE_PROVIDER is: with another one the chart stops rendering its claim"},
			pair{"existingClaim", plain(w.Claim), "the chart stops rendering a claim that is named here: annotate it first (above)"},
			pair{"accessModes", list(plain("ReadWriteMany")), "of the claim itself: all instances mount it"},
			pair{"annotations", mapping(pair{"helm.sh/resource-policy", plain("keep"), ""}), ""}), ""},
		pair{"extraEnvVars", extra, ""})
	if len(secret.Content) > 0 {
		values.Content = append(values.Content, mapping(pair{"extraResources", list(mapping(pair{"apiVersion", plain("v1"), ""}, pair{"kind", plain("Secret"), ""},
			pair{"metadata", mapping(pair{"name", plain(w.SecretName()), ""}), ""}, pair{"stringData", untemplatedAll(secret), ""})), ""}).Content...)
	}
	head := []string{"Written by outgrow env: values of the chart open-webui/open-webui.",
		"Before the upgrade, or it deletes the data volume: kubectl annotate pvc " + w.Claim + " helm.sh/resource-policy=keep"}
	if !w.WithSecrets && len(w.result.Secrets) > 0 {
		head = append(head, "The Secret "+w.SecretName()+" holds the secrets; outgrow env --format kubernetes --with-secrets writes it.")
	}
	if len(left) > 0 {
		w.note("left out, as the chart sets them itself: %s. After the first start the database's rows win over them anyway", strings.Join(left, ", "))
	}
	if w.DataDir != env.DockerDataDir {
		w.note("the chart mounts the data at %s, not at %s", env.DockerDataDir, w.DataDir)
	}
	if url, ok := w.Vars["WEBSOCKET_REDIS_URL"]; ok && url != w.Vars["REDIS_URL"] {
		w.note("the chart gives REDIS_URL and WEBSOCKET_REDIS_URL one value: REDIS_URL's is taken")
	}
	text, err := write(head, values)
	w.result.Text = text
	return err
}

// websocket sets Redis through the chart's own values.
func (w *writer) websocket() pair {
	enabled := "true"
	if v, ok := w.Vars["ENABLE_WEBSOCKET_SUPPORT"]; ok && !strings.EqualFold(v.Reveal(), "true") {
		enabled = "false"
	}
	pairs := []pair{{"enabled", number(enabled), ""}}
	if _, ok := w.Vars["REDIS_URL"]; ok {
		pairs = append(pairs, pair{"manager", quoted("redis"), ""}, pair{"existingSecret", plain(w.SecretName()), ""}, pair{"existingSecretKey", plain("REDIS_URL"), ""})
	} else {
		pairs = append(pairs, pair{"manager", quoted(""), "no REDIS_URL: right for one instance only"})
	}
	return pair{"websocket", mapping(append(pairs, pair{"redis", mapping(pair{"enabled", number("false"), ""}), "the chart's own Redis"})...), ""}
}

// untemplated keeps Helm from taking a value for a template.
func untemplated(v string) string { return strings.ReplaceAll(v, "{{", `{{ "{{" }}`) }

func untemplatedAll(m *yaml.Node) *yaml.Node {
	for i := 1; i < len(m.Content); i += 2 {
		m.Content[i].Value = untemplated(m.Content[i].Value)
	}
	return m
}
