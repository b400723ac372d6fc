package probe

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"strconv"
	"time"

	"outgrow/mappings/doctor"
	"outgrow/mappings/objects"
)

// probeName is how the names of probes begin.
const probeName = "outgrow-doctor-"

func itoa(n int) string { return strconv.Itoa(n) }

// objects writes an object of a name of its own, reads it and removes it.
func (p *prober) objects(ctx context.Context) *doctor.Objects {
	out := &doctor.Objects{Server: doctor.Server{Name: "STORAGE_PROVIDER", Kind: "object store"}}
	st, err := p.Objects(ctx, p.d.Files)
	if err != nil {
		out.Down = p.why(ctx, err)
		return out
	}
	out.Kind = st.Describe
	key, body := probeName+rand.Text(), []byte("outgrow doctor: this may be deleted\n")
	up := objects.Upload{Key: key, Bytes: int64(len(body)), Sums: objects.SumsOfBytes(objects.CRC32C|objects.MD5, body), Replace: true}
	if err := st.Uploader.Put(ctx, up, body); err != nil {
		out.Write = "writing: " + p.why(ctx, err)
		return out
	}
	if err := readBack(ctx, st.Bucket, key, body); err != nil {
		out.Read = "reading: " + p.why(ctx, err)
	}
	// It is removed also when the time is over.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), min(p.Limit, 5*time.Second))
	defer cancel()
	if err := st.Uploader.Delete(last, key); err != nil {
		out.Delete = "deleting (" + key + " is left): " + p.why(last, err)
	}
	return out
}

func readBack(ctx context.Context, b objects.Bucket, key string, want []byte) error {
	info, err := b.Head(ctx, key)
	if err != nil {
		return err
	}
	r, err := b.Open(ctx, info, 0)
	if err != nil {
		return err
	}
	defer r.Close()
	got, err := io.ReadAll(io.LimitReader(r, int64(len(want))+1))
	if err == nil && !bytes.Equal(got, want) {
		err = objects.ErrDigest
	}
	return err
}
