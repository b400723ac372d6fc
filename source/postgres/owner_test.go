package postgres

import "testing"

func TestFileOwner(t *testing.T) {
	t.Parallel()
	s := filled(t, nil, `CREATE TABLE file (id text PRIMARY KEY, user_id text)`, `CREATE TABLE "user" (id text PRIMARY KEY, email text, name text)`,
		`INSERT INTO "user" VALUES ('u', 'a@b', 'Zoë')`, `INSERT INTO file VALUES ('f', 'u'), ('stray', 'gone'), ('none', NULL)`)
	for id, want := range map[string][3]string{"f": {"u", "a@b", "Zoë"}, "stray": {"gone", "", ""}, "none": {}} {
		user, email, name, ok, err := s.FileOwner(t.Context(), id)
		if err != nil || !ok || [3]string{user, email, name} != want {
			t.Errorf("%s: %q %q %q %v %v", id, user, email, name, ok, err)
		}
	}
	if _, _, _, ok, err := s.FileOwner(t.Context(), "nowhere"); ok || err != nil {
		t.Errorf("nowhere: %v %v", ok, err)
	}
}
