package azure

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"sync"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"

	"outgrow/mappings/azure"
	"outgrow/mappings/objects"
	"outgrow/pipeline"
)

// parts are the blocks of an object on its way. It is safe for concurrent use.
type parts struct {
	u    *Uploader
	up   objects.Upload
	blob *blockblob.Client
	ids  ids

	mu   sync.Mutex
	left map[block]bool // what earlier runs have sent
	have map[int]block  // what the object is made of
}

var _ objects.Parts = (*parts)(nil)

var (
	errParts   = errors.New("the blocks are not those of the object")
	errForeign = errors.New("another program's blocks wait below this name, and their ids are too short to send others beside them")
)

// Begin finds the blocks that wait below the name.
func (u *Uploader) Begin(ctx context.Context, up objects.Upload) (objects.Parts, error) {
	op := "beginning the upload of " + up.Key
	p := &parts{u: u, up: up, blob: u.b.Blob(up.Key), ids: newIDs(up.Bytes, u.PartSize(up.Bytes)), left: map[block]bool{}, have: map[int]block{}}
	res, err := p.blob.GetBlockList(ctx, blockblob.BlockListTypeUncommitted, nil)
	if err = u.b.Classify(ctx, op, err); errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return nil, err
	}
	for _, x := range res.UncommittedBlocks {
		if x == nil || x.Name == nil || x.Size == nil {
			continue
		}
		raw, err := base64.StdEncoding.DecodeString(*x.Name)
		if err != nil {
			return nil, &pipeline.Error{Op: op, Err: fmt.Errorf("reading the id of a block: %w", err)}
		}
		if len(raw) < idBytes {
			return nil, &pipeline.Error{Op: op, Err: errForeign, Hint: "finish or give up that upload: store anything of this name and remove it, or wait a week; then run the same command"}
		}
		p.ids.length = len(raw)
		if b, ok := p.ids.block(*x.Name); ok && b.bytes == *x.Size {
			p.left[b] = true
		}
	}
	return p, nil
}

// Has reports whether an earlier run, or this one, has stored that part, which
// then is one of the object's.
func (p *parts) Has(n int, bytes int64, crc32c uint32) bool {
	b := block{n, bytes, crc32c}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.left[b] {
		p.have[n] = b
	}
	got, ok := p.have[n]
	return ok && got == b
}

// Parallel reports that parts come in any order.
func (p *parts) Parallel() bool { return true }

// Put stores one part.
func (p *parts) Put(ctx context.Context, n int, body []byte, crc32c uint32) error {
	op := fmt.Sprintf("storing part %d of %s", n, p.up.Key)
	if n >= maxBlocks {
		return &pipeline.Error{Op: op, Err: errParts}
	}
	b := block{n, int64(len(body)), crc32c}
	sum := md5.Sum(body)
	_, err := p.blob.StageBlock(azure.Once(ctx), p.ids.id(b), streaming.NopCloser(bytes.NewReader(body)),
		&blockblob.StageBlockOptions{TransactionalValidation: blob.TransferValidationTypeMD5(sum[:])})
	if bloberror.HasCode(err, bloberror.InvalidBlobOrBlock) {
		return p.lost(op, err) // others came between, with ids of another length
	}
	if err != nil {
		return p.u.b.ClassifyUpload(ctx, op, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.have[n] = b
	return nil
}

// Complete makes the object of its blocks.
func (p *parts) Complete(ctx context.Context, sums objects.Sums) error {
	op := "completing the upload of " + p.up.Key
	list, crc, err := p.list()
	if err != nil {
		return &pipeline.Error{Op: op, Err: err}
	}
	if objects.FormatCRC32C(crc) != sums.CRC32C {
		return &pipeline.Error{Op: op, Err: pipeline.Transient(objects.ErrDigest)}
	}
	headers, err := headers(sums)
	if err != nil {
		return &pipeline.Error{Op: op, Err: err}
	}
	_, err = p.blob.CommitBlockList(azure.Once(ctx), list, &blockblob.CommitBlockListOptions{HTTPHeaders: headers, AccessConditions: condition(p.up)})
	switch {
	case err == nil:
		return nil
	case bloberror.HasCode(err, bloberror.InvalidBlockList):
		return p.lost(op, err) // another has made an object of this name
	}
	return p.u.refused(ctx, op, p.up, err)
}

// lost is the error of blocks that are not there any more: another upload has to
// be begun.
func (p *parts) lost(op string, err error) error {
	return &pipeline.Error{Op: op, Err: fmt.Errorf("the upload is lost (%w): the server answers %s", fs.ErrNotExist, azure.Code(err))}
}

// list gives the ids of the object's blocks, in order, and the CRC32C of all.
func (p *parts) list() (list []string, crc uint32, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	sizes := int64(0)
	for n := 0; sizes < p.up.Bytes; n++ {
		b, ok := p.have[n]
		if !ok || b.bytes == 0 {
			return nil, 0, fmt.Errorf("part %d: %w", n, errParts)
		}
		list = append(list, p.ids.id(b))
		sizes += b.bytes
		crc = combine(crc, b.crc32c, b.bytes)
	}
	if sizes != p.up.Bytes {
		return nil, 0, fmt.Errorf("they have %d bytes instead of %d: %w", sizes, p.up.Bytes, errParts)
	}
	return list, crc, nil
}

// Abort leaves the blocks to Azure, which drops them after a week: there is no
// other way but to make an object of them.
func (p *parts) Abort(context.Context) error { return nil }
