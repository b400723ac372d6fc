// Package chroma writes the vector lane into an embedded Chroma store, the
// folder vector_db of an Open WebUI data folder, as chromadb 1.5.9 has it there
// (what Open WebUI 0.12.4 pins). It needs no Chroma.
//
// The store is one SQLite database without HNSW files. Which records there are,
// with document, metadata and full-text index, stands in the tables that Chroma's
// metadata segment reads, complete; every vector stands in embeddings_queue, raw.
// At the first use of a collection Chroma builds its HNSW index from the queue;
// that of a collection of 1000 records and more it then writes to disk, and takes
// the rows out of the queue. Measured with chromadb 1.5.9 on two cores: 20,000
// records of 384 dimensions take 16 s then (46 s when the metadata had to come
// out of the queue as well), and nothing later; a smaller collection is indexed
// anew after every start, as in any store that Chroma wrote.
//
//	tables.sql, rows.sql, indexes.sql, collection.json
//	            what the real chromadb makes; generate.sh makes them anew
//	open.go     the database: where it is, whose it is
//	write.go    one batch, one transaction
//	rows.go     what stands in which table
//	finish.go   full-text index, indexes, the rename
//
// While it is filled the store lies in vector_db/.outgrow-partial, without its
// full-text index and plain indexes. Finish makes those and then gives the file
// its name, so what Open WebUI opens is whole or not there. A store that is there
// already is never written to, unless this very run has made it: the number in
// the header field application_id, which neither SQLite nor Chroma uses, is the
// one in the journal's mark.
//
// After Finish records can still be put in and deleted while Open WebUI is
// stopped, as Chroma itself would: the queue tells its index.
package chroma
