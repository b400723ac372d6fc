package objects

import (
	"context"
	"strings"

	layout "outgrow/mappings/files"
	"outgrow/pipeline"
)

// Reasons of this package's findings, beside pipeline's; those that a folder
// has too are called as there.
const (
	EmptyFile pipeline.Reason = "empty-file"
	InFolder  pipeline.Reason = "in-folder"
)

// Check looks at every object of the listing: what cannot be moved needs consent
// ([pipeline.Accept]), what is odd is noted.
func (s *Source) Check(ctx context.Context, units []pipeline.Unit) ([]pipeline.Finding, error) {
	var f pipeline.Findings
	for _, u := range units {
		if u.Lane != pipeline.Files {
			continue
		}
		for info, err := range s.each(ctx, u, nil, "") {
			if err != nil {
				return nil, err
			}
			x := pipeline.Finding{Severity: pipeline.Note, Unit: u.ID(), Key: name(info.Key)}
			reason, detail := layout.Unfit(info.Key)
			switch {
			case reason != "":
				x.Severity, x.Reason, x.Text = pipeline.Accept, reason, detail+", so Open WebUI cannot read it"
				x.Fix = "copy it to another key, or accept that it stays behind with --accept " + string(reason)
			case info.Bytes == 0:
				x.Reason, x.Text = EmptyFile, "the object is empty; Open WebUI itself stores none that are"
			case s.cfg.Flat && strings.Contains(info.Key, "/"):
				x.Reason, x.Text = InFolder, "the key has a slash: Open WebUI cannot read it from this store; it is copied all the same"
			default:
				continue
			}
			f.Add(x)
		}
	}
	return f.List(), nil
}
