package capture

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"outgrow/mappings/env"
	"outgrow/pipeline"
)

// object is what of the Kubernetes API is of use here.
type object struct {
	Kind     string `json:"kind"`
	Metadata struct {
		Name      string `json:"name"`
		Namespace string `json:"namespace"`
	} `json:"metadata"`
	Items      []object          `json:"items"`
	Data       map[string]string `json:"data"`
	StringData map[string]string `json:"stringData"`
	Spec       spec              `json:"spec"`
}

// spec joins what workloads, claims and volumes have under that name.
type spec struct {
	podSpec
	Replicas *int `json:"replicas"`
	Template struct {
		Spec podSpec `json:"spec"`
	} `json:"template"`
	VolumeClaimTemplates []object `json:"volumeClaimTemplates"`
	AccessModes          []string `json:"accessModes"` // of a claim or a volume
	VolumeName           string   `json:"volumeName"`
	place                         // of a persistent volume
}

// place is where a volume lies.
type place struct {
	HostPath *struct {
		Path string `json:"path"`
	} `json:"hostPath"`
	Local *struct {
		Path string `json:"path"`
	} `json:"local"`
	NFS *struct {
		Server string `json:"server"`
		Path   string `json:"path"`
	} `json:"nfs"`
}

type podSpec struct {
	NodeName        string          `json:"nodeName"`
	Containers      []podContainer  `json:"containers"`
	Volumes         []volume        `json:"volumes"`
	SecurityContext securityContext `json:"securityContext"`
}

type securityContext struct {
	RunAsUser  *int64 `json:"runAsUser"`
	RunAsGroup *int64 `json:"runAsGroup"`
	FSGroup    *int64 `json:"fsGroup"`
}

type volume struct {
	Name string `json:"name"`
	place
	Claim *struct {
		Name string `json:"claimName"`
	} `json:"persistentVolumeClaim"`
	EmptyDir  json.RawMessage `json:"emptyDir"`
	ConfigMap json.RawMessage `json:"configMap"`
	Secret    json.RawMessage `json:"secret"`
}

type podContainer struct {
	Name            string          `json:"name"`
	Image           string          `json:"image"`
	WorkingDir      string          `json:"workingDir"`
	SecurityContext securityContext `json:"securityContext"`
	Env             []struct {
		Name      string  `json:"name"`
		Value     string  `json:"value"`
		ValueFrom *source `json:"valueFrom"`
	} `json:"env"`
	EnvFrom []struct {
		Prefix string     `json:"prefix"`
		Map    *reference `json:"configMapRef"`
		Secret *reference `json:"secretRef"`
	} `json:"envFrom"`
	VolumeMounts []struct {
		Name     string `json:"name"`
		Path     string `json:"mountPath"`
		SubPath  string `json:"subPath"`
		ReadOnly bool   `json:"readOnly"`
	} `json:"volumeMounts"`
}

type reference struct {
	Name     string `json:"name"`
	Key      string `json:"key"`
	Optional bool   `json:"optional"`
}

type source struct {
	Map    *reference `json:"configMapKeyRef"`
	Secret *reference `json:"secretKeyRef"`
}

// cluster is what was saved, flat, by kind, namespace and name.
type cluster map[[3]string]object

// get finds an object of a namespace. Text without namespaces (a manifest) has
// one: the empty.
func (c cluster) get(kind, namespace, name string) (object, bool) {
	o, ok := c[[3]string{kind, namespace, name}]
	return o, ok
}

const kubectlHint = "save it again: kubectl get deploy,sts,cm,secret,pvc -n NAMESPACE -o json > workloads.json"

func kubernetes(text []byte, name string) (App, error) {
	all, err := objects(text)
	if err != nil {
		return App{}, pipeline.Usage("reading kubectl's output", err, kubectlHint)
	}
	c := cluster{}
	for _, o := range all {
		c[[3]string{o.Kind, o.Metadata.Namespace, o.Metadata.Name}] = o
	}
	var apps []App
	for _, o := range all {
		switch o.Kind {
		case "Deployment", "StatefulSet", "DaemonSet":
			apps = append(apps, c.apps(o, o.Spec.Template.Spec)...)
		case "Pod":
			apps = append(apps, c.apps(o, o.Spec.podSpec)...)
		}
	}
	a, err := pick(apps, name, "workload")
	if err != nil {
		return App{}, err
	}
	return a.settle()
}

// objects reads JSON or YAML of several documents, lists taken apart.
func objects(text []byte) ([]object, error) {
	var docs [][]byte
	if text[0] == '{' {
		docs = [][]byte{text}
	} else {
		dec := yaml.NewDecoder(bytes.NewReader(text))
		for {
			var doc map[string]any
			err := dec.Decode(&doc)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, errors.New("it is not YAML")
			}
			body, err := json.Marshal(doc)
			if err != nil {
				return nil, errors.New("it is YAML that no Kubernetes object can be")
			}
			docs = append(docs, body)
		}
	}
	var out []object
	for _, doc := range docs {
		var o object
		if err := decode(doc, &o); err != nil {
			return nil, err
		}
		if len(o.Items) > 0 || strings.HasSuffix(o.Kind, "List") {
			out = append(out, o.Items...)
			continue
		}
		out = append(out, o)
	}
	return out, nil
}

// apps makes one of each container of a workload.
func (c cluster) apps(o object, pod podSpec) (out []App) {
	kind, ns := strings.ToLower(o.Kind), o.Metadata.Namespace
	flag := ""
	if ns != "" {
		flag = " -n " + ns
	}
	for _, con := range pod.Containers {
		a := App{From: "kubernetes", Name: kind + "/" + o.Metadata.Name, Image: con.Image, WorkDir: con.WorkingDir, Vars: map[string]env.Secret{}}
		if len(pod.Containers) > 1 {
			a.Name += "/" + con.Name
		}
		if a.WorkDir == "" {
			a.WorkDir = workDir
		}
		a.User = uid(con.SecurityContext, pod.SecurityContext)
		c.variables(&a, con, ns)
		c.mounts(&a, o, pod, con)
		a.likely = looks(a.Image, a.Vars)
		workload, container := kind+"/"+o.Metadata.Name, con.Name
		a.Stop, a.Restart = "kubectl scale"+flag+" "+workload+" --replicas=0", "the "+o.Kind+"'s controller"
		switch {
		case o.Kind == "Pod":
			a.Stop, a.Restart = "kubectl delete"+flag+" "+workload, ""
		case o.Kind == "DaemonSet":
			a.Stop = "kubectl delete" + flag + " " + workload
		case o.Spec.Replicas != nil && *o.Spec.Replicas > 1:
			a.Notes = append(a.Notes, fmt.Sprintf("%d replicas: all of them must be stopped", *o.Spec.Replicas))
		}
		exec := fmt.Sprintf("kubectl exec%s %s -c %s -- ", flag, workload, container)
		a.copyFile = func(from, to string) string { return exec + "cat " + from + " > " + to }
		a.copyDir = func(from, to string) string {
			return "mkdir " + to + " && " + exec + "tar -C " + from + " -cf - . | tar -C " + to + " -xf -"
		}
		out = append(out, a)
	}
	return out
}

func uid(scopes ...securityContext) string {
	user, group := "", ""
	for _, s := range scopes {
		if user == "" && s.RunAsUser != nil {
			user = fmt.Sprint(*s.RunAsUser)
		}
		if group == "" && s.RunAsGroup != nil {
			group = fmt.Sprint(*s.RunAsGroup)
		}
		if group == "" && s.FSGroup != nil {
			group = fmt.Sprint(*s.FSGroup)
		}
	}
	if user != "" && group != "" {
		return user + ":" + group
	}
	return user
}

// variables reads env and envFrom in the order in which they win.
func (c cluster) variables(a *App, con podContainer, ns string) {
	for _, from := range con.EnvFrom {
		for kind, ref := range map[string]*reference{"ConfigMap": from.Map, "Secret": from.Secret} {
			if ref == nil {
				continue
			}
			values, ok := c.values(kind, ns, ref.Name)
			if !ok && !ref.Optional {
				a.missing = append(a.missing, kind+" "+ref.Name)
			}
			for k, v := range values {
				a.Vars[from.Prefix+k] = env.Secret(v)
			}
		}
	}
	for _, e := range con.Env {
		if e.ValueFrom == nil {
			a.Vars[e.Name] = env.Secret(references(e.Value, a.Vars))
			continue
		}
		kind, ref := "ConfigMap", e.ValueFrom.Map
		if ref == nil {
			kind, ref = "Secret", e.ValueFrom.Secret
		}
		if ref == nil {
			if !machine().MatchString(e.Name) {
				a.Notes = append(a.Notes, e.Name+" is given to each pod by Kubernetes itself, and left out")
			}
			continue
		}
		values, _ := c.values(kind, ns, ref.Name)
		v, ok := values[ref.Key]
		switch {
		case ok:
			a.Vars[e.Name] = env.Secret(v)
		case !ref.Optional:
			a.missing = append(a.missing, fmt.Sprintf("%s (key %s of %s %s)", e.Name, ref.Key, kind, ref.Name))
		}
	}
}

// values are those of a ConfigMap or a Secret.
func (c cluster) values(kind, ns, name string) (map[string]string, bool) {
	o, ok := c.get(kind, ns, name)
	if !ok {
		return nil, false
	}
	out := map[string]string{}
	for k, v := range o.Data {
		if kind == "Secret" {
			raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(v))
			if err != nil {
				continue
			}
			v = string(raw)
		}
		out[k] = v
	}
	for k, v := range o.StringData {
		out[k] = v
	}
	return out, true
}

// references replaces $(NAME) by what is known so far; $$(NAME) is $(NAME).
func references(v string, vars map[string]env.Secret) string {
	var b strings.Builder
	for i := 0; i < len(v); i++ {
		if v[i] != '$' || i+1 == len(v) {
			b.WriteByte(v[i])
			continue
		}
		if v[i+1] == '$' {
			b.WriteByte('$')
			i++
			continue
		}
		end := strings.IndexByte(v[i:], ')')
		if v[i+1] == '(' && end > 0 {
			if got, ok := vars[v[i+2:i+end]]; ok {
				b.WriteString(got.Reveal())
				i += end
				continue
			}
		}
		b.WriteByte('$')
	}
	return b.String()
}

// mounts tells where the container's folders lie.
func (c cluster) mounts(a *App, o object, pod podSpec, con podContainer) {
	ns := o.Metadata.Namespace
	for _, m := range con.VolumeMounts {
		out := Mount{Path: m.Path, Kind: "volume", Name: m.Name, ReadOnly: m.ReadOnly}
		sub := ""
		if m.SubPath != "" {
			sub = "/" + strings.Trim(m.SubPath, "/")
		}
		claim := ""
		for _, t := range o.Spec.VolumeClaimTemplates {
			if t.Metadata.Name == m.Name {
				claim = m.Name + "-" + o.Metadata.Name + "-0"
			}
		}
		for _, v := range pod.Volumes {
			if v.Name != m.Name {
				continue
			}
			out.at(v.place, sub)
			switch {
			case v.Claim != nil:
				claim = v.Claim.Name
			case v.EmptyDir != nil:
				out.Kind, out.Note = "emptyDir", "it goes with the pod"
			case v.ConfigMap != nil || v.Secret != nil:
				out.Kind = "configMap or secret"
			}
		}
		if claim != "" {
			out.Kind, out.Name = "claim", claim
			c.claim(&out, ns, claim, sub)
		}
		a.Mounts = append(a.Mounts, out)
	}
}

// at fills in a place that is named directly.
func (m *Mount) at(p place, sub string) {
	switch {
	case p.HostPath != nil:
		m.Kind, m.Host, m.Note = "hostPath", p.HostPath.Path+sub, "on the node that the pod runs on"
	case p.Local != nil:
		m.Kind, m.Host, m.Note = "local", p.Local.Path+sub, "on the node that the volume is bound to"
	case p.NFS != nil:
		m.Kind, m.Name, m.Note = "nfs", p.NFS.Server+":"+p.NFS.Path+sub, "mount it here, or run outgrow where it is mounted"
	}
}

// claim tells of a PersistentVolumeClaim and, if it was saved too, its volume.
func (c cluster) claim(m *Mount, ns, name, sub string) {
	pvc, ok := c.get("PersistentVolumeClaim", ns, name)
	if !ok {
		m.Note = "the claim is not in the input; run outgrow in a Job that mounts it"
		return
	}
	m.Note = "run outgrow in a Job that mounts the claim"
	if sub != "" {
		m.Note += " with subPath " + strings.TrimPrefix(sub, "/")
	}
	if slices.Contains(pvc.Spec.AccessModes, "ReadWriteOnce") && !slices.Contains(pvc.Spec.AccessModes, "ReadWriteMany") {
		m.Note += "; it is ReadWriteOnce: the Job must run on the app's node (kubectl get pod -o wide), and several instances cannot share it"
	}
	if slices.Contains(pvc.Spec.AccessModes, "ReadWriteOncePod") {
		m.Note += "; it is ReadWriteOncePod: the Job gets it only after the app was stopped"
	}
	if pv, ok := c.get("PersistentVolume", "", pvc.Spec.VolumeName); ok {
		var at Mount
		at.at(pv.Spec.place, sub)
		if at.Kind != "" {
			m.Host, m.Note = at.Host, m.Note+"; its volume is "+at.Kind+" "+strings.TrimSpace(at.Host+" "+at.Name)
		}
	}
}
