#!/usr/bin/env bash
# Runs a command with OUTGROW_TEST_DATABASE_URL naming a PostgreSQL with pgvector: the one it names already, else a
# throw-away one. Where none can be had the command runs all the same, and the tests say what they left out.
set -euo pipefail

postgres=$(dirname "$0")/postgres.sh
if [ -n "${OUTGROW_TEST_DATABASE_URL:-}" ]; then
	exec "$@"
fi
if ! "$postgres" install >/dev/null; then
	echo "no PostgreSQL with pgvector can be fetched: tests that need it are skipped" >&2
	exec "$@"
fi
exec "$postgres" run "$@"
