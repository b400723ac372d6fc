// Package s3 reads the files that Open WebUI keeps in a bucket of S3 or of a
// server that speaks its protocol. Reader and writer share it.
//
// The client is set up as Open WebUI 0.12.4 sets up its own (boto3, in
// open_webui/storage/provider.py): with S3_ENDPOINT_URL the bucket stands in the
// path unless S3_ADDRESSING_STYLE is virtual, without it in the host's name
// where that can be; without S3_REGION_NAME the region is that of the default
// chain, else us-east-1; without keys the credentials are those of the default
// chain (environment, profile, the role of the machine).
//
// # Digests
//
// Of an object S3 keeps an ETag and, where they were sent or the server adds
// them, checksums.
//
// A checksum counts when it is that of the whole content: those of a multipart
// upload are often digests of its parts' digests ("…-3", type COMPOSITE).
//
// The ETag of an object that was stored in one request is the MD5 of its
// content, but only where it is not encrypted by a key of KMS or of the
// customer, and not at every vendor. A listing does not tell of encryption, so
// what [Bucket.List] gives has no digests. [Bucket.Head] does tell: it gives the
// ETag as MD5 when the object is not encrypted so, and the server is AWS or has
// shown that its ETags are MD5s: the first small object that is asked for is
// read once and compared.
//
// [Bucket.Open] verifies what it reads against a checksum of the whole, where
// the server keeps one.
package s3

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"outgrow/mappings/env"
)

// MaxKey is the longest key, in bytes, with its prefix. Source: Amazon S3 User
// Guide, "Naming Amazon S3 objects".
const MaxKey = 1024

// Tag names, in the order of Open WebUI's routers/files.py.
const (
	TagEmail    = "OpenWebUI-User-Email"
	TagUserID   = "OpenWebUI-User-Id"
	TagUserName = "OpenWebUI-User-Name"
	TagFileID   = "OpenWebUI-File-Id"
)

// maxTag is how many characters the value of a tag may have. Source: Amazon S3
// User Guide, "Categorizing your objects using tags".
const maxTag = 256

var notInTag = regexp.MustCompile(`[^a-zA-Z0-9 äöüÄÖÜß+\-=._:/@]`)

// TagText is text as Open WebUI writes it into a tag: what is not in its list of
// characters is left out (provider.py, sanitize_tag_value). It is cut to what
// S3 takes, where Open WebUI's upload would fail.
func TagText(s string) string {
	r := []rune(notInTag.ReplaceAllString(s, ""))
	return string(r[:min(len(r), maxTag)])
}

// Tagging is the value of the header x-amz-tagging, "" for no tags.
func Tagging(tags map[string]string) string {
	v := url.Values{}
	for k, text := range tags {
		v.Set(TagText(k), TagText(text))
	}
	// A + is a space in a form, and a + in a header of S3.
	return strings.ReplaceAll(v.Encode(), "+", "%20")
}

// Describe tells in a few words what the variables name, without a secret.
func Describe(cfg env.S3Config) string {
	at := "AWS"
	if u, err := url.Parse(cfg.Endpoint); err == nil && u.Host != "" {
		at = u.Host
	}
	return fmt.Sprintf("s3://%s/%s at %s", cfg.Bucket, cfg.Prefix, at)
}

// Fingerprint tells two places apart by bucket and prefix.
func Fingerprint(cfg env.S3Config) string { return "s3:" + cfg.Bucket + "/" + cfg.Prefix }
