package main

import (
	"context"
	"fmt"

	"outgrow/mappings/env"
	"outgrow/pipeline"
)

// unfinishedUploads is the reason of what is said of multipart uploads that were
// never completed.
const unfinishedUploads pipeline.Reason = "unfinished-uploads"

// unfinishedFindings tells of the unfinished uploads in a target bucket of S3,
// whoever began them: no listing shows them, and they are paid for.
func (s *session) unfinishedFindings(ctx context.Context) ([]pipeline.Finding, error) {
	if s.to.Files.Provider != env.S3 {
		return nil, nil
	}
	for _, l := range s.lanes {
		files, ok := l.(*lane[*pipeline.Object])
		if !ok {
			continue
		}
		route, ok := files.sink.(*writeRoute)
		if !ok {
			continue
		}
		bucket, ok := route.uploads.(interface {
			Unfinished(ctx context.Context) (int, error)
		})
		if !ok {
			continue
		}
		n, err := bucket.Unfinished(ctx)
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case err != nil:
			return []pipeline.Finding{{Severity: pipeline.Warn, Reason: unfinishedUploads,
				Text: fmt.Sprintf("the unfinished uploads in %s cannot be listed, which migrate needs for large files: %s", describeFiles(s.to), s.app.clean(err.Error())),
				Fix:  "allow s3:ListBucketMultipartUploads on the bucket, and s3:ListMultipartUploadParts and s3:AbortMultipartUpload on its objects"}}, nil
		case n == 0:
			return nil, nil
		}
		c := s.to.Files.S3
		return []pipeline.Finding{{Severity: pipeline.Note, Reason: unfinishedUploads, Unit: uploadsUnit().ID(), Count: int64(n),
			Text: fmt.Sprintf("%s in %s: their parts take room and are billed like objects, though no listing shows them. migrate goes on with, or gives up, those of files that it copies; all others stay",
				plural(int64(n), "unfinished upload"), describeFiles(s.to)),
			Fix: fmt.Sprintf("list what is left after migrate with: aws s3api list-multipart-uploads --bucket %s --prefix %s; remove each with abort-multipart-upload, or all of them by a lifecycle rule (AbortIncompleteMultipartUpload)",
				quoteArg(c.Bucket), quoteArg(c.Prefix))}}, nil
	}
	return nil, nil
}
