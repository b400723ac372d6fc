// Package objects is what the object stores (S3 and compatibles, GCS, Azure
// Blob) have in common: how a bucket is read and written. A store's own package
// (mappings/s3, mappings/gcs, mappings/azure) implements [Bucket], its writer
// (sink/s3, …) an [Uploader]; source/objects and sink/objects make a reader and
// a writer of the files lane of them.
//
// Keys are below the deployment's prefix and raw: exactly the bytes that Open
// WebUI uses, never escaped.
package objects
