package dependencies

import (
	"cmp"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Reach is how far a host's name holds.
type Reach string

// How far, the nearest first.
const (
	Machine Reach = "machine" // the machine or the container itself
	Network Reach = "network" // a name of Docker's or a cluster's own network
	Private Reach = "private" // a private address or domain
	Public  Reach = "public"
)

var reaches = [...]Reach{Machine, Network, Private, Public}

// scheme begins what is an address as a whole.
var scheme = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9+.-]*://\S+$`)

// keyword finds the host of a PostgreSQL connection string of key=value pairs.
var keyword = regexp.MustCompile(`(?:^|\s)(host|port)\s*=\s*'?([^\s']+)`)

// address takes scheme, host and port out of an address. User, password, path and
// query stay behind: any of them may be a secret.
func address(s string) (proto, host string, ok bool) {
	s = strings.TrimSpace(s)
	if !scheme.MatchString(s) {
		var port string
		for _, m := range keyword.FindAllStringSubmatch(s, -1) {
			if m[1] == "host" {
				host = m[2]
			} else {
				port = m[2]
			}
		}
		if host == "" || !strings.Contains(s, "dbname") && !strings.Contains(s, "user") {
			return "", "", false
		}
		if port != "" {
			host = net.JoinHostPort(host, port)
		}
		return "postgresql", host, true
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || !plainHost().MatchString(u.Host) {
		return "", "", false
	}
	return strings.ToLower(u.Scheme), u.Host, true
}

// plainHost is a host that is no part of a mis-parsed password.
var plainHost = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[\p{L}\p{N}_.,:\[\]-]+$`) })

func join(proto, host string) string {
	if proto == "" {
		return host
	}
	return proto + "://" + host
}

// local are names of the machine that a container runs on.
var local = map[string]bool{"localhost": true, "host.docker.internal": true, "gateway.docker.internal": true, "host.containers.internal": true, "host-gateway": true, "ip6-localhost": true}

// reach judges a host or host:port by its name alone.
func reach(host string) Reach {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if ip, err := netip.ParseAddr(host); err == nil {
		switch {
		case ip.IsLoopback() || ip.IsUnspecified():
			return Machine
		case ip.IsPrivate() || ip.IsLinkLocalUnicast() || netip.MustParsePrefix("100.64.0.0/10").Contains(ip.Unmap()):
			return Private
		}
		return Public
	}
	switch {
	case host == "":
		return ""
	case local[host] || strings.HasSuffix(host, ".localhost"):
		return Machine
	case !strings.Contains(host, "."), strings.HasSuffix(host, ".svc"), strings.HasSuffix(host, ".cluster.local"):
		return Network
	}
	for _, end := range []string{".local", ".internal", ".lan", ".intranet", ".corp", ".home", ".home.arpa", ".private"} {
		if strings.HasSuffix(host, end) {
			return Private
		}
	}
	return Public
}

// notes say what to do about a host, by its reach.
var notes = map[Reach]string{
	Machine: "on another host or in another container this is another machine: give it an address that every instance reaches",
	Network: "a name of Docker's or the cluster's own network: the same name must lead there from every instance",
	Private: "must be reached from every instance",
	Public:  "must be reached from every instance, through its firewall or proxy",
}

func (f *finder) host(where, proto, host string) {
	key, _, _ := strings.Cut(where, " (")
	far := reach(host)
	f.add(Item{Kind: Host, Where: where, What: join(proto, host), Reach: far, Idle: f.idle(key), Note: notes[far]})
	if f.idle(key) {
		return
	}
	_, port, _ := net.SplitHostPort(host)
	switch {
	case far == Public:
	case key == "ollama.base_urls":
		f.add(Item{Kind: Volume, Where: key, What: "Ollama at " + host, Note: "its models are in a volume of its own (.ollama in the home of its image), which is not moved"})
	case key == "openai.api_base_urls" && port == "9099":
		f.add(Item{Kind: Volume, Where: key, What: "Pipelines at " + host, Note: "its pipelines and valves are in a volume of its own (/app/pipelines in its image), which is not moved"})
	}
}

// gate is what must be set for the rows with a prefix to be in use.
type gate struct {
	prefix string
	enable string // a row that must be true
	engine string // a row that must be one of the engines
	values []string
	none   string // the engine that an empty row means
}

// gates, the first that fits a key decides. Engines are matched by the rest of the
// key where no values are given: web.search.searxng_query_url is for searxng.
var gates = [...]gate{
	{"rag.tika_", "", "rag.content_extraction_engine", []string{"tika"}, ""},
	{"rag.docling_", "", "rag.content_extraction_engine", []string{"docling"}, ""},
	{"rag.external_document_loader_", "", "rag.content_extraction_engine", []string{"external"}, ""},
	{"rag.document_intelligence_", "", "rag.content_extraction_engine", []string{"document_intelligence"}, ""},
	{"rag.mineru_", "", "rag.content_extraction_engine", []string{"mineru"}, ""},
	{"rag.paddleocr_vl_", "", "rag.content_extraction_engine", []string{"paddleocr_vl"}, ""},
	{"rag.datalab_marker_", "", "rag.content_extraction_engine", []string{"datalab_marker"}, ""},
	{"rag.mistral_ocr_", "", "rag.content_extraction_engine", []string{"mistral_ocr"}, ""},
	{"rag.ollama.", "", "rag.embedding_engine", []string{"ollama"}, ""},
	{"rag.openai.", "", "rag.embedding_engine", []string{"openai"}, ""},
	{"rag.azure_openai.", "", "rag.embedding_engine", []string{"azure_openai"}, ""},
	{"rag.external_reranker_", "", "rag.reranking_engine", []string{"external"}, ""},
	{"rag.youtube_loader_", "", "", nil, ""},
	{"ollama.", "ollama.enable", "", nil, ""},
	{"openai.", "openai.enable", "", nil, ""},
	{"ldap.", "ldap.enable", "", nil, ""},
	{"image_generation.", "image_generation.enable", "image_generation.engine", nil, "automatic1111"},
	{"images.edit.", "images.edit.enable", "images.edit.engine", nil, "automatic1111"},
	{"audio.stt.", "", "audio.stt.engine", nil, ""},
	{"audio.tts.", "", "audio.tts.engine", nil, ""},
	{"audio.realtime.", "audio.realtime.enabled", "audio.realtime.provider", nil, ""},
	{"code_execution.jupyter.", "code_execution.enable", "code_execution.engine", []string{"jupyter"}, ""},
	{"code_interpreter.jupyter.", "code_interpreter.enable", "code_interpreter.engine", []string{"jupyter"}, ""},
	{"web.search.", "web.search.enable", "web.search.engine", nil, ""},
	{"web.loader.", "", "web.loader.engine", nil, ""},
	{"onedrive.", "onedrive.enable", "", nil, ""},
}

// idle reports whether what a row names is switched off.
func (f *finder) idle(key string) bool {
	for _, g := range gates {
		rest, ok := strings.CutPrefix(key, g.prefix)
		if !ok {
			continue
		}
		if on, known := f.values[g.enable].(bool); known && !on {
			return true
		}
		if g.engine == "" {
			return false
		}
		engine, known := f.values[g.engine].(string)
		if !known {
			return false // an older release, or a row that is missing: take it to be in use
		}
		engine = cmp.Or(engine, g.none)
		if g.values == nil {
			return engine == "" || !strings.HasPrefix(rest, engine)
		}
		return !slices.Contains(g.values, engine)
	}
	return false
}

// ignored are rows of texts for people and for models: an address in them is
// nothing that Open WebUI connects to.
func ignored(key string) bool {
	for _, p := range []string{"ui.", "task.", "models.", "evaluation.", "user.", "subagents."} {
		if strings.HasPrefix(key, p) {
			return true
		}
	}
	return strings.HasSuffix(key, "prompt_template") || strings.HasSuffix(key, ".template") || strings.HasSuffix(key, ".workflow")
}
