package objects

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"outgrow/pipeline"
)

// Digest reads an object to its end and gives the digests of the set.
func Digest(ctx context.Context, o *pipeline.Object, a Algorithms) (Sums, error) {
	r, err := o.Open(ctx)
	if err != nil {
		return Sums{}, err
	}
	defer r.Close()
	h := NewHasher(a)
	buf := make([]byte, min(max(o.Bytes+1, 512), 256<<10))
	for {
		if ctx.Err() != nil {
			return Sums{}, context.Cause(ctx)
		}
		n, err := r.Read(buf)
		_, _ = h.Write(buf[:n])
		if errors.Is(err, io.EOF) {
			return h.Sums(), nil
		}
		if err != nil {
			return Sums{}, err
		}
	}
}

// Equal gives what verification compares two objects with. Sizes are compared
// first. Then, without deep, the digests that both know; or, where they have
// none in common, the one that the target knows with that of the source's
// content. With deep, or when the target knows no digest, both are read and
// compared by SHA-256; a content that is not what its store says is a
// difference.
func Equal(deep bool) func(ctx context.Context, u pipeline.Unit, want, got *pipeline.Object) ([]pipeline.Field, error) {
	return func(ctx context.Context, _ pipeline.Unit, want, got *pipeline.Object) ([]pipeline.Field, error) {
		have := SumsOf(got)
		if want.Bytes != got.Bytes {
			return content(have, fmt.Sprintf("%d bytes instead of %d", got.Bytes, want.Bytes)), nil
		}
		read := func(o *pipeline.Object, a Algorithms) (Sums, []pipeline.Field, error) {
			var s Sums
			err := ErrDigest
			for tries := 0; tries < rotten && errors.Is(err, ErrDigest); tries++ {
				s, err = Digest(ctx, o, a)
			}
			switch {
			case errors.Is(err, fs.ErrNotExist):
				return s, []pipeline.Field{{Got: "", Detail: o.Name + " was removed while it was compared"}}, nil
			case errors.Is(err, ErrDigest) && o == got:
				return s, content(have, "what the target's store gives is not what its own digest says"), nil
			case errors.Is(err, ErrDigest):
				return s, content(have, "what the source's store gives is not what its own digest says"), nil
			}
			return s, nil, err
		}
		var expect Sums
		switch a := cheapest(have.Known()); {
		case deep || a == 0:
			var gone []pipeline.Field
			var err error
			if expect, gone, err = read(want, SHA256); err != nil || gone != nil {
				return gone, err
			}
			if have, gone, err = read(got, SHA256); err != nil || gone != nil {
				return gone, err
			}
		case SumsOf(want).Known()&have.Known() != 0:
			expect = SumsOf(want)
		default:
			var gone []pipeline.Field
			var err error
			if expect, gone, err = read(want, a); err != nil || gone != nil {
				return gone, err
			}
		}
		if same, _ := expect.Compare(have); same {
			return nil, nil
		}
		return content(have, "as long, but not the same bytes"), nil
	}
}

// rotten is how often a content is read whose digest is not the store's before it
// is taken for what is stored, and not for what happened on the way.
const rotten = 3

// cheapest picks the digest of the set that costs least to compute.
func cheapest(a Algorithms) Algorithms { return a & -a }

// content is the one difference that there is between two files.
func content(have Sums, detail string) []pipeline.Field {
	got := have.SHA256
	if got == "" {
		got = have.MD5 + have.CRC32C
	}
	return []pipeline.Field{{Column: "content", Got: got, Detail: detail}}
}
