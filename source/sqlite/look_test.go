package sqlite

import (
	"maps"
	"path/filepath"
	"testing"
	"time"
)

// A look tells every state apart, opens nothing, and leaves no file behind.
func TestLook(t *testing.T) {
	t.Parallel()
	path := makeDB(t)
	before := folder(t, filepath.Dir(path))
	first, err := Look(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := Look(path, nil); err != nil || again != first || first.InUse || first.State == "" || first.Wrote.IsZero() {
		t.Errorf("%+v, then %+v: %v", first, again, err)
	}
	unchanged(t, filepath.Dir(path), before)
	if _, err := Look(path+".none", nil); err == nil {
		t.Error("a database that is not there is no error")
	}
	a := startApp(t, path)
	a.do(`UPDATE "user" SET last_active_at = 5`)
	if s, err := Look(path, nil); err != nil || !s.InUse || s.State == first.State {
		t.Errorf("with the application on it, after a commit: %+v, %v", s, err)
	}
}

// Only what was begun lately is waited for.
func TestWaiting(t *testing.T) {
	t.Parallel()
	s := open(t, Config{Path: makeDB(t,
		`CREATE TABLE chat_message (id TEXT PRIMARY KEY, done BOOLEAN, updated_at BIGINT)`,
		`INSERT INTO chat_message VALUES ('1', 0, 1000), ('2', 0, 10), ('3', 1, 1000), ('4', NULL, 1000)`,
		`CREATE TABLE file (id VARCHAR NOT NULL PRIMARY KEY, data JSON, updated_at BIGINT)`,
		`INSERT INTO file VALUES ('a', '{"status": "pending"}', 1000), ('b', '{"status": "processing"}', 10), ('c', '{"status": "completed"}', 1000), ('d', 'pending', 1000)`)})
	files, messages, err := s.Waiting(t.Context(), time.Unix(500, 0))
	if err != nil || messages != 1 || !maps.Equal(files, map[string]int64{"pending": 1}) {
		t.Errorf("%v, %d: %v", files, messages, err)
	}
}
