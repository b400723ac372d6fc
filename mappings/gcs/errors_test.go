package gcs

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"strings"
	"testing"
	"time"

	"outgrow/mappings/env"
	"outgrow/mappings/objects"
	"outgrow/pipeline"
	"outgrow/testdata/servers"
)

// The service's answers that an emulator does not give. Source: Cloud Storage,
// "HTTP status and error codes for JSON".
func TestClassify(t *testing.T) {
	b := &Bucket{}
	reason := func(code int, reason string) *answer {
		return &answer{status: code, message: "text", reasons: []string{reason}, after: 7 * time.Second}
	}
	for name, tt := range map[string]struct {
		err    error
		bucket bool
		exit   int
		hint   string
		retry  bool
		is     error
	}{
		"token":         {reason(401, "authError"), false, 3, "GOOGLE_APPLICATION_CREDENTIALS_JSON", false, nil},
		"rights":        {reason(403, "forbidden"), false, 3, "storage.objects.create", false, nil},
		"rate":          {reason(403, "rateLimitExceeded"), false, 3, "--rate", true, nil},
		"too many":      {reason(429, "rateLimitExceeded"), false, 3, "--rate", true, nil},
		"late":          {reason(408, "uploadBrokenConnection"), false, 3, "--rate", true, nil},
		"broken":        {reason(503, "backendError"), false, 3, "--rate", true, nil},
		"object":        {reason(404, "notFound"), false, 1, "", false, fs.ErrNotExist},
		"bucket":        {reason(404, "notFound"), true, 3, "GCS_BUCKET_NAME", false, nil},
		"upload":        {reason(410, "gone"), false, 1, "", false, fs.ErrNotExist},
		"request":       {reason(400, "required"), false, 1, "", false, nil},
		"connection":    {&url.Error{Op: "Put", URL: "http://x/?upload_id=secret", Err: errors.New("reset")}, false, 3, "is reached", true, nil},
		"certificate":   {&url.Error{Op: "Put", URL: "https://x", Err: x509.UnknownAuthorityError{}}, false, 3, "certificates", false, nil},
		"wrapped twice": {fmt.Errorf("storage: %w", reason(500, "backendError")), false, 3, "--rate", true, nil},
	} {
		err := b.classify(t.Context(), "storing", tt.err, tt.bucket, false)
		if pipeline.ExitCode(err) != tt.exit || !strings.Contains(pipeline.HintOf(err), tt.hint) || pipeline.IsRetryable(err) != tt.retry || tt.is != nil && !errors.Is(err, tt.is) {
			t.Errorf("%s: exit %d, retryable %v, hint %q: %v", name, pipeline.ExitCode(err), pipeline.IsRetryable(err), pipeline.HintOf(err), err)
		}
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s tells the address: %v", name, err)
		}
		var after pipeline.Delayed
		if Status(tt.err) > 0 && (!errors.As(err, &after) || after.RetryAfter() != 7*time.Second) {
			t.Errorf("%s does not tell when to try again", name)
		}
	}
	for err, want := range map[*answer]bool{reason(400, "invalid"): true, {status: 400}: true, reason(400, "required"): false, reason(412, "invalid"): false} {
		if err := b.ClassifyUpload(t.Context(), "storing", err); errors.Is(err, objects.ErrDigest) != want || pipeline.IsRetryable(err) != want {
			t.Error(err)
		}
	}
}

// A service account's key is used for an emulator, too: its token_uri is asked.
func TestTokenServer(t *testing.T) {
	s := servers.GCS(t)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	account := func(tokens string) env.Secret {
		text, err := json.Marshal(map[string]string{"type": "service_account", "client_email": "x@y", "private_key_id": "1", "token_uri": tokens,
			"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))})
		if err != nil {
			t.Fatal(err)
		}
		return env.Secret(text)
	}
	for tokens, retry := range map[string]bool{s.Endpoint + "/no/token": false, "http://127.0.0.1:1/token": true} {
		_, err := Open(context.Background(), env.GCSConfig{Emulator: s.Endpoint, Bucket: s.Bucket(t), Credentials: account(tokens)})
		t.Log(err)
		if pipeline.ExitCode(err) != pipeline.ExitEnvironment || pipeline.IsRetryable(err) != retry || strings.Contains(err.Error(), "PRIVATE") {
			t.Errorf("%s: retryable %v, hint %q: %v", tokens, pipeline.IsRetryable(err), pipeline.HintOf(err), err)
		}
	}
}
