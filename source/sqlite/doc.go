// Package sqlite reads the tables of Open WebUI's webui.db without changing a
// byte of the folder it lies in.
//
// A stopped source is opened without locks and without a -shm file, so that
// its -wal is read and nothing is created, on a read-only mount too. A live
// source is read in one long read transaction with every file opened
// read-only: one consistent snapshot, and writers never wait. Both hold for
// databases in WAL mode, which is Open WebUI's default; for the other journal
// modes see [Open].
//
// A pass that only looks for what has changed ([Source.Sift]) reads a stopped
// source's pages, those of its -wal included, without SQLite, and leaves to SQLite
// every row whose origin is not the one that is known: no value comes from
// anywhere else.
//
// SQLite's locks belong to the process and are dropped when any descriptor of
// the database file or of its -shm is closed: as long as a [Source] is open,
// nothing else in the process may open and close these two files, unless it is read
// as stopped, without locks. One Source
// per database and process, and hash before and after, not during.
package sqlite
