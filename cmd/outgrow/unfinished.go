package main

import (
	"context"
	"fmt"

	"outgrow/mappings/env"
	"outgrow/pipeline"
)

// unfinishedUploads is the reason of what is said of uploads in parts that were
// never completed.
const unfinishedUploads pipeline.Reason = "unfinished-uploads"

// unfinishedText is what is said of them in one store.
type unfinishedText struct {
	kept, fix string // what they cost, and what becomes of them
	rights    string // what listing them needs
}

// unfinishedText tells of each store that can say something: S3 and Azure of
// everybody's uploads, GCS of those that this state remembers.
func (s *session) unfinishedText() unfinishedText {
	switch f := s.to.Files; f.Provider {
	case env.S3:
		return unfinishedText{
			kept: "their parts take room and are billed like objects, though no listing shows them. migrate goes on with, or gives up, those of files that it copies; all others stay",
			fix: fmt.Sprintf("list what is left after migrate with: aws s3api list-multipart-uploads --bucket %s --prefix %s; remove each with abort-multipart-upload, or all of them by a lifecycle rule (AbortIncompleteMultipartUpload)",
				quoteArg(f.S3.Bucket), quoteArg(f.S3.Prefix)),
			rights: "allow s3:ListBucketMultipartUploads on the bucket, and s3:ListMultipartUploadParts and s3:AbortMultipartUpload on its objects",
		}
	case env.Azure:
		return unfinishedText{
			kept:   "their blocks take room and are billed, though no listing shows them. migrate goes on with those of files that it copies; Azure drops the others a week after their last block",
			fix:    "nothing has to be done; one is dropped sooner by storing anything of its name and removing that",
			rights: "allow the key or identity to list the container's blobs",
		}
	case env.GCS:
		return unfinishedText{
			kept:   "an earlier run with this state has begun them. migrate goes on with those of files that have not changed, and drops the others; Google tells of nobody else's, and drops all after a week",
			rights: "let this user read the folder of the state",
		}
	}
	return unfinishedText{}
}

// unfinishedFindings tells of the unfinished uploads in a target bucket: no
// listing of objects shows them, and they are paid for.
func (s *session) unfinishedFindings(ctx context.Context) ([]pipeline.Finding, error) {
	text := s.unfinishedText()
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
				Fix:  text.rights}}, nil
		case n == 0:
			return nil, nil
		}
		return []pipeline.Finding{{Severity: pipeline.Note, Reason: unfinishedUploads, Unit: uploadsUnit().ID(), Count: int64(n),
			Text: fmt.Sprintf("%s in %s: %s", plural(int64(n), "unfinished upload"), describeFiles(s.to), text.kept), Fix: text.fix}}, nil
	}
	return nil, nil
}
