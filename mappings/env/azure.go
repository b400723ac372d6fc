package env

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"sync"
)

// azureContainer is what Azure takes for a container's name (its REST
// reference, "Naming and referencing containers").
var azureContainer = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^([a-z0-9](-?[a-z0-9]){2,62}|\$root|\$web)$`) })

// blobHost stands between the account and Azure's own domains.
const blobHost = ".blob.core."

// ServiceURL is the endpoint as Open WebUI's client reads it: with https:// when
// it has no scheme, and without a slash at its end.
func (c AzureConfig) ServiceURL() string {
	s := strings.TrimRight(c.Endpoint, "/")
	if s != "" && !strings.HasPrefix(strings.ToLower(s), "http") {
		s = "https://" + s
	}
	return s
}

// Account is the storage account that the endpoint names, as azure-storage-blob
// (Python, 12.x) finds it: before .blob.core., or the path behind localhost and
// 127.0.0.1. "" where it finds none, which it can work with only without a key.
func (c AzureConfig) Account() string {
	u, err := url.Parse(c.ServiceURL())
	if err != nil {
		return ""
	}
	if account, _, ok := strings.Cut(u.Host, blobHost); ok {
		return account
	}
	if strings.HasPrefix(u.Host, "localhost") || strings.HasPrefix(u.Host, "127.0.0.1") {
		return strings.Trim(u.Path, "/")
	}
	return ""
}

// azure reads the AZURE_STORAGE_* variables.
func (l *loader) azure(c *AzureConfig) {
	c.Endpoint = l.vars["AZURE_STORAGE_ENDPOINT"]
	c.Container = l.place("AZURE_STORAGE_CONTAINER_NAME", Azure, "container", "https://")
	if c.Container != "" && !azureContainer().MatchString(c.Container) {
		l.fail("AZURE_STORAGE_CONTAINER_NAME", fmt.Sprintf("%q is not the name of a container", c.Container), "write 3 to 63 lower-case letters, digits and single hyphens")
	}
	c.Key = Secret(strings.TrimSpace(l.vars["AZURE_STORAGE_KEY"]))
	l.azureKey(c.Key.Reveal())
	l.azureEndpoint(c)
}

func (l *loader) azureKey(key string) {
	const name, fix = "AZURE_STORAGE_KEY", "give key1 or key2 of the storage account alone, or remove it for the default credentials"
	_, err := base64.StdEncoding.DecodeString(key)
	switch {
	case strings.Contains(key, "AccountKey=") || strings.Contains(key, ";"):
		l.fail(name, "is a connection string, which Open WebUI does not take", "give only what stands behind AccountKey= in it")
	case strings.Contains(key, "sig="):
		l.fail(name, "is a shared access signature, which Open WebUI does not take", fix)
	case err != nil:
		l.fail(name, "is not base64, so it is not a key", fix)
	}
}

func (l *loader) azureEndpoint(c *AzureConfig) {
	const name = "AZURE_STORAGE_ENDPOINT"
	if c.Endpoint == "" {
		l.fail(name, "is missing, and STORAGE_PROVIDER="+Azure+" needs it", "give https://ACCOUNT.blob.core.windows.net")
		return
	}
	u, err := url.Parse(c.ServiceURL())
	account := c.Account()
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		l.fail(name, "is not an address", "write https://ACCOUNT.blob.core.windows.net")
		return
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		l.fail(name, "holds more than the address, which Open WebUI would write into every file.path", "write it without what stands before @ and after ?")
		return
	case c.Key == "" && u.Scheme != "https":
		l.fail(name, "is not https, which the default credentials need: Open WebUI refuses to start", "give AZURE_STORAGE_KEY, or an https address")
	case c.Key != "" && account == "":
		l.fail(name, fmt.Sprintf("%q does not name the account, and Open WebUI refuses to start: it is looked for before %s, or in the path behind localhost and 127.0.0.1", c.Endpoint, blobHost),
			"write https://ACCOUNT.blob.core.windows.net, or http://127.0.0.1:PORT/ACCOUNT for an emulator")
	case strings.Contains(account, "/"), strings.Contains(u.Host, blobHost) && u.Path != "":
		l.fail(name, fmt.Sprintf("%q goes on after the account", c.Endpoint), "end it with the account; the container is AZURE_STORAGE_CONTAINER_NAME")
	case strings.HasSuffix(c.Endpoint, "/"):
		l.warn(name, "ends with a slash, so file.path gets two in a row; Open WebUI reads them all the same", "write it without, before anything is stored")
	}
	if !strings.HasPrefix(strings.ToLower(c.Endpoint), "http") {
		l.warn(name, "has no scheme, so file.path gets none; Open WebUI takes https", "write https://"+c.Endpoint+", before anything is stored")
	}
}
