package env

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// What Pinecone takes (its API reference of 2025-10, "Create an index"): names
// of indexes, metrics and clouds.
var (
	pineconeName    = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,43}[a-z0-9])?$`)
	pineconeMetrics = []string{"cosine", "euclidean", "dotproduct"}
	pineconeClouds  = []string{"aws", "gcp", "azure"}
)

// maxPineconeDimension is the most elements that a dense vector may have.
const maxPineconeDimension = 20_000

// pinecone reads the PINECONE_* variables. Five of them must not be empty: Open
// WebUI refuses to start otherwise.
func (l *loader) pinecone(p *PineconeConfig) {
	p.APIKey = Secret(l.needed("PINECONE_API_KEY", "", "give the API key of the project that holds the index"))
	p.Environment = l.needed("PINECONE_ENVIRONMENT", "", "give the region of the index, such as us-east-1")
	p.Index = l.needed("PINECONE_INDEX_NAME", "open-webui-index", "give the name of the index, or remove it for open-webui-index")
	if p.Index != "" && !pineconeName.MatchString(p.Index) {
		l.fail("PINECONE_INDEX_NAME", fmt.Sprintf("%q is no name that Pinecone takes", p.Index), "use 1 to 45 lower-case letters, digits and hyphens, neither end a hyphen")
	}
	p.Cloud = l.needed("PINECONE_CLOUD", "aws", "write "+strings.Join(pineconeClouds, ", ")+", or remove it for aws")
	if p.Cloud != "" && !slices.Contains(pineconeClouds, p.Cloud) {
		l.fail("PINECONE_CLOUD", fmt.Sprintf("Pinecone has no cloud %q", p.Cloud), "write "+strings.Join(pineconeClouds, ", "))
	}
	p.Dimension = 1536
	if s, ok := l.vars["PINECONE_DIMENSION"]; ok {
		n, err := strconv.Atoi(strings.TrimSpace(s))
		if err != nil || n < 1 || n > maxPineconeDimension {
			l.fail("PINECONE_DIMENSION", fmt.Sprintf("%q is not a number of dimensions", s), "write the dimension of the embedding model, such as 1536")
		}
		p.Dimension = n
	}
	p.Metric = "cosine"
	if s, ok := l.vars["PINECONE_METRIC"]; ok {
		p.Metric = strings.ToLower(s)
		switch {
		case !slices.Contains(pineconeMetrics, p.Metric):
			l.fail("PINECONE_METRIC", fmt.Sprintf("Pinecone has no metric %q", s), "write "+strings.Join(pineconeMetrics, ", "))
		case p.Metric != s:
			l.warn("PINECONE_METRIC", fmt.Sprintf("%q is refused by Pinecone when Open WebUI makes the index", s), "write "+p.Metric)
		}
	}
	l.pineconeController(p)
}

// pineconeController reads a variable of Pinecone's own clients: the address of
// the control plane.
func (l *loader) pineconeController(p *PineconeConfig) {
	const name = "PINECONE_CONTROLLER_HOST"
	s := strings.TrimSpace(l.vars[name])
	if s == "" {
		return
	}
	if !strings.Contains(s, "://") {
		s = "https://" + s
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		l.fail(name, "is not an address", "write https://HOST, or remove it")
		return
	}
	if u.Scheme == "http" {
		l.warn(name, "begins with http://: the API key goes over the network in the clear", "write https://, unless that is a proxy on this machine")
	}
	p.Controller = s
}

// needed gives a variable that may not be empty.
func (l *loader) needed(name, def, fix string) string {
	v, ok := l.vars[name]
	switch {
	case !ok && def != "":
		return def
	case v == "":
		l.fail(name, "is missing: Open WebUI refuses to start", fix)
	}
	return v
}
