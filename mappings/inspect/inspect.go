// Package inspect names what plan tells about the database of a deployment,
// whichever engine holds it.
package inspect

import "time"

// Facts of a database of Open WebUI.
type Facts struct {
	Head string // alembic revision
	// Newest has, by table, the newest time its rows tell of: chat,
	// chat_message, user (last seen), message, file, knowledge, note.
	Newest map[string]time.Time
	// Unprocessed counts files by status, pending and processing.
	Unprocessed map[string]int64
	// Unfinished counts chat messages that are not done.
	Unfinished int64
	// Orphans are rows whose parent is missing. Those that become orphans
	// because their parent is one are not counted.
	Orphans []Orphans
	// Secrets counts values encrypted with a key derived from
	// WEBUI_SECRET_KEY: oauth_session, tool_server, mfa, app.
	Secrets map[string]int64
	// External are the knowledge bases whose documents are elsewhere.
	External []string
	// Notes are checks that could not be made.
	Notes []string
}

// Orphans counts the rows of a table whose foreign key names a missing row.
type Orphans struct {
	Table, Parent string
	Rows          int64
}

// FileRow is what the files lane needs of a row of table file.
type FileRow struct {
	ID, Path, Filename, Hash string
	HasPath                  bool  // false when path is NULL or empty: the file is text without a file
	Size                     int64 // meta.size in bytes, -1 when it is not there
	// Collection is the one that its chunks went to last (meta.collection_name),
	// "" when it was never embedded.
	Collection string
	Created    time.Time
}

// Clock is a column that tells when something last happened.
type Clock struct{ Table, Column string }

// Clocks lists the columns of [Facts.Newest]. Units differ (seconds,
// nanoseconds); see [Moment].
func Clocks() []Clock {
	return []Clock{
		{"chat", "updated_at"}, {"chat_message", "created_at"}, {"user", "last_active_at"}, {"message", "created_at"},
		{"file", "created_at"}, {"knowledge", "updated_at"}, {"note", "updated_at"},
	}
}

// Moment understands an epoch in seconds, milliseconds, microseconds or
// nanoseconds by its magnitude.
func Moment(n int64) time.Time {
	switch {
	case n >= 1e17:
		return time.Unix(0, n)
	case n >= 1e14:
		return time.UnixMicro(n)
	case n >= 1e11:
		return time.UnixMilli(n)
	}
	return time.Unix(n, 0)
}
