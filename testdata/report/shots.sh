#!/usr/bin/env bash
# Pictures of the report, to be looked at: a clean run, and one with a quarantine and differences, each 1280 and 390
# pixels wide, light and dark, and on paper. They go to the folder named, by default bin/report.
#
#   shots.sh [DIR]
#
# Needs a headless Chromium (chromium-headless-shell or chromium, or what CHROMIUM names) and fetches a PostgreSQL.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
repo=$(cd "$here/../.." && pwd)
outgrow=${OUTGROW:-$repo/bin/outgrow}
out=$(mkdir -p "${1:-$repo/bin/report}" && cd "${1:-$repo/bin/report}" && pwd)
size=${SIZE:-60MB}
servers=$repo/testdata/servers
chromium=${CHROMIUM:-$(command -v chromium-headless-shell || command -v chromium || command -v chrome || true)}
[ -n "$chromium" ] || { echo "shots.sh: no headless Chromium: apt-get install chromium-headless-shell, or name one with CHROMIUM" >&2; exit 1; }

work=$(mktemp -d "${TMPDIR:-/tmp}/outgrow-shots.XXXXXX")
chmod 755 "$work"
finish() {
	local code=$?
	[ ! -d "$work/pg" ] || "$servers/postgres.sh" stop "$work/pg" || true
	rm -rf "$work"
	exit $code
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
unset DATABASE_URL PGVECTOR_DB_URL VECTOR_DB DATA_DIR

super=$("$servers/postgres.sh" start "$work/pg")
psql=$("$servers/postgres.sh" install)/psql

# lab NAME: a data folder and an empty database of that name; $target is its DSN.
lab() {
	mkdir -p "$work/$1/data" "$work/$1/shared"
	tar -C "$work/$1/data" -xzf "$repo/testdata/datadir.tar.gz"
	python3 "$repo/testdata/amplify/amplify.py" "$work/$1/data/webui.db" "$work/$1/big.db" --bytes "$size" >/dev/null
	rm -f "$work/$1/data/webui.db"*
	mv "$work/$1/big.db" "$work/$1/data/webui.db"
	target=${super/\/postgres\?/\/$1?}
	"$psql" -qX -v ON_ERROR_STOP=1 -d "$super" -c "CREATE DATABASE $1"
	"$psql" -qX -v ON_ERROR_STOP=1 -d "$target" -c "CREATE EXTENSION vector"
	(umask 077 && cat >"$work/$1/scaled.env" <<-ENV
		DATABASE_URL=$target
		VECTOR_DB=pgvector
		DATA_DIR=$work/$1/shared
		WEBUI_SECRET_KEY=lab-secret
		$2
	ENV
	)
}

# run CODE COMMAND LAB ...: outgrow on the pair of a lab; it must end with that code.
run() {
	local want=$1 command=$2 lab=$3 code=0
	shift 3
	"$outgrow" "$command" --from "$work/$lab/data" --to "$work/$lab/scaled.env" "$@" >"$work/said" 2>&1 || code=$?
	[ "$code" = "$want" ] || { echo "shots.sh: $command of $lab: exit $code, not $want" >&2; cat "$work/said" >&2; exit 1; }
}

doctor() {
	"$outgrow" doctor --to "$work/$1/scaled.env" --replicas 3 >/dev/null || true
}

lab clean ''
run 0 cutover clean --yes --quiet 1s --restart 3s --stop-cmd 'sleep 1' --start-cmd 'sleep 2'
doctor clean

lab differs 'STORAGE_PROVIDER=local'
python3 - "$work/differs/data/webui.db" <<'PY'
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
columns = [r[1] for r in db.execute("PRAGMA table_info(chat_message)")]
for n in range(7):
    values = ", ".join({"id": f"'orphan-{n}'", "chat_id": "'gone'"}.get(c, f'"{c}"') for c in columns)
    db.execute(f"INSERT INTO chat_message SELECT {values} FROM chat_message LIMIT 1")
db.execute("UPDATE knowledge_file SET directory_id = 'gone' WHERE id = (SELECT min(id) FROM knowledge_file)")
db.commit()
PY
run 0 plan differs
run 4 migrate differs
"$psql" -qX -v ON_ERROR_STOP=1 -d "$target" -c "UPDATE chat SET title = 'x' WHERE id IN (SELECT id FROM chat ORDER BY id LIMIT 3)" \
	-c "DELETE FROM tag WHERE ctid IN (SELECT ctid FROM tag ORDER BY id, user_id LIMIT 2)"
run 4 verify differs
doctor differs

for lab in clean differs; do
	"$outgrow" report --to "$work/$lab/scaled.env" >/dev/null
	cp "$work/$lab/scaled.outgrow/report.html" "$out/$lab.html"
	cp "$work/$lab/scaled.outgrow/report.json" "$out/$lab.json"
done
python3 "$here/shoot.py" "$chromium" "$out"/clean.html "$out"/differs.html
