package main

import (
	"context"

	"outgrow/mappings/azure"
	"outgrow/mappings/env"
	"outgrow/mappings/gcs"
	"outgrow/mappings/s3"
	sinkobjects "outgrow/sink/objects"
	sourceobjects "outgrow/source/objects"

	azuresink "outgrow/sink/azure"
	gcssink "outgrow/sink/gcs"
	s3sink "outgrow/sink/s3"
	azuresource "outgrow/source/azure"
	gcssource "outgrow/source/gcs"
	s3source "outgrow/source/s3"
)

// reader keeps a nil pointer of a reader's own type out of the interface.
func reader(r *sourceobjects.Source, err error) (fileReader, error) {
	if err != nil {
		return nil, err
	}
	return r, nil
}

// writer is the same for a sink.
func writer[S objectSink](w S, err error) (objectSink, error) {
	if err != nil {
		return nil, err
	}
	return w, nil
}

func (s fileSide) reading() sourceobjects.Config {
	return sourceobjects.Config{Spool: s.spool, Stable: s.stable}
}

func (s fileSide) writing() sinkobjects.Config {
	return sinkobjects.Config{Replace: s.replace, Tags: s.tags}
}

func s3Source(ctx context.Context, s fileSide) (fileReader, error) {
	return reader(s3source.Open(ctx, s.files.S3, s.reading()))
}

func s3Sink(ctx context.Context, s fileSide) (objectSink, error) {
	return writer(s3sink.Open(ctx, s.files.S3, s.writing()))
}

func s3Describe(f env.Files) string    { return s3.Describe(f.S3) }
func s3Fingerprint(f env.Files) string { return s3.Fingerprint(f.S3) }

func gcsSource(ctx context.Context, s fileSide) (fileReader, error) {
	return reader(gcssource.Open(ctx, s.files.GCS, s.reading()))
}

func gcsSink(ctx context.Context, s fileSide) (objectSink, error) {
	return writer(gcssink.Open(ctx, s.files.GCS, s.state, s.writing()))
}

func gcsDescribe(f env.Files) string    { return gcs.Describe(f.GCS) }
func gcsFingerprint(f env.Files) string { return gcs.Fingerprint(f.GCS) }

func azureSource(ctx context.Context, s fileSide) (fileReader, error) {
	return reader(azuresource.Open(ctx, s.files.Azure, s.reading()))
}

func azureSink(ctx context.Context, s fileSide) (objectSink, error) {
	return writer(azuresink.Open(ctx, s.files.Azure, s.writing()))
}

func azureDescribe(f env.Files) string    { return azure.Describe(f.Azure) }
func azureFingerprint(f env.Files) string { return azure.Fingerprint(f.Azure) }
