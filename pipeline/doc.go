// Package pipeline is the vocabulary of outgrow and the engine that moves
// records from a source to a sink and proves that they arrived.
//
// The tour: a deployment has three lanes (rows, vectors, files). A lane is made
// of units (a table, a collection, a folder), a unit of parts (fixed ranges
// with one writer at a time), a part of batches. A [Source] yields batches, a
// [Transform] turns each record into what the target can hold, a [Sink] makes a
// batch durable, a [Journal] remembers how far each part is. [Copy] drives
// that; [Diff] reads the target back and compares it record by record.
//
// Concurrency: parts are worked on by several workers, each of which pulls its
// own batches (a reader must allow that) and writes them in order. Nothing is
// queued, so memory is workers x one batch, however large the data are.
//
// Durability: a part's cursor never runs ahead of its records. A sink that can
// commit both together says so ([Transactional]); for every other sink the
// engine records the cursor after Write returned, and Write is repeatable.
// Cancelling a run is a crash that was announced: both resume the same way.
//
// The package imports no backend. Backends live in source/NAME and sink/NAME,
// what Open WebUI knows lives in mappings, and cmd/outgrow ties them together
// in one table.
package pipeline
