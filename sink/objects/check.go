package objects

import (
	"context"
	"fmt"
	"strings"

	"outgrow/pipeline"
)

// counted is how many of the target's objects Check counts at most.
const counted = 100_000

// Check looks for what is there already: objects in the unit are a warning, as
// only the copy can tell whether they are the same. It writes nothing, so it
// cannot tell whether writing is allowed.
func (s *Sink) Check(ctx context.Context, units []pipeline.Unit) ([]pipeline.Finding, error) {
	var out []pipeline.Finding
	for _, u := range units {
		if supported(u) != nil {
			continue
		}
		var files, bytes int64
		var more bool
		err := s.retry(ctx, func() (err error) { files, bytes, more, err = s.present(ctx); return err })
		if err != nil {
			return nil, fmt.Errorf("listing %s: %w", s.cfg.Describe, err)
		}
		if files == 0 {
			continue
		}
		have := fmt.Sprintf("the target has %d files there, %d bytes", files, bytes)
		if more {
			have = fmt.Sprintf("the target has more than %d files there", files)
		}
		x := pipeline.Finding{Severity: pipeline.Warn, Reason: InUse, Unit: u.ID(), Count: files,
			Text: have + ": those that are the same are kept, others of the same name are refused",
			Fix:  "this is as it should be after an earlier run; else choose an empty bucket or prefix, or --replace"}
		if s.cfg.Replace {
			x.Text, x.Fix = have+": those of the same name are overwritten (--replace)", ""
		}
		out = append(out, x)
	}
	return out, nil
}

// Vacant reports whether there is no object below the prefix.
func (s *Sink) Vacant(ctx context.Context, _ pipeline.Unit) (vacant bool, err error) {
	err = s.retry(ctx, func() error {
		files, _, _, err := s.present(ctx)
		vacant = files == 0
		return err
	})
	return vacant && err == nil, err
}

// present counts what is below the prefix, without the empty objects by which
// consoles mark folders; more is true when it has stopped counting.
func (s *Sink) present(ctx context.Context) (files, bytes int64, more bool, err error) {
	for info, err := range s.cfg.Bucket.List(ctx) {
		switch {
		case err != nil:
			return 0, 0, false, err
		case info.Bytes == 0 && (info.Key == "" || strings.HasSuffix(info.Key, "/")):
			continue
		case files == counted:
			return files, bytes, true, nil
		}
		files++
		bytes += info.Bytes
	}
	return files, bytes, false, nil
}
