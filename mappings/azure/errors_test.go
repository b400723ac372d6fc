package azure

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"outgrow/mappings/env"
	"outgrow/mappings/objects"
	"outgrow/pipeline"
)

// The service's answers that an emulator does not give. Source: REST reference,
// "Blob Storage error codes".
func TestClassify(t *testing.T) {
	answer := func(status int, code string, more ...string) error {
		res := &http.Response{StatusCode: status, Header: http.Header{"Retry-After": {"7"}, "Date": {time.Now().UTC().Format(http.TimeFormat)}}}
		for _, date := range more {
			res.Header.Set("Date", date)
		}
		return &azcore.ResponseError{StatusCode: status, ErrorCode: code, RawResponse: res}
	}
	for name, tt := range map[string]struct {
		err   error
		exit  int
		hint  string
		retry bool
		is    error
	}{
		"key":         {answer(403, "AuthenticationFailed"), 3, "AZURE_STORAGE_KEY", false, nil},
		"network":     {answer(403, "AuthorizationFailure"), 3, "let this machine in", false, nil},
		"no keys":     {answer(403, "KeyBasedAuthenticationNotPermitted"), 3, "remove AZURE_STORAGE_KEY", false, nil},
		"header":      {answer(400, "InvalidAuthenticationInfo"), 3, "AZURE_STORAGE_KEY", false, nil},
		"clock":       {answer(403, "AuthenticationFailed", "Mon, 01 Jan 2024 00:00:00 GMT"), 3, "clock", false, nil},
		"container":   {answer(404, "ContainerNotFound"), 3, "AZURE_STORAGE_CONTAINER_NAME", false, nil},
		"object":      {answer(404, "BlobNotFound"), 1, "", false, fs.ErrNotExist},
		"a head":      {answer(404, ""), 1, "", false, fs.ErrNotExist},
		"md5":         {answer(400, "Md5Mismatch"), 1, "", true, objects.ErrDigest},
		"name":        {answer(400, "InvalidUri"), 1, "", false, objects.ErrName},
		"bad request": {answer(400, ""), 1, "", false, objects.ErrName},
		"archive":     {answer(409, "BlobArchived"), 1, "rehydrate", false, nil},
		"lease":       {answer(412, "LeaseIdMissing"), 1, "lease", false, nil},
		"immutable":   {answer(409, "BlobImmutableDueToPolicy"), 1, "immutability", false, nil},
		"page blob":   {answer(409, "InvalidBlobType"), 1, "remove", false, nil},
		"busy":        {answer(503, "ServerBusy"), 3, "--rate", true, nil},
		"late":        {answer(500, "OperationTimedOut"), 3, "--rate", true, nil},
		"rate":        {answer(429, ""), 3, "--rate", true, nil},
		"redirect":    {answer(301, ""), 3, "AZURE_STORAGE_ENDPOINT", true, nil},
		"request":     {answer(400, "InvalidHeaderValue"), 1, "", false, nil},
		"connection":  {&url.Error{Op: "Put", URL: "http://long", Err: errors.New("reset")}, 3, "is reached", true, nil},
		"certificate": {&url.Error{Op: "Put", URL: "https://long", Err: x509.UnknownAuthorityError{}}, 3, "certificates", false, nil},
		"token":       {fmt.Errorf("x: %w", &azidentity.AuthenticationFailedError{}), 3, "az login", true, nil},
	} {
		b := &Bucket{cfg: env.AzureConfig{Endpoint: "https://a.blob.core.windows.net", Key: "AAAA"}}
		for _, err := range []error{b.Classify(t.Context(), "storing", tt.err), b.ClassifyUpload(t.Context(), "storing", tt.err)} {
			if pipeline.ExitCode(err) != tt.exit || !strings.Contains(pipeline.HintOf(err), tt.hint) || pipeline.IsRetryable(err) != tt.retry || tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("%s: exit %d, retryable %v, hint %q: %v", name, pipeline.ExitCode(err), pipeline.IsRetryable(err), pipeline.HintOf(err), err)
			}
			if text := err.Error(); strings.Contains(text, "long") || strings.Contains(text, "\n") {
				t.Errorf("%s: %s", name, text)
			}
			var after pipeline.Delayed
			if Status(tt.err) > 0 && (!errors.As(err, &after) || after.RetryAfter() != 7*time.Second) {
				t.Errorf("%s does not tell when to try again", name)
			}
		}
	}
	b := &Bucket{}
	if err := b.Classify(t.Context(), "storing", answer(403, "AuthorizationPermissionMismatch")); !strings.Contains(pipeline.HintOf(err), "Storage Blob Data Contributor") {
		t.Errorf("without a key: %q", pipeline.HintOf(err))
	}
	if err := b.ClassifyBucket(t.Context(), "listing", answer(404, "")); pipeline.ExitCode(err) != pipeline.ExitEnvironment || errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// Without a key there have to be credentials: what is tried is told.
func TestNoCredentials(t *testing.T) {
	t.Setenv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")
	for _, name := range []string{"AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_CLIENT_SECRET"} {
		t.Setenv(name, "")
	}
	_, err := Open(t.Context(), env.AzureConfig{Endpoint: "https://127.0.0.1:1", Container: "owui"})
	t.Log(err)
	if pipeline.ExitCode(err) != pipeline.ExitEnvironment || pipeline.IsRetryable(err) || !strings.Contains(pipeline.HintOf(err), "AZURE_STORAGE_KEY") || strings.Contains(err.Error(), "\n") {
		t.Errorf("hint %q: %v", pipeline.HintOf(err), err)
	}
}
