// Package gcs reads the files that Open WebUI keeps in a bucket of Google Cloud
// Storage, or of an emulator of it. Reader and writer share it.
//
// The client finds its way as Open WebUI 0.12.4's own does
// (open_webui/storage/provider.py and Google's Python client): with
// STORAGE_EMULATOR_HOST everything goes to the emulator, without a token unless
// GOOGLE_APPLICATION_CREDENTIALS_JSON is set; else the service account of that
// variable, or the default chain (GOOGLE_APPLICATION_CREDENTIALS, gcloud's own,
// the machine's account). The process environment does not choose the server.
// Everything is asked of the JSON API.
//
// # Digests
//
// Of every object GCS keeps the CRC32C, and the MD5 unless it was composed of
// others; a listing gives both. They are of the content as it is stored: an
// object with the metadata Content-Encoding: gzip is read as it is stored, not
// unpacked. Open WebUI stores none.
//
// # Versions
//
// The version of an object is its generation; a content is read in that
// generation alone.
package gcs

import (
	"fmt"
	"net/url"

	"outgrow/mappings/env"
)

// Describe tells in a few words what the variables name, without a secret.
func Describe(cfg env.GCSConfig) string {
	if u, err := url.Parse(cfg.Emulator); err == nil && u.Host != "" {
		return fmt.Sprintf("gs://%s at %s", cfg.Bucket, u.Host)
	}
	return fmt.Sprintf("gs://%s at Google", cfg.Bucket)
}

// Fingerprint tells two places apart by the bucket.
func Fingerprint(cfg env.GCSConfig) string { return "gcs:" + cfg.Bucket }
