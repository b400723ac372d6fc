package postgres

import (
	"maps"
	"testing"
	"time"
)

func TestWaiting(t *testing.T) {
	t.Parallel()
	s := filled(t, nil,
		`CREATE TABLE chat_message (id text PRIMARY KEY, done boolean, updated_at bigint)`,
		`INSERT INTO chat_message VALUES ('1', false, 1000), ('2', false, 10), ('3', true, 1000), ('4', NULL, 1000)`,
		`CREATE TABLE file (id text PRIMARY KEY, data json, updated_at bigint)`,
		`INSERT INTO file VALUES ('a', '{"status": "pending"}', 1000), ('b', '{"status": "processing"}', 10), ('c', '{"status": "completed"}', 1000), ('d', '"pending"', 1000)`)
	files, messages, err := s.Waiting(t.Context(), time.Unix(500, 0))
	if err != nil || messages != 1 || !maps.Equal(files, map[string]int64{"pending": 1}) {
		t.Errorf("%v, %d: %v", files, messages, err)
	}
	in, err := s.Inspect(t.Context())
	if err != nil || in.Unfinished != 2 || !maps.Equal(in.Unprocessed, map[string]int64{"pending": 1, "processing": 1}) {
		t.Errorf("%v, %d: %v", in.Unprocessed, in.Unfinished, err)
	}
}
