package env

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/url"
	"strings"
	"testing"
)

const (
	s3Least    = "STORAGE_PROVIDER=s3\nS3_BUCKET_NAME=owui\n"
	gcsLeast   = "STORAGE_PROVIDER=gcs\nGCS_BUCKET_NAME=owui\n"
	azureLeast = "STORAGE_PROVIDER=azure\nAZURE_STORAGE_CONTAINER_NAME=owui\nAZURE_STORAGE_KEY=a2V5a2V5a2V5\n"
	azureHost  = "AZURE_STORAGE_ENDPOINT=https://acct.blob.core.windows.net\n"
)

// serviceAccountKey is the content of a key file, and the body of its key.
func serviceAccountKey(t *testing.T) (file, body string) {
	t.Helper()

	block := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte(strings.Repeat("not a key at all, ", 20))})
	text, err := json.Marshal(map[string]string{"type": "service_account", "project_id": "p", "private_key": string(block),
		"client_email": "x@p.iam.gserviceaccount.com", "token_uri": "https://oauth2.googleapis.com/token"})
	if err != nil {
		t.Fatal(err)
	}
	return string(text), strings.Split(string(block), "\n")[2]
}

func TestObjectStores(t *testing.T) {
	key, _ := serviceAccountKey(t)
	for in, want := range map[string]Files{
		s3Least: {S3: S3Config{Bucket: "owui"}},
		s3Least + "S3_ENDPOINT_URL=http://127.0.0.1:9000\nS3_ACCESS_KEY_ID=id\nS3_SECRET_ACCESS_KEY=secret\nS3_REGION_NAME=eu-central-1\nS3_KEY_PREFIX=pre\nS3_ADDRESSING_STYLE=path\nS3_ENABLE_TAGGING=True": {S3: S3Config{
			Bucket: "owui", Endpoint: "http://127.0.0.1:9000", AccessKey: "id", SecretKey: "secret", Region: "eu-central-1", Prefix: "pre/", AddressingStyle: "path", Tagging: true}},
		s3Least + "S3_KEY_PREFIX=pre/fix/\nS3_USE_ACCELERATE_ENDPOINT=true": {S3: S3Config{Bucket: "owui", Prefix: "pre/fix/", Accelerate: true}},
		gcsLeast: {GCS: GCSConfig{Bucket: "owui"}},
		gcsLeast + "STORAGE_EMULATOR_HOST=http://127.0.0.1:14443/":     {GCS: GCSConfig{Bucket: "owui", Emulator: "http://127.0.0.1:14443"}},
		gcsLeast + "GOOGLE_APPLICATION_CREDENTIALS_JSON='" + key + "'": {GCS: GCSConfig{Bucket: "owui", Credentials: Secret(key)}},
		azureLeast + azureHost: {Azure: AzureConfig{Endpoint: "https://acct.blob.core.windows.net", Container: "owui", Key: "a2V5a2V5a2V5"}},
		azureLeast + "AZURE_STORAGE_ENDPOINT=http://127.0.0.1:11000/acct": {Azure: AzureConfig{Endpoint: "http://127.0.0.1:11000/acct", Container: "owui", Key: "a2V5a2V5a2V5"}},
		// Without a key the account need not be known.
		"STORAGE_PROVIDER=azure\nAZURE_STORAGE_CONTAINER_NAME=$root\nAZURE_STORAGE_ENDPOINT=https://files.example.org": {Azure: AzureConfig{Endpoint: "https://files.example.org", Container: "$root"}},
		// Those of another provider are not read.
		"S3_BUCKET_NAME=b\nS3_KEY_PREFIX=//\nAZURE_STORAGE_KEY=x": {Provider: Local},
	} {
		d, err := load(t, in)
		if err != nil || len(d.Warnings) > 0 {
			t.Errorf("%q: %v, warnings %v", in, err, d.Warnings)
			continue
		}
		got := d.Files
		if want.Provider == "" {
			got.Provider = ""
		}
		if got != want {
			t.Errorf("%q:\n got %+v\nwant %+v", in, got, want)
		}
	}
}

func TestObjectStoreMistakes(t *testing.T) {
	const creds = "GOOGLE_APPLICATION_CREDENTIALS_JSON"
	for in, want := range map[string]string{
		"STORAGE_PROVIDER=s3":                                                                                  "S3_BUCKET_NAME",
		"STORAGE_PROVIDER=s3\nS3_BUCKET_NAME=s3://owui":                                                        "S3_BUCKET_NAME",
		"STORAGE_PROVIDER=s3\nS3_BUCKET_NAME=owui/pre":                                                         "S3_BUCKET_NAME",
		"STORAGE_PROVIDER=s3\nS3_BUCKET_NAME=arn:aws:s3:us-east-1:1:accesspoint/x":                             "S3_BUCKET_NAME",
		s3Least + "S3_KEY_PREFIX=/pre":                                                                         "S3_KEY_PREFIX",
		s3Least + "S3_KEY_PREFIX=a//b":                                                                         "S3_KEY_PREFIX",
		s3Least + "S3_KEY_PREFIX=pre//":                                                                        "S3_KEY_PREFIX",
		s3Least + "S3_KEY_PREFIX=/":                                                                            "S3_KEY_PREFIX",
		s3Least + "S3_ADDRESSING_STYLE=Path":                                                                   "S3_ADDRESSING_STYLE",
		s3Least + "S3_ADDRESSING_STYLE=":                                                                       "S3_ADDRESSING_STYLE",
		s3Least + "S3_ENDPOINT_URL=":                                                                           "S3_ENDPOINT_URL",
		s3Least + "S3_ENDPOINT_URL=minio:9000":                                                                 "S3_ENDPOINT_URL",
		s3Least + "S3_ENDPOINT_URL=http://u:hidden-word@minio:9000":                                            "S3_ENDPOINT_URL",
		s3Least + "S3_ENDPOINT_URL=u:hidden-word@minio:9000":                                                   "S3_ENDPOINT_URL",
		s3Least + "S3_REGION_NAME=":                                                                            "S3_REGION_NAME",
		s3Least + "S3_ACCESS_KEY_ID=hidden-word":                                                               "S3_ACCESS_KEY_ID",
		s3Least + "S3_SECRET_ACCESS_KEY=hidden-word\nS3_KEY_PREFIX=/x":                                         "S3_KEY_PREFIX S3_SECRET_ACCESS_KEY",
		s3Least + "S3_USE_ACCELERATE_ENDPOINT=true\nS3_ENDPOINT_URL=http://h":                                  "S3_USE_ACCELERATE_ENDPOINT",
		s3Least + "S3_USE_ACCELERATE_ENDPOINT=true\nS3_ADDRESSING_STYLE=path":                                  "S3_USE_ACCELERATE_ENDPOINT",
		"STORAGE_PROVIDER=gcs\nGCS_BUCKET_NAME=":                                                               "GCS_BUCKET_NAME",
		"STORAGE_PROVIDER=gcs\nGCS_BUCKET_NAME=gs://b":                                                         "GCS_BUCKET_NAME",
		"STORAGE_PROVIDER=gcs\nGCS_BUCKET_NAME=b/pre":                                                          "GCS_BUCKET_NAME",
		gcsLeast + "STORAGE_EMULATOR_HOST=127.0.0.1:14443":                                                     "STORAGE_EMULATOR_HOST",
		gcsLeast + "STORAGE_EMULATOR_HOST=http://127.0.0.1:14443/storage/v1":                                   "STORAGE_EMULATOR_HOST",
		gcsLeast + creds + "=/secrets/key.json":                                                                creds,
		gcsLeast + creds + "='[]'":                                                                             creds,
		gcsLeast + creds + `='{"type": "service_account", "client_email": "x"}'`:                               creds,
		gcsLeast + creds + `='{"private_key": "hidden-word", "client_email": "x", "token_uri": "y"}'`:          creds,
		"STORAGE_PROVIDER=azure":                                                                               "AZURE_STORAGE_CONTAINER_NAME AZURE_STORAGE_ENDPOINT",
		azureLeast:                                                                                             "AZURE_STORAGE_ENDPOINT",
		azureLeast + "AZURE_STORAGE_ENDPOINT=http://127.0.0.1:11000":                                           "AZURE_STORAGE_ENDPOINT",
		azureLeast + "AZURE_STORAGE_ENDPOINT=http://devstoreaccount1.blob.localhost:11000":                     "AZURE_STORAGE_ENDPOINT",
		azureLeast + "AZURE_STORAGE_ENDPOINT=http://10.0.0.5:11000/acct":                                       "AZURE_STORAGE_ENDPOINT",
		azureLeast + "AZURE_STORAGE_ENDPOINT=http://azurite:10000/acct":                                        "AZURE_STORAGE_ENDPOINT",
		azureLeast + "AZURE_STORAGE_ENDPOINT=http://localhost:10000/acct/owui":                                 "AZURE_STORAGE_ENDPOINT",
		azureLeast + "AZURE_STORAGE_ENDPOINT=https://acct.blob.core.windows.net/owui":                          "AZURE_STORAGE_ENDPOINT",
		azureLeast + "AZURE_STORAGE_ENDPOINT=ftp://x":                                                          "AZURE_STORAGE_ENDPOINT",
		azureLeast + "AZURE_STORAGE_ENDPOINT='https://acct.blob.core.windows.net?sv=1&sig=hidden-word'":        "AZURE_STORAGE_ENDPOINT",
		"STORAGE_PROVIDER=azure\nAZURE_STORAGE_CONTAINER_NAME=c\nAZURE_STORAGE_ENDPOINT=http://127.0.0.1/acct": "AZURE_STORAGE_CONTAINER_NAME AZURE_STORAGE_ENDPOINT",
		azureLeast + azureHost + "AZURE_STORAGE_CONTAINER_NAME=Owui":                                           "AZURE_STORAGE_CONTAINER_NAME",
		azureLeast + azureHost + "AZURE_STORAGE_KEY='DefaultEndpointsProtocol=https;AccountName=a;AccountKey=hidden-word/w+rds=='": "AZURE_STORAGE_KEY",
		azureLeast + azureHost + "AZURE_STORAGE_KEY='?sv=1&sig=hidden-word'":                                                       "AZURE_STORAGE_KEY",
		azureLeast + azureHost + "AZURE_STORAGE_KEY=hidden-word":                                                                   "AZURE_STORAGE_KEY",
	} {
		_, err := load(t, in)
		var names []string
		for _, e := range ConfigErrors(err) {
			names = append(names, e.Variable)
			if e.Problem == "" || e.Fix == "" {
				t.Errorf("%q: %+v says too little", in, e)
			}
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%q: mistakes in %q, want %q", in, got, want)
		}
		if s := fmt.Sprint(err); strings.Contains(s, "hidden-word") {
			t.Errorf("%q: a secret is shown: %s", in, s)
		}
	}
}

func TestObjectStoreWarnings(t *testing.T) {
	key, _ := serviceAccountKey(t)
	for in, want := range map[string]string{
		s3Least + "S3_KEY_PREFIX=a/../b":                                                                 "S3_KEY_PREFIX",
		s3Least + "S3_ENABLE_TAGGING=1":                                                                  "S3_ENABLE_TAGGING",
		azureLeast + "AZURE_STORAGE_ENDPOINT=https://acct.blob.core.windows.net/":                        "AZURE_STORAGE_ENDPOINT",
		azureLeast + "AZURE_STORAGE_ENDPOINT=acct.blob.core.windows.net":                                 "AZURE_STORAGE_ENDPOINT",
		gcsLeast + "STORAGE_EMULATOR_HOST=http://h:1\nGOOGLE_APPLICATION_CREDENTIALS_JSON='" + key + "'": "GOOGLE_APPLICATION_CREDENTIALS_JSON",
	} {
		d, err := load(t, in)
		if err != nil || len(d.Warnings) != 1 || d.Warnings[0].Variable != want {
			t.Errorf("%q: %v, warnings %v", in, err, d.Warnings)
		}
	}
}

func TestAzureAccount(t *testing.T) {
	for in, want := range map[string][2]string{
		"https://acct.blob.core.windows.net":       {"https://acct.blob.core.windows.net", "acct"},
		"acct.blob.core.usgovcloudapi.net/":        {"https://acct.blob.core.usgovcloudapi.net", "acct"},
		"http://127.0.0.1:11000/devstoreaccount1/": {"http://127.0.0.1:11000/devstoreaccount1", "devstoreaccount1"},
		"http://localhost:11000/devstoreaccount1":  {"http://localhost:11000/devstoreaccount1", "devstoreaccount1"},
		"http://127.0.0.1:11000":                   {"http://127.0.0.1:11000", ""},
		"http://acct.blob.localhost:11000":         {"http://acct.blob.localhost:11000", ""},
		"":                                         {"", ""},
	} {
		c := AzureConfig{Endpoint: in}
		if got := [2]string{c.ServiceURL(), c.Account()}; got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// The private key is hidden however an error quotes it.
func TestServiceAccountIsHidden(t *testing.T) {
	file, line := serviceAccountKey(t)
	escaped := strings.ReplaceAll(file, "/", `\/`) // another way to spell the same JSON
	for _, text := range []string{file, escaped} {
		d, err := load(t, gcsLeast+"GOOGLE_APPLICATION_CREDENTIALS_JSON='"+text+"'")
		if err != nil {
			t.Fatal(err)
		}
		var key struct {
			PrivateKey string `json:"private_key"`
		}
		if err := json.Unmarshal([]byte(text), &key); err != nil {
			t.Fatal(err)
		}
		if _, err := base64.StdEncoding.DecodeString(line); err != nil || len(line) < 40 {
			t.Fatalf("not a line of the key: %q", line)
		}
		quoted, _ := json.Marshal(key.PrivateKey)
		for _, spelled := range []string{key.PrivateKey, string(quoted), fmt.Sprintf("%q", key.PrivateKey), url.QueryEscape(key.PrivateKey), text, line, strings.ReplaceAll(line, "/", `\/`)} {
			if s := d.Redact("asking for a token: " + spelled); strings.Contains(s, line[:40]) || !strings.Contains(s, "***") {
				t.Errorf("the key shows in %s", s)
			}
		}
		if s := fmt.Sprintf("%+v", d); strings.Contains(s, line) {
			t.Error("the key is printed")
		}
	}
}
