package main

import (
	"context"
	"regexp"
	"strings"

	"outgrow/mappings/env"
	"outgrow/mappings/files"
)

// fileID is the id that the name of an upload begins with.
var fileID = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)

// owner looks up who a file belongs to.
type owner func(ctx context.Context, id string) (user, email, name string, ok bool, err error)

// tags gives the tags that Open WebUI stores with an object when
// S3_ENABLE_TAGGING is true, from the source's database; nil where there are
// none. Source of the names: Open WebUI 0.12.4, routers/files.py.
func (o *opener) tags() func(context.Context, string) (map[string]string, error) {
	if o.to.Files.Provider != env.S3 || !o.to.Files.S3.Tagging {
		return nil
	}
	if o.db.any == nil {
		return nil
	}
	return tagger(o.db.any.FileOwner)
}

func tagger(find owner) func(context.Context, string) (map[string]string, error) {
	return func(ctx context.Context, object string) (map[string]string, error) {
		id := fileID.FindString(strings.TrimPrefix(object, files.Uploads+"/"))
		if id == "" {
			return nil, nil
		}
		user, email, name, ok, err := find(ctx, id)
		if err != nil || !ok {
			return nil, err
		}
		return map[string]string{"OpenWebUI-User-Email": email, "OpenWebUI-User-Id": user, "OpenWebUI-User-Name": name, "OpenWebUI-File-Id": id}, nil
	}
}
