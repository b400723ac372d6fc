package milvus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/milvus-io/milvus-proto/go-api/v2/commonpb"
	"github.com/milvus-io/milvus-proto/go-api/v2/milvuspb"
	"github.com/milvus-io/milvus-proto/go-api/v2/schemapb"

	"outgrow/pipeline"
)

// Collection is one that the server has.
type Collection struct {
	Name    string
	ID      int64  // the server's own, never used twice
	Created uint64 // the server's clock
	Schema  *schemapb.CollectionSchema
	Dim     int // of the field vector, 0 without one
	// Indexes gives type, metric and params by field.
	Indexes map[string]map[string]string
}

// Has reports whether the collection has the field.
func (c *Collection) Has(field string) bool {
	return slices.ContainsFunc(c.Schema.GetFields(), func(f *schemapb.FieldSchema) bool { return f.GetName() == field })
}

// Shared reports whether the collection is of the multitenancy layout.
func (c *Collection) Shared() bool { return c.Has(FieldResource) }

// Ours reports whether the collection has the fields that Open WebUI reads.
func (c *Collection) Ours() bool {
	return c.Has(FieldID) && c.Dim > 0 && c.Has(FieldMetadata) && (c.Has(FieldText) || c.Has(FieldData))
}

// bare makes an answer of a bare Status.
type bare struct{ s *commonpb.Status }

func (s bare) GetStatus() *commonpb.Status { return s.s }

func retryable(err error) bool { return pipeline.IsRetryable(err) }

// Names lists the database's collections, sorted.
func (s *Store) Names(ctx context.Context) ([]string, error) {
	res, err := s.Service.ShowCollections(ctx, &milvuspb.ShowCollectionsRequest{})
	if err := Check("listing the collections", res, err); err != nil {
		return nil, err
	}
	return slices.Sorted(slices.Values(res.GetCollectionNames())), nil
}

// Look describes a collection; nil when there is none of that name.
func (s *Store) Look(ctx context.Context, name string) (*Collection, error) {
	// Of a collection that is not there some servers say nothing but
	// "unexpected error", so it is looked for first.
	has, err := s.Service.HasCollection(ctx, &milvuspb.HasCollectionRequest{CollectionName: name})
	if err := Check("looking for collection "+name, has, err); err != nil && !NotFound(err) {
		return nil, err
	} else if err != nil || !has.GetValue() {
		return nil, nil
	}
	res, err := s.Service.DescribeCollection(ctx, &milvuspb.DescribeCollectionRequest{CollectionName: name})
	if err := Check("describing collection "+name, res, err); err != nil {
		if NotFound(err) {
			return nil, nil
		}
		return nil, err
	}
	c := &Collection{Name: name, ID: res.GetCollectionID(), Created: res.GetCreatedTimestamp(), Schema: res.GetSchema(), Indexes: map[string]map[string]string{}}
	for _, f := range c.Schema.GetFields() {
		if f.GetName() != FieldVector || f.GetDataType() != schemapb.DataType_FloatVector {
			continue
		}
		for _, p := range f.GetTypeParams() {
			if p.GetKey() == "dim" {
				if c.Dim, err = strconv.Atoi(p.GetValue()); err != nil {
					return nil, fmt.Errorf("describing collection %s: dimension %q", name, p.GetValue())
				}
			}
		}
	}
	return c, s.describeIndexes(ctx, c)
}

// noIndex is what some servers answer where there is no index: a code, or the
// older one.
func noIndex(err error) bool {
	var e *StatusError
	return errors.As(err, &e) && e.noIndex()
}

func (s *Store) describeIndexes(ctx context.Context, c *Collection) error {
	res, err := s.Service.DescribeIndex(ctx, &milvuspb.DescribeIndexRequest{CollectionName: c.Name})
	if err := Check("looking at the indexes of "+c.Name, res, err); err != nil {
		if noIndex(err) {
			return nil
		}
		return err
	}
	for _, d := range res.GetIndexDescriptions() {
		p := map[string]string{}
		for _, kv := range d.GetParams() {
			p[kv.GetKey()] = kv.GetValue()
		}
		c.Indexes[d.GetFieldName()] = p
	}
	return nil
}

func (s *Store) loadState(ctx context.Context, name string) (commonpb.LoadState, error) {
	res, err := s.Service.GetLoadState(ctx, &milvuspb.GetLoadStateRequest{CollectionName: name})
	return res.GetState(), Check("loading collection "+name, res, err)
}

// BeginLoad has the server load a collection, and does not wait for it.
func (s *Store) BeginLoad(ctx context.Context, name string) error {
	at, err := s.loadState(ctx, name)
	if err != nil || at == commonpb.LoadState_LoadStateLoaded || at == commonpb.LoadState_LoadStateLoading {
		return err
	}
	res, err := s.Service.LoadCollection(ctx, &milvuspb.LoadCollectionRequest{CollectionName: name})
	return Check("loading collection "+name, bare{res}, err)
}

// Load has the server load collections, as Open WebUI does before it reads, and
// waits until it has: some seconds, for all of them together. It changes nothing
// in the data.
func (s *Store) Load(ctx context.Context, names ...string) error {
	for _, name := range names {
		if err := s.BeginLoad(ctx, name); err != nil {
			return err
		}
	}
	return s.await(ctx, names)
}

// await waits until the server has loaded collections that it was told to load.
func (s *Store) await(ctx context.Context, names []string) error {
	for _, name := range names {
		for wait := 20 * time.Millisecond; ; wait = min(2*wait, 500*time.Millisecond) {
			at, err := s.loadState(ctx, name)
			if err != nil {
				return err
			}
			if at == commonpb.LoadState_LoadStateLoaded {
				break
			}
			if err := pipeline.Sleep(ctx, wait); err != nil {
				return fmt.Errorf("loading collection %s: %w", name, err)
			}
		}
	}
	return nil
}

// LoadAll is Load for those of the collections that Open WebUI can read.
func (s *Store) LoadAll(ctx context.Context, all []*Collection) error {
	return s.Load(ctx, ours(all)...)
}

func ours(all []*Collection) (names []string) {
	for _, c := range all {
		if c.Ours() {
			names = append(names, c.Name)
		}
	}
	return names
}

// LoadIndexed is LoadAll but for those that the server does not load as they have
// no index yet: whoever makes a collection may be stopped before it makes that.
// These are given; nobody can read them.
func (s *Store) LoadIndexed(ctx context.Context, all []*Collection) (without map[string]bool, err error) {
	without = map[string]bool{}
	var names []string
	for _, name := range ours(all) {
		switch err := s.BeginLoad(ctx, name); {
		case noIndex(err):
			without[name] = true
		case err != nil:
			return nil, err
		default:
			names = append(names, name)
		}
	}
	return without, s.await(ctx, names)
}

// Drop removes a collection; one that is not there is no error.
func (s *Store) Drop(ctx context.Context, name string) error {
	res, err := s.Service.DropCollection(ctx, &milvuspb.DropCollectionRequest{CollectionName: name})
	if err := Check("dropping collection "+name, bare{res}, err); err != nil && !NotFound(err) {
		return err
	}
	return nil
}

// Own lists the collections under the deployment's names, described; staging
// are the names of those that Open WebUI has not finished rewriting. Without
// multitenancy a shared collection under the same prefix is another
// deployment's.
func (s *Store) Own(ctx context.Context) (own []*Collection, staging []string, err error) {
	names, err := s.Names(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, name := range names {
		base, rewriting := strings.CutSuffix(name, Staging)
		if s.Cfg.Multitenancy {
			class, ok := strings.CutPrefix(base, s.Cfg.Prefix+"_")
			if !ok || !slices.Contains(Classes(), class) {
				continue
			}
		} else if rest, ok := strings.CutPrefix(base, Prefix+"_"); !ok || rest == "" {
			continue
		}
		if rewriting {
			staging = append(staging, name)
			continue
		}
		c, err := s.Look(ctx, name)
		if err != nil {
			return nil, nil, err
		}
		if c != nil && (s.Cfg.Multitenancy || !c.Shared()) {
			own = append(own, c)
		}
	}
	return own, staging, nil
}
