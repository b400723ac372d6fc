package main

import (
	"fmt"

	layout "outgrow/mappings/files"
	"outgrow/pipeline"
	sink "outgrow/sink/files"
	"outgrow/source/files"
)

// Reasons of what is said of the served cache.
const (
	cacheLeft    pipeline.Reason = "cache-left"
	cacheInPlace pipeline.Reason = "cache-in-place"
	cacheCopied  pipeline.Reason = "cache-copied"
	cacheUnknown pipeline.Reason = "cache-unknown"
)

// cacheState is what becomes of the files that Open WebUI serves from the disk
// whatever its storage provider is.
type cacheState struct {
	text string          // for the first screen, after the provider
	left []pipeline.Unit // the units that stay behind
}

// cacheUnits are the folders that move and are not uploads.
func cacheUnits() []string { return layout.Units()[1:] }

func (o *opener) tell(severity pipeline.Severity, reason pipeline.Reason, n int64, text, fix string) {
	o.extra = append(o.extra, pipeline.Finding{Severity: severity, Reason: reason, Count: n, Text: text, Fix: fix})
}

// routeCache opens the way of everything but uploads, from one DATA_DIR to the
// other. Nothing is opened, and it is said why, where there is no such way.
func (o *opener) routeCache(src *readRoute, dst *writeRoute) error {
	if err := o.from.CheckMount(); err != nil {
		if fileStoreOf(o.from.Files) == nil || o.args.FromMount != "" {
			return pipeline.Usage("looking for the source's DATA_DIR", err, "name the place where it is reached from here with --from-mount")
		}
		o.tell(pipeline.Note, cacheUnknown, 0, "the source's DATA_DIR is not reached from here: whether it has files below cache/, which Open WebUI serves from the disk and not through the storage provider, is not known",
			"keep the same DATA_DIR on the target, or name both places with --from-mount and --to-mount")
		return nil
	}
	disk, err := files.Open(o.ctx, files.Config{Mount: o.from.Mount, Units: cacheUnits(), Include: o.flags.Include})
	if err != nil {
		return err
	}
	units, err := disk.Units(o.ctx)
	if err != nil {
		return err
	}
	var n, bytes int64
	for _, u := range units {
		n, bytes = n+u.Records, bytes+u.Bytes
	}
	// What lies beside them is told of, too.
	beside, err := disk.Check(o.ctx, nil)
	if err != nil {
		return err
	}
	if err := o.to.CheckMount(); err != nil {
		switch {
		case o.args.ToMount != "" || fileStoreOf(o.to.Files) == nil:
			return o.needMount()
		case n > 0:
			o.extra = append(o.extra, beside...)
			o.cache.left = units
			o.tell(pipeline.Accept, cacheLeft, n, fmt.Sprintf("%s (%s) below cache/ stay behind: Open WebUI serves them from the disk, never through the storage provider, and the target's DATA_DIR is not reached from here", plural(n, "file"), size(bytes)),
				"mount the DATA_DIR that the target's replicas share and name the place with --to-mount DIR, or agree with --accept cache-left: old links to generated images and speech then answer 404")
		}
		return nil
	}
	same, err := sink.SameFolder(o.from.Mount, o.to.Mount)
	switch {
	case err != nil:
		return err
	case same && n > 0:
		o.cache.text = "; cache/ in the same folder, in place"
		o.tell(pipeline.Note, cacheInPlace, n, fmt.Sprintf("%s below cache/ stay where they are, in the DATA_DIR of both sides: Open WebUI serves them from the disk, never through the storage provider", plural(n, "file")), "")
		return nil
	case same:
		return nil
	case n == 0:
		o.extra = append(o.extra, beside...)
		return nil
	}
	src.disk = disk
	dst.disk, err = sink.Open(o.ctx, sink.Config{Mount: o.to.Mount, Owner: o.opt.chown, Replace: o.opt.replace})
	if err != nil {
		dst.disk = nil
		return err
	}
	o.cache.text = "; cache/ copied to " + o.to.Mount
	o.tell(pipeline.Note, cacheCopied, n, fmt.Sprintf("%s (%s) below cache/ are copied to %s: Open WebUI serves them from the disk, never through the storage provider", plural(n, "file"), size(bytes), o.to.Mount), "")
	return nil
}
