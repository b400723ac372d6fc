#!/usr/bin/env bash
# A whole move on real data: plan, migrate and verify the data folder of testdata/datadir.tar.gz.
#
# The target is the empty database that DATABASE_URL names; it needs the extension vector, or the right to create it.
# Without DATABASE_URL a PostgreSQL is fetched, started and stopped again. KEEP=1 leaves it and the folder.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
repo=$(cd "$here/../.." && pwd)
outgrow=${OUTGROW:-$repo/bin/outgrow}
work=$(mktemp -d "${TMPDIR:-/tmp}/outgrow-demo.XXXXXX")
chmod 755 "$work"

finish() {
	local code=$?
	if [ "${KEEP:-}" = 1 ]; then
		echo "kept: $work"
		[ ! -d "$work/pg" ] || echo "stop its PostgreSQL with: testdata/servers/postgres.sh stop $work/pg"
	elif [ -d "$work/pg" ]; then
		"$here/postgres.sh" stop "$work/pg" || true
	fi
	# What outgrow wrote about the run stays; the copies and the password do not.
	[ "${KEEP:-}" = 1 ] || rm -rf "$work/pg" "$work/data" "$work/shared" "$work/scaled.env"
	exit $code
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

run() {
	printf '\n$ outgrow'
	printf ' %s' "$@"
	printf '\n'
	"$outgrow" "$@"
}

mkdir "$work/data" "$work/shared"
tar -C "$work/data" -xzf "$repo/testdata/datadir.tar.gz"

target=${DATABASE_URL:-}
if [ -z "$target" ]; then
	super=$("$here/postgres.sh" start "$work/pg")
	psql=$("$here/postgres.sh" install)/psql
	"$psql" -qX -v ON_ERROR_STOP=1 -d "$super" -c "CREATE ROLE openwebui LOGIN PASSWORD 'demo-password'" \
		-c "CREATE DATABASE openwebui OWNER openwebui TEMPLATE template0"
	"$psql" -qX -v ON_ERROR_STOP=1 -d "${super/\/postgres\?/\/openwebui?}" -c "CREATE EXTENSION vector"
	target=${super/postgres@/openwebui:demo-password@}
	target=${target/\/postgres\?/\/openwebui?}
fi
# What the environment says of a database is not for this run: the file below is.
unset DATABASE_URL PGVECTOR_DB_URL VECTOR_DB DATA_DIR

(
	umask 077
	cat >"$work/scaled.env" <<-ENV
		DATABASE_URL=$target
		VECTOR_DB=pgvector
		DATA_DIR=$work/shared
		WEBUI_SECRET_KEY=lab-secret
	ENV
)

run plan --from "$work/data" --to "$work/scaled.env"
run migrate --from "$work/data" --to "$work/scaled.env"
run verify --from "$work/data" --to "$work/scaled.env" | tee "$work/summary.txt"
grep -q 'verify: equal' "$work/summary.txt" || { echo "demo: verify did not say that both sides are equal" >&2; exit 1; }
printf '\nsummary: %s\n' "$work/summary.txt"
