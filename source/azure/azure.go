// Package azure reads the uploaded files from a container of Azure Blob Storage
// or of an emulator of it. What all object stores have in common is in
// outgrow/source/objects, what is this one's own in outgrow/mappings/azure.
package azure

import (
	"context"

	"outgrow/mappings/azure"
	"outgrow/mappings/env"
	"outgrow/source/objects"
)

// Open connects to the container and sees that it can be read. Of more, Bucket
// and Flat are filled in.
func Open(ctx context.Context, cfg env.AzureConfig, more objects.Config) (*objects.Source, error) {
	b, err := azure.Open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	more.Bucket, more.Flat = b, true
	return objects.Open(ctx, more)
}
