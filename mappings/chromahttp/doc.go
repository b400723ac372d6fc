// Package chromahttp is what reader and writer of a Chroma server share: the
// protocol (API v2, plain net/http), how Open WebUI lays collections out there,
// and what such a server can hold of a record. Source of every fact: Open WebUI
// 0.12.4, retrieval/vector/dbs/chroma.py; chromadb 1.5.9, api/fastapi.py and
// api/base_http_client.py; what its server of the same version answered.
//
// A logical collection is a collection of the same name. Its records are id,
// document, flat metadata and an embedding in a cosine HNSW index. Four things
// a server does are worth knowing:
//
//   - An upsert of an id that is there merges: metadata keys that the new record
//     lacks stay, and so does a document when the new one is null.
//   - Metadata {} and null are the same and come back as null; keys that begin
//     with "chroma:" are taken and never given back.
//   - Integers beyond 64 bits become floats; floats may be off by one unit in
//     the last place; -0.0 comes back as 0.0.
//   - The index keeps a vector's direction and length apart, so that elements
//     come back rounded, see [Compare].
package chromahttp
