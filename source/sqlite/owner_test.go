package sqlite

import "testing"

func TestFileOwner(t *testing.T) {
	s := open(t, Config{Path: makeDB(t, `CREATE TABLE file (id TEXT PRIMARY KEY, user_id TEXT)`, `DROP TABLE "user"`, `CREATE TABLE "user" (id TEXT PRIMARY KEY, email TEXT, name TEXT)`,
		`INSERT INTO "user" VALUES ('u', 'a@b', 'Zoë')`, `INSERT INTO file VALUES ('f', 'u'), ('stray', 'gone'), ('none', NULL)`)})
	for id, want := range map[string][3]string{"f": {"u", "a@b", "Zoë"}, "stray": {"gone", "", ""}, "none": {}} {
		user, email, name, ok, err := s.FileOwner(t.Context(), id)
		if err != nil || !ok || [3]string{user, email, name} != want {
			t.Errorf("%s: %q %q %q %v %v", id, user, email, name, ok, err)
		}
	}
	if _, _, _, ok, err := s.FileOwner(t.Context(), "nowhere"); ok || err != nil {
		t.Errorf("nowhere: %v %v", ok, err)
	}
	bare := open(t, Config{Path: makeDB(t)})
	if _, _, _, ok, err := bare.FileOwner(t.Context(), "f"); ok || err != nil {
		t.Errorf("without the table: %v %v", ok, err)
	}
}
