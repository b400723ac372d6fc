package vectors

import "testing"

// The values were computed with Python's uuid.uuid5: they may never change.
func TestMappedIDIsForEver(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range []struct{ collection, id, want string }{
		{"file-1", "plain-id", "e50c44c8-bfe4-5be4-b775-aa7049c493eb"},
		{"file-2", "plain-id", "26a03b1c-a789-511b-ab3e-7ee56645079a"},
		{"knowledge-bases", "идентификатор", "4dbac2b5-6d7f-580c-a6ee-9304cec9a212"},
		{"", "", "1a5e38b5-39b3-5f34-a661-3e4c63c57991"},
	} {
		got := MappedID(c.collection, c.id)
		if got != c.want || seen[got] {
			t.Errorf("MappedID(%q, %q) = %s, want %s, once", c.collection, c.id, got, c.want)
		}
		seen[got] = true
	}
}
