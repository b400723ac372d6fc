package main

import (
	"context"
	"errors"

	"outgrow/mappings/azure"
	"outgrow/mappings/doctor/probe"
	"outgrow/mappings/env"
	"outgrow/mappings/gcs"
	"outgrow/mappings/s3"
	azuresink "outgrow/sink/azure"
	gcssink "outgrow/sink/gcs"
	s3sink "outgrow/sink/s3"
)

// probeStore opens the object store of a deployment for a probe object.
func probeStore(ctx context.Context, f env.Files) (probe.Store, error) {
	switch f.Provider {
	case env.S3:
		b, err := s3.Open(ctx, f.S3)
		if err != nil {
			return probe.Store{}, err
		}
		return probe.Store{Bucket: b, Uploader: s3sink.NewUploader(b), Describe: s3.Describe(f.S3)}, nil
	case env.GCS:
		b, err := gcs.Open(ctx, f.GCS)
		if err != nil {
			return probe.Store{}, err
		}
		u, err := gcssink.NewUploader(b, "") // small objects leave no state
		return probe.Store{Bucket: b, Uploader: u, Describe: gcs.Describe(f.GCS)}, err
	case env.Azure:
		b, err := azure.Open(ctx, f.Azure)
		if err != nil {
			return probe.Store{}, err
		}
		return probe.Store{Bucket: b, Uploader: azuresink.NewUploader(b), Describe: azure.Describe(f.Azure)}, nil
	}
	return probe.Store{}, errors.ErrUnsupported
}
