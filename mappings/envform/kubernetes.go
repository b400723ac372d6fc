package envform

import (
	"fmt"

	"gopkg.in/yaml.v3"
)

// SecretName is the name of the Secret that holds the secrets.
func (o Options) SecretName() string { return o.Name + "-secrets" }

// kubernetes writes a Secret, a ConfigMap, a Deployment of one, the primary, and
// one of the others. Both carry the label app, which a Service selects.
func (w *writer) kubernetes() error {
	var docs []*yaml.Node
	config, secret := mapping(), mapping()
	var refs []*yaml.Node
	hidden := false
	for _, name := range w.names {
		if env := w.hides(name); !env {
			config.Content = append(config.Content, plain(name), quoted(w.value(name)))
			continue
		}
		hidden = true
		if w.WithSecrets {
			secret.Content = append(secret.Content, plain(name), quoted(w.value(name)))
		}
		refs = append(refs, mapping(pair{"name", plain(name), ""}, pair{"valueFrom", w.secretRef(name), ""}))
	}
	head := []string{"Written by outgrow env. A Service that selects app=" + w.Name + " reaches all instances."}
	switch {
	case hidden && w.WithSecrets:
		docs = append(docs, mapping(pair{"apiVersion", plain("v1"), ""}, pair{"kind", plain("Secret"), ""}, w.metadata(w.SecretName()), pair{"stringData", secret, ""}))
	case hidden:
		head = append(head, "The Secret "+w.SecretName()+" is not in it: pipe the same with --with-secrets into kubectl apply -f -.")
	}
	docs = append(docs, mapping(pair{"apiVersion", plain("v1"), ""}, pair{"kind", plain("ConfigMap"), ""}, w.metadata(w.Name+"-env"), pair{"data", config, ""}))
	docs = append(docs, w.deployment(w.Name+"-primary", 1, "true", refs))
	if w.others() > 0 {
		docs = append(docs, w.deployment(w.Name, w.others(), "false", refs))
		w.note("the claim %s must be ReadWriteMany: all instances mount it (uploads without an object store, and cache/ always)", w.Claim)
	}
	text, err := write(head, docs...)
	w.result.Text = text
	return err
}

// hides reports whether a variable belongs in a Secret, written or not.
func (w *writer) hides(name string) bool {
	o := *w
	o.WithSecrets = false
	return !o.shown(name)
}

func (w *writer) secretRef(name string) *yaml.Node {
	return mapping(pair{"secretKeyRef", mapping(pair{"name", plain(w.SecretName()), ""}, pair{"key", plain(name), ""}), ""})
}

func (w *writer) metadata(name string) pair {
	return pair{"metadata", mapping(pair{"name", plain(name), ""}, pair{"labels", mapping(pair{"app", plain(w.Name), ""}), ""}), ""}
}

func (w *writer) deployment(name string, replicas int, migrate string, refs []*yaml.Node) *yaml.Node {
	labels := mapping(pair{"app", plain(w.Name), ""}, pair{"instance", plain(name), ""})
	env := append(refs[:len(refs):len(refs)], mapping(pair{"name", plain(migrations), ""}, pair{"value", quoted(migrate), ""}))
	http := mapping(pair{"httpGet", mapping(pair{"path", plain("/health"), ""}, pair{"port", number("8080"), ""}), ""})
	container := mapping(
		pair{"name", plain("open-webui"), ""},
		pair{"image", quoted(w.Image), "pinned: the database has the schema of this release. Update afterwards, on its own."},
		pair{"ports", list(mapping(pair{"containerPort", number("8080"), ""})), ""},
		pair{"envFrom", list(mapping(pair{"configMapRef", mapping(pair{"name", plain(w.Name + "-env"), ""}), ""})), ""},
		pair{"env", list(env...), ""},
		pair{"readinessProbe", http, ""},
		pair{"volumeMounts", list(mapping(pair{"name", plain("data"), ""}, pair{"mountPath", quoted(w.DataDir), ""})), ""})
	pod := mapping(
		pair{"enableServiceLinks", number("false"), ""},
		pair{"containers", list(container), ""},
		pair{"volumes", list(mapping(pair{"name", plain("data"), ""}, pair{"persistentVolumeClaim", mapping(pair{"claimName", plain(w.Claim), ""}), ""})), ""})
	spec := mapping(
		pair{"replicas", number(fmt.Sprint(replicas)), ""},
		pair{"selector", mapping(pair{"matchLabels", labels, ""}), ""},
		pair{"template", mapping(pair{"metadata", mapping(pair{"labels", labels, ""}), ""}, pair{"spec", pod, ""}), ""})
	if migrate == "true" {
		spec.Content = append(mapping(pair{"strategy", mapping(pair{"type", plain("Recreate"), ""}), "never two that migrate"}).Content, spec.Content...)
	}
	return mapping(pair{"apiVersion", plain("apps/v1"), ""}, pair{"kind", plain("Deployment"), ""}, w.metadata(name), pair{"spec", spec, ""})
}
