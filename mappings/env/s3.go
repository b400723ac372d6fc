package env

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// s3Bucket is what Open WebUI's client (botocore) takes for a bucket's name;
// s3ARN is that of an access point, whose name stands after a colon: one after
// a slash would end the bucket in file.path.
var (
	s3Bucket = regexp.MustCompile(`^[A-Za-z0-9._-]+$`) // of 255 at most
	s3ARN    = regexp.MustCompile(`^arn:[^/\s]+$`)
)

var s3Styles = []string{"auto", "path", "virtual"}

// s3 reads the S3_* variables. What botocore 1.x refuses them with when Open
// WebUI starts was seen by asking it.
func (l *loader) s3(c *S3Config) {
	c.Bucket = l.place("S3_BUCKET_NAME", S3, "bucket", "s3://")
	if c.Bucket != "" && (len(c.Bucket) > 255 || !s3Bucket.MatchString(c.Bucket)) && !s3ARN.MatchString(c.Bucket) {
		l.fail("S3_BUCKET_NAME", fmt.Sprintf("%q is not the name of a bucket", c.Bucket), "give the bucket alone; folders in it are S3_KEY_PREFIX")
	}
	c.Prefix = l.s3Prefix()
	c.Endpoint = l.vars["S3_ENDPOINT_URL"]
	if _, given := l.vars["S3_ENDPOINT_URL"]; given {
		l.httpAddress("S3_ENDPOINT_URL", c.Endpoint, "or remove it for AWS")
	}
	c.Region = l.vars["S3_REGION_NAME"]
	if _, given := l.vars["S3_REGION_NAME"]; given && c.Region == "" && c.Endpoint == "" {
		l.fail("S3_REGION_NAME", "is empty: Open WebUI refuses to start", "give the bucket's region, or remove it")
	}
	c.AddressingStyle = l.vars["S3_ADDRESSING_STYLE"]
	if s, given := l.vars["S3_ADDRESSING_STYLE"]; given && !slices.Contains(s3Styles, s) {
		l.fail("S3_ADDRESSING_STYLE", fmt.Sprintf("%q is none: Open WebUI refuses to start", s), "write one of "+strings.Join(s3Styles, ", ")+", or remove it")
	}
	c.Accelerate = l.isTrue("S3_USE_ACCELERATE_ENDPOINT", false)
	switch {
	case c.Accelerate && c.Endpoint != "":
		l.fail("S3_USE_ACCELERATE_ENDPOINT", "does not go together with S3_ENDPOINT_URL", "remove one of them")
	case c.Accelerate && c.AddressingStyle == "path":
		l.fail("S3_USE_ACCELERATE_ENDPOINT", "does not go together with S3_ADDRESSING_STYLE=path", "remove one of them")
	}
	c.Tagging = l.isTrue("S3_ENABLE_TAGGING", false)
	c.AccessKey, c.SecretKey = Secret(l.vars["S3_ACCESS_KEY_ID"]), Secret(l.vars["S3_SECRET_ACCESS_KEY"])
	const half = "is given without %s: Open WebUI uses neither and takes the default credentials"
	switch {
	case c.AccessKey != "" && c.SecretKey == "":
		l.fail("S3_ACCESS_KEY_ID", fmt.Sprintf(half, "S3_SECRET_ACCESS_KEY"), "give both, or none for the default credentials")
	case c.AccessKey == "" && c.SecretKey != "":
		l.fail("S3_SECRET_ACCESS_KEY", fmt.Sprintf(half, "S3_ACCESS_KEY_ID"), "give both, or none for the default credentials")
	}
}

// s3Prefix reads S3_KEY_PREFIX, which Open WebUI joins to a name as a folder.
// It cannot read what it wrote when the key begins with a slash or holds two in
// a row: it looks for "//" to find where the bucket begins.
func (l *loader) s3Prefix() string {
	const name = "S3_KEY_PREFIX"
	p := l.vars[name]
	switch {
	case p == "":
		return ""
	case strings.HasPrefix(p, "/"):
		l.fail(name, fmt.Sprintf("%q begins with a slash: Open WebUI cannot read back what it stores there", p), "write it without: "+strings.Trim(p, "/"))
	case strings.Contains(p, "//"):
		l.fail(name, fmt.Sprintf("%q has two slashes in a row: Open WebUI cannot read back what it stores there", p), "write one slash between folders")
	case slices.ContainsFunc(strings.Split(p, "/"), func(s string) bool { return s == "." || s == ".." }):
		l.warn(name, fmt.Sprintf("%q has a part . or .., which not every store keeps as it is", p), "write it without")
	}
	return strings.TrimSuffix(p, "/") + "/"
}

// place reads the name of a bucket or container, which must be there. What it
// is written with in file.path does not belong to it.
func (l *loader) place(name, provider, what, scheme string) string {
	v := l.vars[name]
	switch {
	case v == "":
		l.fail(name, "is missing, and STORAGE_PROVIDER="+provider+" needs it", "give the name of the "+what)
	case strings.HasPrefix(v, scheme):
		l.fail(name, "is a URL", "write the name of the "+what+" without "+scheme)
		return ""
	}
	return v
}

// httpAddress refuses what is no http:// or https:// address.
func (l *loader) httpAddress(name, v, or string) {
	u, err := url.Parse(v)
	switch {
	case err == nil && u.Host != "" && !strings.Contains(v, "@") && (u.Scheme == "http" || u.Scheme == "https"):
	case strings.Contains(v, "@"):
		l.fail(name, "holds a user name or a password, which Open WebUI does not send", "write it without")
	case v != "" && !strings.Contains(v, "://"):
		l.fail(name, fmt.Sprintf("%q has no scheme", v), "write http://"+v+" or https://"+v)
	default:
		l.fail(name, fmt.Sprintf("%q is not an address", v), "write http://HOST:PORT or https://HOST:PORT, "+or)
	}
}
