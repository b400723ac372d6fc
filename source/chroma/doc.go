// Package chroma reads the embedded Chroma store of Open WebUI (DATA_DIR/vector_db)
// from disk, without Chroma: what every chromadb from 0.4 to 1.5 leaves there.
//
// The tour. chroma.sqlite3 says which records exist, with document and metadata.
// A vector is either in the HNSW segment of its collection (data_level0.bin, found
// through the id to label pickle and the label of each slot, divided by its length
// where the space is cosine) or, when it was written after the last time the
// segment was persisted, in the table embeddings_queue, the log. A record whose
// vector is in neither has lost it: chromadb 0.5.6 to 0.5.12 purged rows of the log
// that were still needed. After a kill the log can also hold records that the other
// tables do not know yet; they are read from it and come last.
//
//	catalog.go  collections, segments, the queue by collection
//	index.go    row of each record -> place of its vector, per collection
//	pickle.go   id -> label, reading only the opcodes such a pickle has
//	segment.go  HNSW files, by position
//	rows.go     documents and metadata of a range of records
//	read.go     batches
//
// Nothing in the folder is changed. The database is read from a private copy, so
// that a hot journal can be rolled back there and no lock is taken, unless it is
// written to all the time: then the copy is made under SQLite's shared lock, which
// holds a commit up for a second at the most. Only a store that the caller says is
// stopped, and that has neither journal nor WAL, is read in place. The HNSW files are read in place, and every batch checks that they are
// still those that belong to the copy.
//
// Memory: 16 bytes a record of each collection being read; while a collection is
// opened, about 75 bytes a record more.
package chroma
