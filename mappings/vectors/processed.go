package vectors

import "outgrow/pipeline"

// Flattened is the reason of the ledger line for metadata that [Processed]
// changed.
const Flattened pipeline.Reason = "flattened"

// Processed is for a source whose metadata never went through Open WebUI's
// process_metadata (a pgvector table with PGVECTOR_PGCRYPTO) and a target whose
// client always does that (every other store): it comes before the target's own
// transform. Metadata that is no JSON object stays for the target to refuse.
func Processed() pipeline.Transform[*pipeline.Vector] {
	return func(u pipeline.Unit, v *pipeline.Vector) (*pipeline.Vector, []pipeline.Change, []pipeline.Refusal) {
		if v.Metadata == nil {
			return v, nil, nil
		}
		flat, what, err := Flatten(v.Metadata, true)
		if err != nil || what == "" {
			return v, nil, nil //nolint:nilerr // the target's transform says what is wrong with it
		}
		out := *v
		out.Metadata = flat
		return &out, []pipeline.Change{{Unit: u.ID(), Key: v.ID, Column: "vmetadata", Reason: Flattened,
			Before: pipeline.Digest(string(v.Metadata)), After: pipeline.Digest(string(flat)), Note: what}}, nil
	}
}
