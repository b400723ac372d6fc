// Package vectors knows how Open WebUI lays records out in a vector store: the
// table, the indexes, and what such a store can hold of a record. Readers and
// writers of one store share it. Source of every fact: Open WebUI 0.12.4,
// retrieval/vector/dbs/pgvector.py and retrieval/vector/utils.py; the rounding
// and the limits are pgvector's own (README, src/halfutils.h).
//
// The order of use: [Transform] makes a record of any source one that the store
// can take, or refuses it; the writer encodes it; the reader gives it back;
// [Compare] proves that what came back is what [Expect] promised. Metadata is
// never parsed into Go numbers on that way: its literals are copied.
package vectors
