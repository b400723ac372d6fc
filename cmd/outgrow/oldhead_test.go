package main

import (
	"path/filepath"
	"testing"

	"outgrow/testdata/servers"
)

// A source of a release up to 0.9.5: its schema is made, with the table of
// peewee's migrations, without which that release cannot start on the target.
func TestOldHeadBringsPeeweeHistory(t *testing.T) {
	t.Parallel()
	from := t.TempDir()
	onSQLite(t, filepath.Join(from, "webui.db"),
		`CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)`,
		`INSERT INTO alembic_version VALUES ('3781e22d8b01')`,
		`CREATE TABLE migratehistory (id INTEGER NOT NULL PRIMARY KEY, name VARCHAR(255) NOT NULL, migrated_at DATETIME NOT NULL)`,
		`INSERT INTO migratehistory VALUES (17, '017_add_user_oauth_sub', '2024-12-01 10:11:12.5'), (18, '018_add_function_is_global', '2024-12-01 10:11:13')`,
		`CREATE TABLE user (id VARCHAR(255) NOT NULL PRIMARY KEY, name VARCHAR(255) NOT NULL, email VARCHAR(255) NOT NULL, role VARCHAR(255) NOT NULL,
			profile_image_url TEXT NOT NULL, last_active_at BIGINT NOT NULL, updated_at BIGINT NOT NULL, created_at BIGINT NOT NULL)`,
		`INSERT INTO user VALUES ('u1', 'Ada', 'ada@example.com', 'admin', '/user.png', 1733047872, 1733047872, 1733047872)`)
	l := labOn(t, from, servers.PostgreSQL(t))
	l.migrate().exits(0)
	l.equal()
	if got := ask[string](l, `SELECT max(name) || ' ' || max(migrated_at) FROM migratehistory`); got != "018_add_function_is_global 2024-12-01 10:11:13" {
		t.Errorf("migratehistory ends with %s", got)
	}
	if got := ask[int64](l, `SELECT nextval('migratehistory_id_seq')`); got != 19 {
		t.Errorf("the next row would be number %d", got)
	}
	if got := ask[string](l, `SELECT version_num::text FROM alembic_version`); got != "3781e22d8b01" {
		t.Errorf("the target's head is %s", got)
	}
}
