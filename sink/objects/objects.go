package objects

import (
	"context"
	"errors"
	"fmt"

	layout "outgrow/mappings/files"
	store "outgrow/mappings/objects"
	"outgrow/pipeline"
)

// Config says where and how to write.
type Config struct {
	Bucket   store.Bucket
	Uploader store.Uploader
	// Describe names the target for people: "s3://bucket/prefix".
	Describe string
	// Replace overwrites objects that differ.
	Replace bool
	// Flat: Open WebUI reads from this store only what has no slash in its key
	// (GCS, Azure).
	Flat bool
	// Tags gives the tags of an object by its Name; nil for none. It is asked
	// only for what is to be sent.
	Tags func(ctx context.Context, name string) (map[string]string, error)
	// Refuse says why the store cannot hold a key, beyond what no store can;
	// reason "" takes it. nil takes all.
	Refuse func(key string) (reason pipeline.Reason, detail string)
	// Requests is how many small objects are sent at a time over all parts; 0
	// for 32.
	Requests int
	// Buffers is how many bytes of content are in memory at a time, over
	// everything; 0 for 64 MiB. A single part that is larger is let through
	// alone.
	Buffers int64
	// Backoff is for single requests, before the batch fails; 0 Attempts means
	// 4.
	Backoff pipeline.Backoff
}

const (
	defaultRequests = 32
	defaultBuffers  = 64 << 20
	defaultAttempts = 4

	// scratchBytes is what comparing may hold beside Config.Buffers.
	scratchBytes = 32 * chunk
)

// Reasons of this package's lines, as those of sink/files.
const (
	// Vanished is the reason of the ledger line for an object that was removed
	// from the source after it was listed.
	Vanished pipeline.Reason = "vanished"
	// InUse is the reason of the finding that there are objects already.
	InUse pipeline.Reason = "target-in-use"
)

// Sink writes below one prefix of a bucket. It is safe for concurrent use.
type Sink struct {
	cfg     Config
	slots   chan struct{}
	buffers *buffers
	scratch *buffers // of one chunk each, for those that only compare
}

var (
	_ pipeline.Sink[*pipeline.Object] = (*Sink)(nil)
	_ pipeline.Checker                = (*Sink)(nil)
)

// Open makes a writer of a bucket that is open. It asks the store nothing.
func Open(_ context.Context, cfg Config) (*Sink, error) {
	if cfg.Bucket == nil || cfg.Uploader == nil {
		return nil, fmt.Errorf("opening the target's files: %w", errors.ErrUnsupported)
	}
	if cfg.Requests <= 0 {
		cfg.Requests = defaultRequests
	}
	if cfg.Buffers <= 0 {
		cfg.Buffers = defaultBuffers
	}
	if cfg.Backoff.Attempts == 0 {
		cfg.Backoff.Attempts = defaultAttempts
	}
	if cfg.Describe == "" {
		cfg.Describe = "the target's bucket"
	}
	return &Sink{cfg: cfg, slots: make(chan struct{}, cfg.Requests), buffers: newBuffers(cfg.Buffers), scratch: newBuffers(scratchBytes)}, nil
}

// Close has nothing to close: the clients are the caller's.
func (s *Sink) Close() error { return nil }

// Prepare has nothing to make: a bucket has no folders, and what an interrupted
// run has left is found, object by object, when it is needed. The only unit is
// uploads: whatever else there is does not go through Open WebUI's storage
// provider; for another unit the error wraps errors.ErrUnsupported.
func (s *Sink) Prepare(ctx context.Context, unit pipeline.Unit) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return supported(unit)
}

func supported(unit pipeline.Unit) error {
	if unit.Lane == pipeline.Files && unit.Name == layout.Uploads {
		return nil
	}
	return &pipeline.Error{Op: "writing to the object store", Unit: unit.ID(), Err: errors.ErrUnsupported}
}

// retry calls f again as long as its errors are transient.
func (s *Sink) retry(ctx context.Context, f func() error) error {
	return s.cfg.Backoff.Do(ctx, func(int) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return f()
	})
}
