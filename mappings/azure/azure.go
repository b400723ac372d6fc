// Package azure reads the files that Open WebUI keeps in a container of Azure
// Blob Storage, or of an emulator of it (Azurite). Reader and writer share it.
//
// The client finds its way as Open WebUI 0.12.4's own does
// (open_webui/storage/provider.py and azure-storage-blob 12): the account's key
// where AZURE_STORAGE_KEY is set, else the default chain (the AZURE_* variables
// of a service principal, a workload's or a managed identity, the Azure CLI).
//
// # Names
//
// Azure takes a backslash in a name for a slash (observed of the service by
// versity/versitygw#845 and Azure/azure-sdk-for-php#557, and of Azurite): what
// Open WebUI has stored as a\b is found as a\b and as a/b, and listed as a/b.
// Open WebUI itself reads back only the first, because it takes what stands
// behind the last slash of file.path. So a listed slash is given as a backslash
// as long as the server finds the same object by it. A container that holds
// folders is thereby read flat.
//
// # Digests
//
// Azure keeps an MD5 with an object: one that the server has verified when the
// object came in one request, else the one that whoever stored it has given, or
// none. A listing gives it. It is of the content as it is stored, whatever its
// Content-Encoding.
//
// # Versions
//
// The version of an object is its ETag; a content is read in that one alone.
package azure

import (
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"strings"

	"outgrow/mappings/env"
)

// Describe tells in a few words what the variables name, without a secret.
func Describe(cfg env.AzureConfig) string {
	u, err := url.Parse(cfg.ServiceURL())
	if err != nil {
		return "azure://" + cfg.Container
	}
	return "azure://" + cfg.Container + " at " + u.Host + strings.TrimRight(u.Path, "/")
}

// Fingerprint tells two places apart by account and container. An account that
// the address does not name is told by a digest of it.
func Fingerprint(cfg env.AzureConfig) string {
	account := cfg.Account()
	if account == "" {
		sum := sha256.Sum256([]byte(strings.ToLower(cfg.ServiceURL())))
		account = hex.EncodeToString(sum[:4])
	}
	return "azure:" + account + "/" + cfg.Container
}

// Emulated reports whether the endpoint is that of an emulator, which takes names
// that the service does not.
func Emulated(cfg env.AzureConfig) bool {
	u, err := url.Parse(cfg.ServiceURL())
	return err == nil && (strings.HasPrefix(u.Host, "localhost") || strings.HasPrefix(u.Host, "127.0.0.1"))
}
