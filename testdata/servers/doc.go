// Package servers starts the real servers that tests talk to, and unpacks the real data they read.
//
// A test asks for what it needs: [PostgreSQL] for an empty database of its own with pgvector, [DataDir] for a
// private copy of a small real Open WebUI data folder. What cannot be had is skipped with a reason through [Skip],
// which fails instead when OUTGROW_NO_SKIP=1, so that the continuous check never passes by leaving out.
//
// The servers listen on 127.0.0.1 only, keep their data in temporary folders and end with the test process, however
// that ends. The work is done by postgres.sh beside this file, which the Makefile and the demo use as well.
package servers
