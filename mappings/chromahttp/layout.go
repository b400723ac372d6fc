package chromahttp

import (
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"sync"

	"outgrow/mappings/env"
)

// Cosine is the distance of every collection that Open WebUI makes.
const Cosine = "cosine"

// nameForm is what the server takes for a collection's name of 3 to 512 bytes.
var nameForm = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]+[a-zA-Z0-9]$`)

// NameProblem says why the server refuses a collection's name, "" when it takes
// it.
func NameProblem(name string) string {
	switch {
	case len(name) > 512 || !nameForm.MatchString(name):
		return "Chroma's names have 3 to 512 letters, digits, dots, underscores and hyphens, and a letter or digit at both ends"
	case strings.Contains(name, ".."):
		return "Chroma's names have no two dots in a row"
	}
	if a, err := netip.ParseAddr(name); err == nil && a.Is4() {
		return "Chroma's names are no IP address"
	}
	return ""
}

// ownNames are the names that Open WebUI gives to collections; only callers of
// its API name others.
var ownNames = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(knowledge-bases|[0-9a-f]{63,64}|web-search-[0-9a-f-]{36}-[0-9a-f]{1,15}|(file-|user-memory-)?[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})$`)
})

// IsOpenWebUI reports whether Open WebUI itself names collections like this one.
func IsOpenWebUI(name string) bool { return ownNames().MatchString(name) }

// IDSpace names the id space of a collection: ids are a collection's own.
func IDSpace(_ env.ChromaConfig, unit string) string { return unit }

// Describe tells the store in a few words, without what may be secret.
func Describe(cfg env.ChromaConfig) string {
	where := APIURL(cfg)
	if u, err := url.Parse(where); err == nil {
		where = u.Host
	}
	out := "Chroma at " + where
	if cfg.Tenant != "default_tenant" || cfg.Database != "default_database" {
		out += ", " + cfg.Tenant + "/" + cfg.Database
	}
	return out
}
