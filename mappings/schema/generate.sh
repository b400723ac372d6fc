#!/usr/bin/env bash
# Makes <head>.sql with the real Open WebUI and a real PostgreSQL, and sqlite/<head>.sql with the real Open WebUI.
#
#   generate.sh [HEAD ...]           writes the named heads, or all of heads.tsv, into this folder
#   generate.sh --check [HEAD ...]   makes them elsewhere and compares; exit 1 where one differs
#
# For each head: an empty database, Open WebUI's alembic up to that revision (upgrade.py), the server's own
# pg_dump, normalize.py; of SQLite dump_sqlite.py. OUTGROW_SCHEMAS=sqlite or =postgres makes one of the two (no
# PostgreSQL is needed for the first). Files are written from PostgreSQL 18, the only one that keeps the names of NOT NULL
# constraints; with OUTGROW_PG=16 or 15, --check leaves those names out of the comparison.
# Settings: those of testdata/servers/postgres.sh, OUTGROW_JOBS (heads at a time, 2).
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd -P)
testdata=$here/../../testdata
openwebui=0.12.4

# one HEAD: the unit of work, run by xargs below with the environment of the whole.
if [ "${1:-}" = --one ]; then
	head=$2
	started=$(date +%s)
	mkdir "$work/$head"
	case $kinds in *sqlite*)
		file=$work/$head/webui.db
		DATABASE_URL=sqlite:///$file DATA_DIR=$work/$head "$python" "$here/upgrade.py" "$head" >"$work/$head.log" 2>&1 || {
			tail -n 20 "$work/$head.log" >&2
			echo "generate.sh: alembic failed at $head on SQLite" >&2
			exit 255 # xargs stops
		}
		"$python" - "$file" "$head" <<-'END' || exit 255
			import sqlite3, sys
			reached = sqlite3.connect(sys.argv[1]).execute("SELECT group_concat(version_num) FROM alembic_version").fetchone()[0]
			if reached != sys.argv[2]:
			    sys.exit(f"generate.sh: alembic came to {reached} on SQLite, not to {sys.argv[2]}")
		END
		python3 "$here/dump_sqlite.py" "$file" >"$work/sqlite/$head.sql"
		rm -r "$work/$head"
		mkdir "$work/$head"
		;;
	esac
	case $kinds in *postgres*) ;; *)
		echo "$head $(($(date +%s) - started)) s" >&2
		exit
		;;
	esac
	"$pgbin/psql" -qX -v ON_ERROR_STOP=1 -d "$dsn" -c "CREATE DATABASE owui_$head"
	database=${dsn/\/postgres\?/\/owui_$head?}
	DATABASE_URL=$database DATA_DIR=$work/$head "$python" "$here/upgrade.py" "$head" >"$work/$head.log" 2>&1 || {
		tail -n 20 "$work/$head.log" >&2
		echo "generate.sh: alembic failed at $head" >&2
		exit 255 # xargs stops
	}
	reached=$("$pgbin/psql" -qXAt -d "$database" -c 'SELECT string_agg(version_num, $$ $$) FROM alembic_version')
	[ "$reached" = "$head" ] || {
		echo "generate.sh: alembic came to \"$reached\", not to $head" >&2
		exit 255
	}
	"$pgbin/pg_dump" --schema-only --no-owner --no-privileges --no-comments -d "$database" >"$work/$head.dump"
	python3 "$here/normalize.py" $names <"$work/$head.dump" >"$work/$head.sql"
	echo "$head $(($(date +%s) - started)) s" >&2
	exit
fi

check=
if [ "${1:-}" = --check ]; then
	check=1
	shift
fi
names=
export OUTGROW_PG=${OUTGROW_PG:-18}
if [ "$OUTGROW_PG" -lt 18 ]; then
	[ -n "$check" ] || {
		echo "generate.sh: files are made with PostgreSQL 18; OUTGROW_PG=$OUTGROW_PG is for --check" >&2
		exit 2
	}
	names=--no-not-null-names
fi

known=$(sed '/^#/d; s/\t.*//' "$here/heads.tsv")
for head in "$@"; do
	grep -qx -- "$head" <<<"$known" || {
		echo "generate.sh: $head is not in heads.tsv" >&2
		exit 2
	}
done
[ $# -gt 0 ] || set -- $known

kinds=${OUTGROW_SCHEMAS:-postgres sqlite}
python=$("$testdata/e2e/openwebui.sh" "$openwebui")
work=$(mktemp -d "${TMPDIR:-/tmp}/outgrow-schema.XXXXXX")
trap '[ ! -d "$work/pg" ] || "$testdata/servers/postgres.sh" stop "$work/pg" || true; rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
chmod 755 "$work" # the server may run as another account
mkdir "$work/sqlite"
pgbin='' dsn=''
case $kinds in *postgres*)
	pgbin=$("$testdata/servers/postgres.sh" install)
	dsn=$("$testdata/servers/postgres.sh" start "$work/pg")
	;;
esac
export names python pgbin work dsn kinds

printf '%s\n' "$@" | xargs -P "${OUTGROW_JOBS:-2}" -n 1 "$here/generate.sh" --one

differ=0
for head in "$@"; do
	case $kinds in *sqlite*)
		if [ -z "$check" ]; then
			cp "$work/sqlite/$head.sql" "$here/sqlite/$head.sql"
		elif ! diff -u --label "sqlite/$head.sql" --label made "$here/sqlite/$head.sql" "$work/sqlite/$head.sql"; then
			differ=1
		fi
		;;
	esac
	case $kinds in *postgres*) ;; *) continue ;; esac
	if [ -z "$check" ]; then
		cp "$work/$head.sql" "$here/$head.sql"
	elif ! python3 "$here/normalize.py" $names <"$here/$head.sql" | diff -u --label "$head.sql" --label made - "$work/$head.sql"; then
		differ=1
	fi
done
if [ -n "$check" ] && [ $differ = 0 ]; then
	echo "$# heads: equal to what Open WebUI $openwebui makes on" $(sed "s/postgres/PostgreSQL $OUTGROW_PG/; s/sqlite/and SQLite/; s/^and //" <<<"$kinds")
fi
exit $differ
