package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"outgrow/mappings/env"
	"outgrow/pipeline"
)

// fileStore is what the command knows of one storage provider that is not the
// local disk. Only uploads go through it.
type fileStore struct {
	// kind is how STORAGE_PROVIDER names it.
	kind string
	// source opens its reader, sink its writer.
	source func(context.Context, fileSide) (fileReader, error)
	sink   func(context.Context, fileSide) (objectSink, error)
	// describe names it for people, without a secret; fingerprint is bucket and
	// prefix.
	describe    func(env.Files) string
	fingerprint func(env.Files) string
	// place says where it is: what has the same place is the same store. It may
	// hold a host, so it is never shown or kept.
	place func(env.Files) filePlace
	// flat: Open WebUI reads only names without a folder from it.
	flat bool
	// bucket is the variable that names another place in it.
	bucket string
}

// filePlace is a part of a bucket.
type filePlace struct{ server, bucket, prefix string }

// fileSide is one side's store as it is to be opened.
type fileSide struct {
	files  env.Files
	stable string // of the source: the identity that the deployment is known by
	spool  string // a folder for lists
	log    *slog.Logger
	// Of a target.
	replace bool
	// state is a private folder that lasts from one run to the next: what an
	// interrupted upload is gone on with.
	state string
	tags  func(ctx context.Context, name string) (map[string]string, error)
}

// fileStores is every provider beside the local disk.
func fileStores() []fileStore {
	return []fileStore{
		{
			kind: env.S3, source: s3Source, sink: s3Sink, describe: s3Describe, fingerprint: s3Fingerprint, bucket: "S3_BUCKET_NAME or S3_KEY_PREFIX",
			place: func(f env.Files) filePlace {
				return filePlace{strings.ToLower(strings.TrimSuffix(f.S3.Endpoint, "/")), f.S3.Bucket, f.S3.Prefix}
			},
		},
		{
			kind: env.GCS, source: gcsSource, sink: gcsSink, describe: gcsDescribe, fingerprint: gcsFingerprint, bucket: "GCS_BUCKET_NAME", flat: true,
			place: func(f env.Files) filePlace { return filePlace{f.GCS.Emulator, f.GCS.Bucket, ""} },
		},
		{
			kind: env.Azure, source: azureSource, sink: azureSink, describe: azureDescribe, fingerprint: azureFingerprint, bucket: "AZURE_STORAGE_CONTAINER_NAME", flat: true,
			place: func(f env.Files) filePlace {
				return filePlace{strings.ToLower(f.Azure.ServiceURL()), f.Azure.Container, ""}
			},
		},
	}
}

// fileStoreOf finds the store of a side; nil for the local disk.
func fileStoreOf(f env.Files) *fileStore {
	all := fileStores()
	if i := slices.IndexFunc(all, func(s fileStore) bool { return s.kind == f.Provider }); i >= 0 {
		return &all[i]
	}
	return nil
}

// fileTarget names what the paths of a deployment lead to: for a provider its
// fingerprint, for the local disk DATA_DIR as the application spells it.
func fileTarget(d env.Deployment) string {
	if s := fileStoreOf(d.Files); s != nil {
		return s.fingerprint(d.Files)
	}
	return env.Local + ":" + d.DataDir
}

// describeFiles names where a deployment's uploads are.
func describeFiles(d env.Deployment) string {
	if s := fileStoreOf(d.Files); s != nil {
		return s.describe(d.Files)
	}
	return d.DataDir
}

// sameStore reports whether both sides' uploads are the same objects. It refuses
// two places of one bucket that hold each other.
func sameStore(from, to env.Files) (bool, error) {
	a, b := fileStoreOf(from), fileStoreOf(to)
	if a == nil || b == nil || a.kind != b.kind {
		return false, nil
	}
	x, y := a.place(from), b.place(to)
	switch {
	case x == y:
		return true, nil
	case x.server != y.server || x.bucket != y.bucket:
	case strings.HasPrefix(x.prefix, y.prefix) || strings.HasPrefix(y.prefix, x.prefix):
		return false, pipeline.Usage("comparing the two sides", errors.New("both name the same bucket, and one prefix lies in the other: what is copied would be read as the source's"),
			"name another "+a.bucket+" on one side")
	}
	return false, nil
}

// supportedFiles names a provider that is neither the disk nor in the table.
func supportedFiles(side string, f env.Files) error {
	if f.Provider == "" || f.Provider == env.Local || fileStoreOf(f) != nil {
		return nil
	}
	return fmt.Errorf("%s: STORAGE_PROVIDER is %s, which this version does not move", side, f.Provider)
}
